/**
 * Before the first recording: what stands in its way, by name, and a test of two seconds.
 *
 * Only `test` opens the microphone; nothing else here asks the person anything. The words
 * for the codes, cause and cure, are in `words.js`.
 */

/** @typedef {"insecure-origin" | "unsupported" | "iframe" | "policy" | "denied" | "denied-system" | "no-device" | "device-busy" | "no-storage" | "muted"} CheckCode */
/** @typedef {{code: CheckCode, ok: boolean | null}} Check `ok` is null where only opening the microphone can tell. */
/** @typedef {{planes: Float32Array[], sampleRate: number, peak: number}} Sample What a test heard; peak: 1 is full scale. */
/** @typedef {{peak: number[], rms: number[], frames: number, clipped: number}} Level */

const RAW = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
const TEST_S = 2;
const SILENT_MS = 6000; // a live but muted track delivers nothing at all

/** Kept, so that its state can be read at once when the microphone is refused. @type {PermissionStatus | null} */
let permission = null;
const permissionAsked = (async () => {
  try {
    permission = await navigator.permissions.query({ name: /** @type {PermissionName} */ ("microphone") });
  } catch {
    // a browser that does not tell
  }
})();

/**
 * Whether a document's policy lets it ask for the microphone; null where the browser does not tell.
 * @param {any} page
 * @returns {boolean | null}
 */
const allows = (page) => (page.permissionsPolicy ?? page.featurePolicy)?.allowsFeature("microphone") ?? null;

/** @returns {"iframe" | "policy" | null} what keeps the microphone from this document */
function barrier() {
  if (allows(document) !== false) return null;
  if (window.top === window) return "policy";
  try {
    // A parent of this origin that may not either has passed on the rule of its own header.
    return allows(window.parent.document) === false ? "policy" : "iframe";
  } catch {
    return "iframe"; // a foreign parent: only its attribute can give the microphone away
  }
}

/** @returns {CheckCode | null} what no microphone can change */
function hindrance() {
  if (!window.isSecureContext) return "insecure-origin";
  return navigator.mediaDevices?.getUserMedia && window.AudioWorkletNode ? barrier() : "unsupported";
}

/**
 * Name the cause of a microphone that was not given.
 * @param {unknown} error What `getUserMedia` threw.
 * @returns {{code: CheckCode}}
 */
export function explain(error) {
  const code = hindrance();
  if (code) return { code };
  const { name, message } = error instanceof Error ? error : { name: "", message: "" };
  if (name === "NotFoundError" || name === "OverconstrainedError") return { code: "no-device" };
  if (name === "NotReadableError" || name === "AbortError") return { code: "device-busy" };
  if (name !== "NotAllowedError" && name !== "SecurityError") return { code: "unsupported" };
  // The page may, says the browser, and still it may not: the system stands behind that.
  if (/system/i.test(message) || permission?.state === "granted") return { code: "denied-system" };
  // Firefox tells no policy: a frame that it refuses without asking reads as denied.
  const isFramed = allows(document) === null && window.top !== window;
  return { code: isFramed && permission?.state === "denied" ? "iframe" : "denied" };
}

/**
 * Look at what can be known without asking for the microphone.
 * @returns {Promise<Check[]>} In the order in which they have to be mended.
 */
export async function check() {
  const isSecure = window.isSecureContext;
  const found = hindrance();
  const isAble = isSecure && found !== "unsupported";
  /** @type {Check[]} */
  const checks = [{ code: "insecure-origin", ok: isSecure }];
  if (!isSecure) return checks;
  checks.push({ code: "unsupported", ok: isAble });
  if (!isAble) return checks;
  checks.push({ code: found ?? (window.top === window ? "policy" : "iframe"), ok: found === null });
  await permissionAsked;
  const state = permission?.state;
  if (found === null) checks.push({ code: "denied", ok: state === "granted" || (state === "denied" ? false : null) });
  const devices = await navigator.mediaDevices.enumerateDevices().catch(() => []);
  checks.push({ code: "no-device", ok: devices.some(({ kind }) => kind === "audioinput") });
  checks.push({ code: "no-storage", ok: await keepsSound() });
  return checks;
}

async function keepsSound() {
  try {
    await navigator.storage.getDirectory();
    return true;
  } catch {
    return await new Promise((resolve) => {
      try {
        const request = indexedDB.open("micwire-check");
        request.onsuccess = () => {
          request.result.close();
          indexedDB.deleteDatabase("micwire-check");
          resolve(true);
        };
        request.onerror = () => resolve(false);
      } catch {
        resolve(false);
      }
    });
  }
}

