/**
 * The shapes that cross the borders of the recorder's files: JSDoc types, nothing that runs.
 *
 * What goes over the wire has the wire's own snake_case keys; all else is in camelCase.
 * Counts are of frames, ranges are half-open, and times end with their unit.
 */

// ---- the wire: see spec/wire.md --------------------------------------------------

/** @typedef {"pcm_s16le" | "pcm_s24le" | "pcm_f32le"} Encoding */

/**
 * @typedef {object} Format The one format of a recording, from its first frame to its last.
 * @property {Encoding} encoding
 * @property {number} sample_rate 8,000 to 384,000 Hz.
 * @property {number} channels 1 to 64.
 */

/** @typedef {"capture" | "overflow" | "suspended" | "device"} GapCause */

/**
 * @typedef {object} Gap Frames that are lost for good: zeros in the WAV.
 * @property {number} first_frame
 * @property {number} frames
 * @property {GapCause} cause
 * @property {boolean} exact The number of frames is known, not estimated.
 */

/**
 * @typedef {object} Mark A cue point.
 * @property {number} frame
 * @property {string} label At most 1,000 characters.
 */

/**
 * @typedef {object} OpenMessage Create the recording, or take it over.
 * @property {"open"} type
 * @property {string} recording A UUID, made here.
 * @property {string} key A secret of at least 128 random bits in base64url.
 * @property {Format} format
 * @property {string | null} [ticket]
 * @property {string | null} [title]
 * @property {string | null} [started_at] RFC 3339.
 * @property {string | null} [take] A UUID.
 * @property {number | null} [part] From 0.
 * @property {number | null} [take_time_s] Since the take's first frame.
 * @property {string | object | null} [device]
 * @property {object | null} [settings] The constraints as applied.
 * @property {Record<string, string> | null} [metadata]
 * @property {string[] | null} [analyzers]
 * @property {number | null} [results_since] The last `seq` seen.
 * @property {number | null} [acked] The largest ack this client ever got.
 */

/** @typedef {{ type: "gap" } & Gap} GapMessage */
/** @typedef {{ type: "mark" } & Mark} MarkMessage */
/** @typedef {{ type: "finish", frames: number, digest?: string | null }} FinishMessage */
/** @typedef {{ type: "discard" }} DiscardMessage */
/** @typedef {OpenMessage | GapMessage | MarkMessage | FinishMessage | DiscardMessage} ClientMessage */

/**
 * @typedef {object} OpenedMessage
 * @property {"opened"} type
 * @property {string} recording
 * @property {number} epoch
 * @property {number} frames The next frame expected; all before it are durable.
 * @property {string} level
 * @property {number} ack_interval_ms
 * @property {number} max_message_bytes
 * @property {number} max_unacked_frames
 */

/** @typedef {{ type: "ack", frames: number }} AckMessage */

/**
 * @typedef {object} ResultMessage What an analyzer says of a range of frames.
 * @property {"result"} type
 * @property {string} analyzer
 * @property {number} seq
 * @property {number} first_frame
 * @property {number} frames
 * @property {boolean} final
 * @property {unknown} data
 */

/**
 * @typedef {object} FinishedMessage The WAV is final and durable.
 * @property {"finished"} type
 * @property {string} recording
 * @property {number} frames
 * @property {string} digest
 * @property {boolean | null} matches Null where no digest was sent.
 * @property {string} url A path on the server.
 */

/** @typedef {{ type: "notice", code: string, message: string }} NoticeMessage */
/** @typedef {{ type: "error", code: string, message: string, frames: number }} ErrorMessage */
/** @typedef {OpenedMessage | AckMessage | ResultMessage | FinishedMessage | NoticeMessage | ErrorMessage} ServerMessage */

// ---- the sender ------------------------------------------------------------------

/** @typedef {"offline" | "opening" | "streaming" | "finishing" | "discarding" | "finished" | "discarded" | "refused"} SenderState */

/**
 * @typedef {object} SenderMemory What a journal remembers of a recording.
 * @property {number} [capturedFrames]
 * @property {number} [durableFrames] The largest ack there was.
 * @property {Gap[]} [gaps] In order.
 * @property {Mark[]} [marks]
 * @property {number | null} [lastSeq] Of the results that came.
 * @property {boolean} [recovered] An earlier page began it; its journal may lack an end.
 */

/** @typedef {{ firstFrame: number, frames: number }} AudioRange Frames in a row, none of them lost. */

/**
 * @typedef {object} ServerReceipt What the server says of a recording that is final.
 * @property {string} recording
 * @property {number} frames
 * @property {string} digest Of the server's WAV.
 * @property {boolean | null} matches It is that of what was sent; null where nobody knows it.
 * @property {string} url The path of the WAV on the server.
 */

/** @typedef {{ type: "opened", frames: number }} SenderOpened The link carries sound from there on. */
/** @typedef {{ type: "acked", frames: number }} SenderAcked All frames before are durable. */
/** @typedef {{ type: "result", result: ResultMessage }} SenderResult */
/** @typedef {{ type: "finished", receipt: ServerReceipt }} SenderFinished */
/** @typedef {{ type: "discarded" }} SenderDiscarded */
/** @typedef {{ type: "refused", code: string, message: string, retry: boolean }} SenderRefused Close the connection; with `retry` connect again later. */
/** @typedef {SenderOpened | SenderAcked | SenderResult | NoticeMessage | SenderFinished | SenderDiscarded | SenderRefused} SenderEvent */

