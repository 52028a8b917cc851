/**
 * Before the first recording: what stands in its way, by name, and a test of two seconds.
 *
 * Only `test` opens the microphone; nothing else here asks the person anything. The words for
 * the codes, cause and cure, are in `words.js`.
 */

/** @import { Capture } from "./capture.js" */
/** @import { Source } from "./take.js" */
/** @import { Level } from "./types.js" */
/** @typedef {"insecure-origin" | "unsupported" | "iframe" | "policy" | "denied" | "denied-system" | "no-device" | "device-busy" | "no-storage"} CheckCode */
/** @typedef {{planes: Float32Array<ArrayBuffer>[], sampleRate: number, peak: number}} Sample One plane a channel; peak: 1 is full scale. */

const TEST_S = 2;
const PATIENCE_MS = 8000;

/** By the name of what `getUserMedia` throws. @type {Record<string, CheckCode>} */
const CAUSES = {
  NotFoundError: "no-device", OverconstrainedError: "no-device", NotReadableError: "device-busy", AbortError: "device-busy",
  NotAllowedError: "denied", SecurityError: "denied",
};

/** Its state can be read at once when the microphone is refused. @type {PermissionStatus | null} */
let permission = null;
const permissionAsked = navigator.permissions?.query({ name: /** @type {PermissionName} */ ("microphone") })
  .then((status) => { permission = status; }, () => {}); // some browsers don't tell

/** Whether a document's policy lets it ask; null where the browser doesn't tell. @param {any} page @returns {boolean | null} */
const allows = (page) => (page.permissionsPolicy ?? page.featurePolicy)?.allowsFeature("microphone") ?? null;

/** @returns {CheckCode | null} what no microphone can change */
function barrier() {
  if (!window.isSecureContext) return "insecure-origin";
  if (!navigator.mediaDevices?.getUserMedia || !window.AudioWorkletNode) return "unsupported";
  if (allows(document) !== false) return null;
  if (window.top === window) return "policy";
  try {
    // A parent of this origin that may not either has passed on the rule of its own header.
    return allows(window.parent.document) === false ? "policy" : "iframe";
  } catch {
    return "iframe"; // a foreign parent: only its attribute can give the microphone away
  }
}

/**
 * Name the cause of a microphone that was not given.
 *
 * @param {unknown} error What `getUserMedia` threw.
 * @returns {{code: CheckCode}}
 */
export function explain(error) {
  const code = barrier();
  if (code) return { code };
  const { name, message } = error instanceof Error ? error : { name: "", message: "" };
  const cause = CAUSES[name] ?? "unsupported";
  if (cause !== "denied") return { code: cause };
  // The page may, says the browser, and still it may not: the system stands behind that.
  if (/system/i.test(message) || permission?.state === "granted") return { code: "denied-system" };
  // Firefox tells no policy: a frame that it refuses without asking reads as denied.
  const isFrame = allows(document) === null && window.top !== window && permission?.state === "denied";
  return { code: isFrame ? "iframe" : "denied" };
}

/**
 * Look at what can be known without asking for the microphone.
 *
 * @param {string | null} keeping Where a recorder keeps sound; null: not known yet.
 * @param {boolean} hasMicrophone
 * @returns {Promise<{code: CheckCode, ok: boolean | null}[]>} In the order in which to mend
 *   them; `ok` is null where it is not known yet. Nothing is looked at behind a wall.
 */
export async function check(keeping, hasMicrophone) {
  const wall = barrier();
  /** @type {CheckCode[]} */
  const walls = ["insecure-origin", "unsupported", wall === "iframe" ? wall : "policy"];
  /** @type {{code: CheckCode, ok: boolean | null}[]} */
  const checks = [];
  for (const code of walls) {
    checks.push({ code, ok: code !== wall });
    if (code === wall) return checks;
  }
  await permissionAsked;
  const state = permission?.state;
  return [
    ...checks,
    { code: "denied", ok: state === "granted" || (state === "denied" ? false : null) },
    { code: "no-device", ok: hasMicrophone },
    { code: "no-storage", ok: keeping === null ? null : keeping !== "memory" },
  ];
}

/**
 * Listen for two seconds, the way a recording does.
 *
 * @param {Capture} capture
 * @param {(level: Pick<Level, "peak" | "rms">, seconds: number) => void} onLevel
 * @param {AbortSignal} signal Ends it early.
 * @returns {Promise<Sample>}
 * @throws {{code: "muted" | "device-gone"}} The microphone gives nothing.
 */
export async function test(capture, onLevel, signal) {
  const { source } = await capture.source();
  const given = new Promise((_, reject) => {
    setTimeout(() => reject({ code: "muted" }), PATIENCE_MS);
    signal.addEventListener("abort", () => reject(signal.reason));
  });
  return Promise.race([listen(source, onLevel), given]);
}

/** @param {Source} source @param {Parameters<typeof test>[1]} onLevel @returns {Promise<Sample>} */
async function listen(source, onLevel) {
  /** @type {Float32Array<ArrayBuffer>[]} */
  const planes = [];
  let frames = 0, peak = 0;
  for await (const { planes: block, sampleRate } of blocks(source)) {
    const most = TEST_S * sampleRate, level = measure(block);
    block.forEach((plane, channel) => (planes[channel] ??= new Float32Array(most)).set(plane.subarray(0, most - frames), frames));
    frames += block[0].length;
    peak = Math.max(peak, ...level.peak);
    onLevel(level, frames / sampleRate);
    if (frames >= most) return { planes, sampleRate, peak };
  }
  throw { code: "device-gone" };
}

/** @param {Source} source @returns {AsyncGenerator<{planes: Float32Array[], sampleRate: number}>} */
async function* blocks({ track, port }) {
  if (track) {
    for await (const data of track) {
      const { numberOfChannels, numberOfFrames, sampleRate } = data;
      const planes = Array.from({ length: numberOfChannels }, (_, planeIndex) => {
        const plane = new Float32Array(numberOfFrames);
        data.copyTo(plane, { planeIndex, format: "f32-planar" });
        return plane;
      });
      data.close();
      yield { planes, sampleRate };
    }
  } else if (port) {
    for (;;) yield await new Promise((resolve) => { port.onmessage = ({ data }) => data && resolve(data); });
  }
}

/** @param {Float32Array[]} block */
function measure(block) {
  const peak = block.map((plane) => plane.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0));
  const rms = block.map((plane) => Math.sqrt(plane.reduce((sum, sample) => sum + sample * sample, 0) / plane.length));
  return { peak, rms };
}

/**
 * Play what a test heard; resolves at its end. A buffer, not a file: no policy on media forbids it.
 *
 * @param {Sample} sample
 * @param {AbortSignal} signal Ends it early.
 */
export async function play({ planes, sampleRate }, signal) {
  const context = new AudioContext();
  const source = context.createBufferSource();
  const buffer = source.buffer = context.createBuffer(planes.length, planes[0].length, sampleRate);
  planes.forEach((plane, channel) => buffer.copyToChannel(plane, channel));
  source.connect(context.destination);
  source.start();
  await new Promise((resolve) => {
    source.onended = resolve;
    signal.addEventListener("abort", resolve);
    setTimeout(resolve, 1000 * (TEST_S + 1)); // where no output runs, it never ends
  });
  await context.close();
}
