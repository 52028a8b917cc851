/**
 * What a person has typed about one recording, until the server has it.
 *
 * Texts stay whatever the server answers. A change somebody else has made meanwhile is only
 * overwritten when the person has seen it.
 */

import { Refusal } from "./api.js";

/** @import { Api } from "./api.js" */
/** @import { Changes, Detail } from "./types.js" */
/** @typedef {keyof Changes} Field */
/** @typedef {"saved" | "unsaved" | "saving" | "failed" | "conflict"} SaveState */

/** Tells by the event `change` that `facts` or the state of a field is another. */
export class Editing extends EventTarget {
  #api;
  #etag;
  /** @type {Changes} */ #drafts = {};
  /** @type {Map<Field, {state: SaveState, error?: unknown}>} */ #states = new Map();
  /** @type {Promise<unknown>} one change after the other */ #queue = Promise.resolve();

  /** @param {Api} api @param {Detail} facts @param {string | null} etag */
  constructor(api, facts, etag) {
    super();
    this.#api = api;
    this.#etag = etag;
    /** What the server has. */
    this.facts = facts;
  }

  /** Whether there is something that the server doesn't have. */
  get isOpen() {
    return Object.keys(this.#drafts).length > 0;
  }

  /** Whether there is something that the server didn't take. */
  get isStuck() {
    return [...this.#states.values()].some(({ state }) => state === "failed" || state === "conflict");
  }

  /** What is to be seen: what was typed, else what the server has. @template {Field} F @param {F} field @returns {Detail[F]} */
  value(field) {
    return /** @type {Detail[F]} */ (field in this.#drafts ? this.#drafts[field] : this.facts[field]);
  }

  /** @param {Field} field @returns {{state: SaveState | "", error?: unknown}} */
  state(field) {
    return this.#states.get(field) ?? { state: "" };
  }

  /** Take what is being typed. @template {Field} F @param {F} field @param {Detail[F]} value */
  type(field, value) {
    this.#drafts[field] = value;
    this.#set(field, "unsaved");
  }

  /** Bring what was typed to the server. @param {Field} field */
  save(field) {
    return this.#queue = this.#queue.then(() => this.#send(field));
  }

  /** All that was typed. */
  saveAll() {
    for (const field of /** @type {Field[]} */ (Object.keys(this.#drafts))) this.save(field);
    return this.#queue;
  }

  /** Overwrite what somebody else has written. @param {Field} field */
  keepMine(field) {
    this.#set(field, "unsaved");
    return this.save(field);
  }

  /** @param {Field} field */
  takeTheirs(field) {
    delete this.#drafts[field];
    this.#states.delete(field);
    this.#tell();
  }

  /** The server has this now. @param {Detail} facts @param {string | null} etag */
  refresh(facts, etag) {
    this.facts = facts;
    this.#etag = etag;
    this.#tell();
  }

  /** @param {Field} field */
  async #send(field) {
    if (!(field in this.#drafts) || this.state(field).state === "conflict") return;
    const draft = this.#drafts[field];
    if (same(draft, this.facts[field])) {
      this.#done(field, draft);
      return;
    }
    this.#set(field, "saving");
    try {
      const { facts, etag } = await this.#patch(field, draft);
      this.facts = facts;
      this.#etag = etag;
      this.#done(field, draft);
    } catch (error) {
      this.#set(field, error instanceof Conflict ? "conflict" : "failed", error);
    }
  }

  /** @param {Field} field @param {Changes[Field]} draft */
  async #patch(field, draft) {
    try {
      return await this.#api.edit(this.facts.recording, { [field]: draft }, this.#etag);
    } catch (error) {
      if (!(error instanceof Refusal && error.status === 412)) throw error;
      const before = this.facts[field];
      const { facts, etag } = await this.#api.detail(this.facts.recording);
      this.facts = facts;
      this.#etag = etag;
      if (!same(before, facts[field]) && !same(draft, facts[field])) throw new Conflict();
      return this.#api.edit(facts.recording, { [field]: draft }, etag); // something else has changed
    }
  }

  /** @param {Field} field @param {Changes[Field]} draft */
  #done(field, draft) {
    const isLatest = same(this.#drafts[field], draft); // nothing more was typed meanwhile
    if (isLatest) delete this.#drafts[field];
    this.#set(field, isLatest ? "saved" : "unsaved");
  }

  /** @param {Field} field @param {SaveState} state @param {unknown} [error] */
  #set(field, state, error) {
    this.#states.set(field, { state, error });
    this.#tell();
  }

  #tell() {
    this.dispatchEvent(new Event("change"));
  }
}

class Conflict extends Error {}

/** @param {unknown} one @param {unknown} other */
const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);
