/**
 * What a journal still holds, as a WAV for the person to keep.
 */

import { header, padding } from "./wav.js";
import { frameBytes } from "./wire.js";

/** @import { Journal } from "./journal.js" */
/** @import { SavedCopy } from "./types.js" */

const CHUNK_BYTES = 2 ** 20;

/**
 * Copy it, in blobs of their own: the browser may keep them on disk, and the silence of a long
 * gap is there once.
 *
 * @param {[Journal, ...Journal[]]} journals Of one recording, each beginning where the one
 *   before it ends. Nothing is appended meanwhile.
 * @returns {Promise<SavedCopy>} Gaps are zeros in it.
 */
export async function savedCopy(...journals) {
  const { format } = journals[0].about.open;
  const size = frameBytes(format);
  const most = Math.floor(CHUNK_BYTES / size);
  const silence = new Blob([new Uint8Array(most * size)]);
  const end = Math.max(...journals.map(({ keptFrames }) => keptFrames));
  let firstFrame = end;
  const chunks = [];
  for (const journal of journals) {
    for (const run of journal.runs()) {
      firstFrame = Math.min(firstFrame, run.firstFrame);
      for (let done = 0; done < run.frames; done += most) {
        const count = Math.min(most, run.frames - done);
        chunks.push(run.lost ? silence.slice(0, count * size) : new Blob([await journal.read(run.firstFrame + done, count)]));
      }
    }
  }
  const frames = end - firstFrame;
  const blob = new Blob([header(format, frames), ...chunks, new Uint8Array(padding(format, frames))], { type: "audio/wav" });
  return { blob, firstFrame, frames };
}