// ---- keeping sound in the browser --------------------------------------------------

/** @typedef {"opfs" | "indexeddb" | "memory"} StoreKind */
/** @typedef {"head" | "a" | "b"} FileName */

/** @typedef {import("./files-common.js").RecordingFiles} RecordingFiles */
/** @typedef {import("./files-common.js").FileStore} FileStore */

// ---- the recorder ------------------------------------------------------------------

/**
 * @typedef {object} RecorderOptions
 * @property {string | URL} [server] The base URL; by default that of the module.
 * @property {string | (() => Promise<string>)} [ticket] One use each.
 * @property {string | (() => Promise<string>)} [owner] Names whoever is signed in: what they leave in this
 *   browser is sent only while they are. A function is asked anew before each take and connection.
 *   Without one, or with an empty one, it is sent as anybody's.
 * @property {string[]} [analyzers] By default the server's.
 */

/**
 * @typedef {object} StartOptions
 * @property {string} [deviceId]
 * @property {number} [channels] 1 by default.
 * @property {Encoding} [encoding] `pcm_f32le` by default.
 * @property {string} [title]
 * @property {Record<string, string>} [metadata]
 * @property {boolean} [raw] Ask for no echo cancellation, noise suppression and gain control.
 */

/** @typedef {{ deviceId: string, label: string, isDefault: boolean }} Device */
/** @typedef {Gap & { recording: string }} RecordingGap */

/**
 * @typedef {"idle" | "checking" | "recording" | "paused" | "offline" | "finishing" | "finished"
 *   | "failed"} RecorderState "recording" only while the server's durable offset moves.
 */

/**
 * @typedef {object} Part One recording of a take: a change of device begins the next.
 * @property {string} recording
 * @property {number} part From 0.
 * @property {number} takeTimeS
 * @property {number} sampleRate
 * @property {number} channels
 * @property {number} capturedFrames
 * @property {number} keptFrames
 * @property {number} durableFrames
 * @property {boolean} isFinished
 */

/**
 * @typedef {object} Status
 * @property {RecorderState} state
 * @property {string | null} recording
 * @property {string | null} take
 * @property {number} part
 * @property {string | null} title
 * @property {number} capturedFrames Of this part, gaps included.
 * @property {number} keptFrames All before are in this browser's journal.
 * @property {number} durableFrames All before are durable on the server.
 * @property {number} sampleRate
 * @property {number} channels
 * @property {Encoding} encoding
 * @property {Gap[]} gaps
 * @property {Mark[]} marks
 * @property {boolean} verifiable Frames that the browser itself loses are found and listed.
 * @property {object | null} settings As the browser applied them.
 * @property {string[]} mismatches Constraints that it did not honour.
 * @property {{ deviceId: string, label: string } | null} device
 * @property {StoreKind | null} keeping
 * @property {boolean} isMuted
 * @property {boolean} isDurableMoving The durable offset moved within the last 2 s.
 * @property {number} clippedSamples
 * @property {number} capturedSeconds Of all parts of the take; so are the next two.
 * @property {number} keptSeconds
 * @property {number} durableSeconds
 * @property {Part[]} parts
 * @property {Receipt | null} receipt
 * @property {{ code: string, message: string } | null} error
 */

/**
 * @typedef {object} Receipt
 * @property {string} recording
 * @property {string} take
 * @property {number} frames
 * @property {string} digest
 * @property {boolean | null} matches
 * @property {string} url Absolute.
 * @property {number} sampleRate
 * @property {number} channels
 * @property {Encoding} encoding
 * @property {Gap[]} gaps
 * @property {Mark[]} marks
 * @property {object | null} settings
 * @property {string[]} mismatches
 * @property {{ deviceId: string, label: string } | null} device
 * @property {boolean} verifiable
 * @property {number} clippedSamples
 * @property {string | null} title
 * @property {Receipt[]} parts
 */

/**
 * @typedef {object} Unfinished A recording that this browser keeps and the server has not finished.
 * @property {string} recording
 * @property {string | null} title
 * @property {string} startedAt RFC 3339.
 * @property {number} sampleRate
 * @property {number} channels
 * @property {number} capturedFrames
 * @property {number} durableFrames
 * @property {number} releasedFrames All before are forgotten here.
 * @property {"waiting" | "uploading" | "elsewhere" | "foreign" | "refused" | "finished"} state
 *   "elsewhere": another tab has it. "foreign": somebody else recorded it, and it waits until they are signed in.
 * @property {string | null} code
 * @property {string | null} message
 * @property {string | null} url
 */

/** @typedef {{ blob: Blob, firstFrame: number, frames: number }} SavedCopy */

/**
 * @typedef {object} Level
 * @property {number[]} peak Per channel, linear, 1 is full scale.
 * @property {number[]} rms
 * @property {number} frames
 * @property {number} clipped
 */

/** @typedef {{ code: string, message: string, cure: string, isFatal: boolean }} Problem */
/** @typedef {ResultMessage & { recording: string }} RecordingResult */

/**
 * @typedef {object} RecorderEvents The `detail` of each CustomEvent.
 * @property {Status} state
 * @property {Level} level
 * @property {{ recording: string, frames: number }} ack
 * @property {RecordingGap} gap
 * @property {RecordingResult} result
 * @property {Receipt} finished
 * @property {Problem} error
 * @property {Device[]} devices
 * @property {Unfinished[]} unfinished
 */

export {};
