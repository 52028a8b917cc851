/**
 * Deleting with a way back: the server is told only when some seconds have passed, or when the
 * page is left.
 */

import { Refusal } from "./api.js";

/** @import { Api } from "./api.js" */
/** @typedef {{recording: string, title: string | null}} Doomed */

const UNDO_MS = 8_000;
const AT_ONCE = 4;

/**
 * What is told: `hidden`, until it is undone or sent; `undone`; `gone`, the server has deleted
 * them; `refused`, these are still there, and why.
 * @typedef {{state: "hidden" | "undone" | "gone" | "refused", doomed: Doomed[], error?: unknown}} News
 */

export class Deletions {
  #api;
  #tell;
  /** @type {Doomed[]} */ #waiting = [];
  #timer = 0;

  /** @param {Api} api @param {(news: News) => void} tell @param {AbortSignal} signal */
  constructor(api, tell, signal) {
    this.#api = api;
    this.#tell = tell;
    addEventListener("pagehide", () => this.flush(true), { signal });
  }

  /** Whether there is something to undo. */
  get isWaiting() {
    return this.#waiting.length > 0;
  }

  /** @param {Doomed[]} doomed */
  add(doomed) {
    this.flush();
    this.#waiting = doomed;
    this.#tell({ state: "hidden", doomed });
    this.#timer = setTimeout(() => this.flush(), UNDO_MS);
  }

  undo() {
    clearTimeout(this.#timer);
    const doomed = this.#waiting.splice(0);
    if (doomed.length > 0) this.#tell({ state: "undone", doomed });
  }

  /** Tell the server now. @param {boolean} [isLeaving] All at once: there is no later. */
  async flush(isLeaving = false) {
    clearTimeout(this.#timer);
    const doomed = this.#waiting.splice(0), rest = [...doomed];
    if (doomed.length === 0) return;
    /** @type {[Doomed[], Doomed[]]} */ const [gone, refused] = [[], []];
    let reason;
    const work = async () => {
      for (let one = rest.shift(); one; one = rest.shift()) {
        try {
          await this.#api.remove(one.recording);
          gone.push(one);
        } catch (error) {
          if (error instanceof Refusal && error.status === 404) gone.push(one); // by somebody else
          else {
            refused.push(one);
            reason = error;
          }
        }
      }
    };
    await Promise.all(Array.from({ length: isLeaving ? doomed.length : AT_ONCE }, work));
    if (gone.length > 0) this.#tell({ state: "gone", doomed: gone });
    if (refused.length > 0) this.#tell({ state: "refused", doomed: refused, error: reason });
  }
}
