/**
 * The server's HTTP API as the library page uses it.
 *
 * Every failure is a `Refusal` with a stable code; which sentence a person reads is decided in
 * words.js. Nothing is tried twice here but a change whose CSRF token had expired.
 */

/** @import { Me } from "../account.js" */
/** @import { Changes, Detail, Mark, Peaks, Query, Summary } from "./types.js" */

const BASE = new URL("../api/v1/", import.meta.url);
export const PAGE_ROWS = 200;

export class Refusal extends Error {
  /** @param {number} status 0: there was no answer. @param {string} code @param {string} detail What the server says. */
  constructor(status, code, detail = "") {
    super(detail || code);
    this.status = status;
    this.code = code;
    this.detail = detail;
  }
}

/** @param {unknown} error @returns {boolean} whether it is one that was asked for */
export const isAbort = (error) => error instanceof DOMException && error.name === "AbortError";

export class Api {
  /** @type {Promise<Me> | undefined} */ #me;

  /** Who is asking. @returns {Promise<Me>} */
  me() {
    return this.#me ??= this.#json("me").catch((error) => {
      this.#me = undefined;
      throw error;
    });
  }

  /**
   * @param {Query} query
   * @param {{cursor?: string | null, limit?: number, signal?: AbortSignal}} [page]
   * @returns {Promise<{recordings: Summary[], next: string | null, complete: boolean}>} Not complete: the server still looks for more.
   */
  list({ q, tags, status, sort }, { cursor, limit = PAGE_ROWS, signal } = {}) {
    const asked = new URLSearchParams({ limit: `${limit}`, sort });
    if (q) asked.set("q", q);
    if (status) asked.set("status", status);
    if (cursor) asked.set("cursor", cursor);
    for (const tag of tags) asked.append("tag", tag);
    return this.#json(`recordings?${asked}`, { signal });
  }

  /** The tags of all recordings. @returns {Promise<{tags: {tag: string, recordings: number}[]}>} */
  tags() {
    return this.#json("tags");
  }

  /** @param {string} recording @param {AbortSignal} [signal] @returns {Promise<{facts: Detail, etag: string | null}>} */
  async detail(recording, signal) {
    const answer = await this.#ask(`recordings/${recording}`, { signal });
    return { facts: await answer.json(), etag: answer.headers.get("ETag") };
  }

  /**
   * Change what a person may; refused with 412 if it is no longer as `etag` says.
   * @param {string} recording
   * @param {Changes} changes
   * @param {string | null} etag
   * @returns {Promise<{facts: Detail, etag: string | null}>}
   */
  async edit(recording, changes, etag) {
    const answer = await this.#ask(`recordings/${recording}`, {
      method: "PATCH",
      keepalive: true, // also while the page is being left
      headers: { "Content-Type": "application/merge-patch+json", ...(etag && { "If-Match": etag }) },
      body: JSON.stringify(changes),
    });
    return { facts: await answer.json(), etag: answer.headers.get("ETag") };
  }

  /** @param {string} recording */
  async remove(recording) {
    await this.#ask(`recordings/${recording}`, { method: "DELETE", keepalive: true });
  }

  /** @param {string} recording @param {Mark} mark */
  async addMark(recording, mark) {
    await this.#ask(`recordings/${recording}/marks`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(mark) });
  }

  /** @param {string} recording @param {Mark} mark */
  async removeMark(recording, { frame, label }) {
    await this.#ask(`recordings/${recording}/marks?${new URLSearchParams({ frame: `${frame}`, label })}`, { method: "DELETE" });
  }

  /**
   * @param {string} recording
   * @param {{columns: number, first_frame?: number, frames?: number}} part
   * @param {AbortSignal} [signal]
   * @returns {Promise<Peaks>}
   */
  peaks(recording, part, signal) {
    const asked = new URLSearchParams(Object.entries(part).map(([name, value]) => [name, `${value}`]));
    return this.#json(`recordings/${recording}/peaks?${asked}`, { signal });
  }

  /** @param {string} recording @param {string} format @param {boolean} [isDownload] */
  audio(recording, format, isDownload = false) {
    return `${new URL(`recordings/${recording}/audio?format=${format}${isDownload ? "&download=1" : ""}`, BASE)}`;
  }

  /** @param {string[]} recordings */
  archive(recordings) {
    return `${new URL(`export?${recordings.map((id) => `recording=${id}`).join("&")}`, BASE)}`;
  }

  /** Whether something can be had: the server's answer is looked at, and not taken. @param {string} url */
  async look(url) {
    const asking = new AbortController();
    await this.#ask(url, { signal: asking.signal });
    asking.abort();
  }

  /**
   * Let the browser download something, once the server has said that it can be had: a
   * download that fails by itself says nothing to the page.
   * @param {string} url
   */
  async download(url) {
    await this.look(url);
    const link = document.createElement("a");
    link.href = url;
    link.click();
  }

  /** @param {string} path @param {RequestInit} [options] */
  async #json(path, options) {
    return (await this.#ask(path, options)).json();
  }

  /** @param {string} path @param {RequestInit} [options] @returns {Promise<Response>} */
  async #ask(path, options = {}) {
    const isChange = options.method !== undefined;
    const answer = await this.#fetch(path, options, isChange);
    if (answer.ok) return answer;
    const refusal = await refused(answer);
    if (!isChange || refusal.code !== "csrf") throw refusal;
    this.#me = undefined; // signed in anew in another tab
    const again = await this.#fetch(path, options, isChange);
    if (again.ok) return again;
    throw await refused(again);
  }

  /** @param {string} path @param {RequestInit} options @param {boolean} isChange */
  async #fetch(path, options, isChange) {
    const csrf = isChange ? (await this.me()).csrf : null;
    try {
      return await fetch(new URL(path, BASE), { ...options, headers: { ...options.headers, ...(csrf && { "X-Micwire-CSRF": csrf }) } });
    } catch (error) {
      if (isAbort(error)) throw error;
      throw new Refusal(0, "server-unreachable");
    }
  }
}

/** @param {Response} answer */
async function refused(answer) {
  const { code = "", title = "", detail = "" } = await answer.json().catch(() => ({}));
  return new Refusal(answer.status, code, detail || title);
}