/**
 * Listen for two seconds, unaltered as a recording would be.
 * @param {object} options
 * @param {string} [options.deviceId]
 * @param {number} options.channels
 * @param {(level: Level) => void} options.onLevel About 30 times a second or more.
 * @param {AbortSignal} options.signal Ends it early.
 * @returns {Promise<Sample>}
 * @throws {{code: CheckCode}} The microphone was not given, or gives nothing.
 */
export async function test({ deviceId, channels, onLevel, signal }) {
  const audio = { ...RAW, channelCount: channels, ...(deviceId && { deviceId: { exact: deviceId } }) };
  const stream = await navigator.mediaDevices.getUserMedia({ audio }).catch((error) => {
    throw explain(error);
  });
  const [track] = stream.getAudioTracks();
  const end = new AbortController();
  try {
    return await new Promise((resolve, reject) => {
      /** @type {Float32Array[][]} */
      const blocks = [];
      let frames = 0, peak = 0;
      const timer = setTimeout(() => reject({ code: "muted" }), SILENT_MS);
      end.signal.addEventListener("abort", () => clearTimeout(timer));
      signal.addEventListener("abort", () => reject(signal.reason), { signal: end.signal });
      listen(track, end.signal, (planes, sampleRate) => {
        blocks.push(planes);
        frames += planes[0].length;
        const level = measure(planes);
        peak = Math.max(peak, ...level.peak);
        onLevel({ ...level, frames });
        if (frames >= TEST_S * sampleRate) resolve({ planes: joined(blocks, frames), sampleRate, peak });
      }).catch((error) => reject(explain(error)));
    });
  } finally {
    end.abort();
    track.stop();
  }
}

/**
 * Hand on what a track delivers, in the way of the recording itself.
 * @param {MediaStreamTrack} track
 * @param {AbortSignal} signal
 * @param {(planes: Float32Array[], sampleRate: number) => void} take
 */
async function listen(track, signal, take) {
  const Processor = /** @type {any} */ (window).MediaStreamTrackProcessor;
  if (Processor) {
    const reader = new Processor({ track, maxBufferSize: 1000 }).readable.getReader();
    signal.addEventListener("abort", () => reader.cancel());
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const planes = Array.from({ length: value.numberOfChannels }, (_, planeIndex) => {
        const plane = new Float32Array(value.numberOfFrames);
        value.copyTo(plane, { planeIndex, format: "f32-planar" });
        return plane;
      });
      take(planes, value.sampleRate);
      value.close();
    }
  }
  const context = new AudioContext({ sampleRate: track.getSettings().sampleRate });
  signal.addEventListener("abort", () => context.close());
  await context.audioWorklet.addModule(new URL("worklet.js", import.meta.url));
  const tap = new AudioWorkletNode(context, "micwire-tap");
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = ({ data }) => data && !signal.aborted && take(data.planes, data.sampleRate);
  signal.addEventListener("abort", () => port1.close());
  tap.port.postMessage("port", [port2]);
  context.createMediaStreamSource(new MediaStream([track])).connect(tap).connect(context.destination); // it plays nothing
}

/** @param {Float32Array[]} planes */
function measure(planes) {
  let clipped = 0;
  const peak = [], rms = [];
  for (const plane of planes) {
    let most = 0, sum = 0;
    for (const sample of plane) {
      const size = Math.abs(sample);
      if (size > most) most = size;
      if (size >= 1) clipped++;
      sum += sample * sample;
    }
    peak.push(most);
    rms.push(Math.sqrt(sum / plane.length));
  }
  return { peak, rms, clipped };
}

/**
 * @param {Float32Array[][]} blocks
 * @param {number} frames
 */
function joined(blocks, frames) {
  return blocks[0].map((_, channel) => {
    const whole = new Float32Array(frames);
    let at = 0;
    for (const planes of blocks) {
      if (planes[channel]) whole.set(planes[channel], at);
      at += planes[0].length;
    }
    return whole;
  });
}

/**
 * Play what a test heard; resolves at its end.
 * @param {Sample} sample
 * @param {AbortSignal} signal Ends it early.
 */
export async function play({ planes, sampleRate }, signal) {
  // A buffer, not a file: it needs no permission to load media from memory.
  const context = new AudioContext();
  const source = context.createBufferSource();
  source.buffer = context.createBuffer(planes.length, planes[0].length, sampleRate);
  planes.forEach((plane, channel) => source.buffer?.copyToChannel(/** @type {Float32Array<ArrayBuffer>} */ (plane), channel));
  source.connect(context.destination);
  source.start();
  await new Promise((resolve) => {
    source.onended = resolve;
    signal.addEventListener("abort", resolve, { once: true });
    setTimeout(resolve, (TEST_S + 2) * 1000); // a context without an output never ends
  });
  await context.close();
}
