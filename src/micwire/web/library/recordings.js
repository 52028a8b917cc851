/**
 * The recordings that fit a search, page by page, those that are not finished on top.
 *
 * What is live is asked for every two seconds while somebody looks. A recording that ends stays
 * in its place until the list is made anew. Rows that are to be deleted are hidden at once.
 */

import { PAGE_ROWS, Refusal, isAbort } from "./api.js";
import { summary } from "./types.js";

/** @import { Api } from "./api.js" */
/** @import { Detail, Query, Summary } from "./types.js" */

const POLL_MS = 2_000;
const LIVE_MS = 5_000; // without growth it is not being spoken into
const LIVE_MOST = 200;

/** @type {Query} */
export const EVERYTHING = { q: "", tags: [], status: "", sort: "-started_at" };

/** Tells by the event `change` that `rows`, `error` or `isLoading` may be others. */
export class Recordings extends EventTarget {
  #api;
  #query = EVERYTHING;
  /** @type {Map<string, Summary>} */ #live = new Map();
  /** @type {Map<string, number>} when they last grew, in ms */ #grew = new Map();
  /** @type {Summary[]} that ended while the list was there */ #ended = [];
  /** @type {Summary[]} */ #loaded = [];
  /** @type {Set<string>} */ #hidden = new Set();
  /** @type {string | null} */ #next = null;
  #loading = new AbortController();
  #timer = 0;
  #isWatching = false;

  /** @type {Summary[]} */ rows = [];
  isLoading = false;
  isComplete = false;
  isWhole = true; // what the server has found so far is all that there is
  /** @type {unknown} why the list, or the rest of it, is not there */ error = null;
  /** @type {string[]} of all recordings, the most frequent first */ tags = [];

  /** @param {Api} api */
  constructor(api) {
    super();
    this.#api = api;
  }

  get query() {
    return this.#query;
  }

  /** Whether sound has come in within the last seconds. @param {string} recording */
  isLive(recording) {
    return performance.now() - (this.#grew.get(recording) ?? -Infinity) < LIVE_MS;
  }

  /** Show what fits another query. @param {Partial<Query>} changes */
  async ask(changes) {
    this.#query = { ...this.#query, ...changes };
    this.#loading.abort();
    this.#loading = new AbortController();
    this.isComplete = this.isLoading = false;
    await this.#load(true);
  }

  /** Load the next page, unless it is under way or there is none. */
  async more() {
    if (!this.isComplete && !this.isLoading && !this.error) await this.#load(false);
  }

  /** Go on after an error. */
  async again() {
    this.error = null;
    await this.#load(this.#next === null);
  }

  /** Look at what is live, from now on or no more. @param {boolean} isWatching */
  watch(isWatching) {
    this.#isWatching = isWatching;
    clearTimeout(this.#timer);
    if (isWatching) this.#poll();
  }

  /** @param {Iterable<string>} recordings */
  hide(recordings) {
    for (const recording of recordings) this.#hidden.add(recording);
    this.#changed();
  }

  /** @param {Iterable<string>} recordings */
  show(recordings) {
    for (const recording of recordings) this.#hidden.delete(recording);
    this.#changed();
  }

  /** A recording is as these facts say. @param {Detail} facts */
  update(facts) {
    const put = (/** @type {Summary} */ row) => row.recording === facts.recording ? { ...row, ...summary(facts) } : row;
    this.#loaded = this.#loaded.map(put);
    this.#ended = this.#ended.map(put);
    const live = this.#live.get(facts.recording);
    if (live) this.#live.set(facts.recording, put(live));
    this.#changed();
    if (facts.tags.some((tag) => !this.tags.includes(tag))) this.#askTags();
  }

  /** @param {boolean} isFirst */
  async #load(isFirst) {
    const { signal } = this.#loading;
    if (isFirst) this.#next = null;
    this.isLoading = true;
    this.error = null;
    this.#changed();
    try {
      const [{ recordings, next, complete }, live] = await Promise.all([
        this.#api.list(this.#query, { cursor: this.#next, signal }),
        isFirst ? this.#askLive(signal) : null,
      ]);
      if (live) this.#take(live);
      if (isFirst) [this.#loaded, this.#ended] = [[], []];
      const known = new Set(this.#loaded.map(({ recording }) => recording));
      this.#loaded.push(...recordings.filter(({ recording }) => !known.has(recording)));
      this.#next = next;
      this.isComplete = next === null;
      this.isWhole = complete;
      if (isFirst) this.#askTags();
    } catch (error) {
      if (isAbort(error)) return; // another query has taken its place
      this.error = error;
      if (isFirst) [this.#loaded, this.#ended, this.#live] = [[], [], new Map()];
    }
    this.isLoading = false;
    this.#changed();
  }

  /** @param {AbortSignal} [signal] @returns {Promise<Summary[]>} */
  async #askLive(signal) {
    const { status } = this.#query;
    if (status && status !== "recording") return [];
    return (await this.#api.list({ ...this.#query, sort: "-started_at", status: "recording" }, { limit: LIVE_MOST, signal })).recordings;
  }

  async #askTags() {
    try {
      const { tags } = await this.#api.tags();
      this.tags = tags.sort((one, other) => other.recordings - one.recordings).map(({ tag }) => tag);
      this.#changed();
    } catch {
      // Without them the list is one all the same, and says itself what is wrong.
    }
  }

  async #poll() {
    if (!document.hidden && !this.error && !this.isLoading) await this.#look(this.#query);
    if (this.#isWatching) {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#poll(), POLL_MS);
    }
  }

  /** @param {Query} query */
  async #look(query) {
    // Made anew when the server has found all, and while there is little to see.
    if (this.rows.length === 0 || (!this.isWhole && this.#loaded.length < PAGE_ROWS)) await this.#load(true);
    else {
      try {
        if (!this.isWhole && (await this.#api.list(query, { limit: 1 })).complete) {
          await this.#load(true);
          return;
        }
        const live = await this.#askLive();
        if (query !== this.#query || this.isLoading) return;
        await this.#end(live);
        this.#take(live);
      } catch {
        // Asked again in two seconds; what is not live is told as such by then.
      }
      this.#changed();
    }
  }

  /** @param {Summary[]} live */
  #take(live) {
    for (const { recording, frames } of live) if (frames > (this.#live.get(recording)?.frames ?? Infinity)) this.#grew.set(recording, performance.now());
    this.#live = new Map(live.map((row) => [row.recording, row]));
  }

  /** Keep what is live no more as what it has become. @param {Summary[]} live */
  async #end(live) {
    const still = new Set(live.map(({ recording }) => recording));
    for (const [recording, row] of this.#live) {
      if (still.has(recording)) continue;
      this.#grew.delete(recording);
      try {
        const { facts } = await this.#api.detail(recording);
        this.#ended.unshift({ ...row, ...summary(facts) });
      } catch (error) {
        if (!(error instanceof Refusal && error.status === 404)) throw error; // deleted
      }
    }
  }

  #changed() {
    const above = new Set([...this.#live.keys(), ...this.#ended.map(({ recording }) => recording)]);
    this.rows = [
      ...this.#live.values(),
      ...this.#ended.filter(({ recording }) => !this.#live.has(recording)),
      ...this.#loaded.filter(({ recording }) => !above.has(recording)),
    ].filter(({ recording }) => !this.#hidden.has(recording));
    this.dispatchEvent(new Event("change"));
  }
}
