/**
 * The list as a person sees it: search and filters, rows, and what is selected.
 *
 * It asks `Recordings` for what to show and hands on what the person wants; deleting and
 * exporting are done elsewhere.
 */

import { goToSignIn } from "../account.js";
import { button, choose, h, put, translate } from "../recorder/dom.js";
import { Canvas } from "../recorder/waveform.js";
import { Refusal } from "./api.js";
import { EVERYTHING } from "./recordings.js";
import { Scroller } from "./scroller.js";
import { thumbnail } from "./wave.js";

/** @import { Me } from "../account.js" */
/** @import { Thumbnails } from "./peaks.js" */
/** @import { Recordings } from "./recordings.js" */
/** @import { Summary } from "./types.js" */
/** @import { Speaker } from "./words.js" */

const TYPING_MS = 250;
const RESTING_MS = 120; // pictures are not fetched for rows that rush by
const AHEAD_ROWS = 200;
const CHIPS = 12;
const TITLE_MOST = 200;
const STATUSES = ["", "recording", "finished", "interrupted"];
const ORDERS = ["-started_at", "started_at", "-duration", "duration", "title"];

/**
 * `onRename` says whether the server has the new title.
 * @typedef {{
 *   onDelete: (rows: Summary[]) => void, onExport: (rows: Summary[]) => void, onRename: (recording: string, title: string) => Promise<boolean>,
 * }} Acts
 */
/** @typedef {{link: HTMLAnchorElement, check: HTMLInputElement, rename: HTMLElement, field: HTMLInputElement | null, canvas: Canvas, state: HTMLElement, date: HTMLElement, gaps: HTMLElement, length: HTMLElement, owner: HTMLElement, tags: HTMLElement, shown: Summary | null}} Row */

const skeleton = () => h("div", { class: "list" },
  h("section", { class: "find", role: "search" },
    h("input", { id: "search", type: "search", "data-label": "search", autocomplete: "off", maxlength: 200 }),
    h("select", { id: "status", "data-label": "status" }),
    h("select", { id: "sort", "data-label": "sort" }),
    h("div", { id: "chips", role: "group", "data-label": "tags" })),
  h("p", { id: "count", role: "status" }),
  h("ul", { id: "rows", "data-label": "library", "aria-describedby": "help" }),
  h("p", { id: "more" }),
  h("div", { id: "empty", role: "status" }),
  h("p", { id: "help", class: "spoken", "data-t": "listHelp" }),
  h("div", { id: "selection", role: "group" },
    h("p", { id: "selected", role: "status" }), button("export"), button("delete"), button("clear", "link")));

export class ListView {
  #recordings;
  #thumbnails;
  #speaker;
  #acts;
  #me;
  #mayManage;
  #scroller;
  /** @type {Record<string, any>} */ #at = {};
  /** @type {WeakMap<HTMLElement, Row>} */ #parts = new WeakMap();
  /** @type {Map<string, Summary>} */ #selected = new Map();
  /** @type {string | null} the recording that the keyboard is at */ #active = null;
  #activeIndex = 0;
  #anchor = 0; // from where Shift selects
  #typing = 0;
  #resting = 0;
  #signal;

  /**
   * @param {Recordings} recordings
   * @param {Thumbnails} thumbnails
   * @param {Speaker} speaker
   * @param {Me | null} me Owners are named where they are others.
   * @param {Acts} acts
   * @param {AbortSignal} signal
   */
  constructor(recordings, thumbnails, speaker, me, acts, signal) {
    this.#recordings = recordings;
    this.#thumbnails = thumbnails;
    this.#speaker = speaker;
    this.#acts = acts;
    this.#me = me?.user ?? "";
    this.#mayManage = me?.scopes.includes("manage") ?? true;
    this.#signal = signal;
    this.node = skeleton();
    translate(this.node, speaker);
    for (const node of this.node.querySelectorAll("[data-testid]")) this.#at[/** @type {HTMLElement} */ (node).dataset.testid ?? ""] = node;
    const at = this.#at, { query } = recordings;
    at.delete.hidden = !this.#mayManage;
    at.help.id = "help";
    at.search.placeholder = speaker.say("search");
    at.search.value = query.q;
    choose(at.status, STATUSES.map((status) => [status, speaker.say(status ? `status:${status}` : "anyStatus")]), query.status);
    choose(at.sort, ORDERS.map((sort) => [sort, speaker.say(sort === "title" ? "byTitle" : sort)]), query.sort);
    this.#scroller = new Scroller(at.rows, {
      make: () => this.#make(),
      bind: (node, index) => this.#bind(node, index),
      onRange: (first, end) => this.#range(first, end),
    }, signal);
    at.search.addEventListener("input", () => {
      clearTimeout(this.#typing);
      this.#typing = setTimeout(() => this.#ask({ q: at.search.value.trim() }), TYPING_MS);
    }, { signal });
    at.status.addEventListener("change", () => this.#ask({ status: at.status.value }), { signal });
    at.sort.addEventListener("change", () => this.#ask({ sort: at.sort.value }), { signal });
    at.rows.addEventListener("click", (/** @type {MouseEvent} */ event) => this.#click(event), { signal });
    at.rows.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.#key(event), { signal });
    at.rows.addEventListener("focusin", (/** @type {FocusEvent} */ event) => this.#focused(event), { signal });
    at.export.addEventListener("click", () => this.#acts.onExport([...this.#selected.values()]), { signal });
    at.delete.addEventListener("click", () => this.#delete(), { signal });
    at.clear.addEventListener("click", () => {
      this.#select([]);
      this.#focus(this.#activeIndex);
    }, { signal });
    recordings.addEventListener("change", () => this.refresh(), { signal });
  }

  /** Show what `Recordings` has now. */
  refresh() {
    const { rows } = this.#recordings, at = this.#at;
    if (at.rows.querySelector(".field:focus")) return; // no row moves away under a title that is being typed
    const hadFocus = at.rows.matches(":focus-within");
    const index = rows.findIndex(({ recording }) => recording === this.#active);
    const moved = index >= 0 && index !== this.#activeIndex;
    this.#activeIndex = index >= 0 ? index : Math.min(this.#activeIndex, Math.max(0, rows.length - 1));
    this.#active = rows[this.#activeIndex]?.recording ?? null;
    this.#scroller.show(rows.length);
    if (hadFocus && (moved || index < 0) && rows.length > 0) this.#focus(this.#activeIndex);
    this.#tell();
    this.#chips();
  }

  /** There is another picture of a recording. @param {string} recording */
  picture(recording) {
    const node = this.#scroller.row(this.#recordings.rows.findIndex((row) => row.recording === recording));
    const row = node && this.#parts.get(node);
    if (row) this.#picture(row);
  }

  /** Let the keyboard be where it was. */
  focus() {
    if (this.#recordings.rows.length > 0) this.#focus(this.#activeIndex);
  }

  /** @param {Partial<import("./types.js").Query>} changes */
  #ask(changes) {
    this.#select([]);
    this.#activeIndex = 0;
    this.#active = null;
    if (this.#at.rows.getBoundingClientRect().top < 0) scrollTo({ top: 0, behavior: "instant" });
    this.#recordings.ask(changes);
  }

  // ---- what is told --------------------------------------------------------------------

  #tell() {
    const { rows, isComplete, isWhole, isLoading, error, query } = this.#recordings, at = this.#at, { say, plural } = this.#speaker;
    const isEmpty = rows.length === 0;
    if (!isLoading || !isEmpty) put(at.count, !isWhole ? plural("soFar1", "soFar", rows.length) : isEmpty ? "" : isComplete ? plural("count1", "count", rows.length) : say("countMore", { n: this.#speaker.number(rows.length) }));
    put(at.more, isLoading && !(isEmpty && at.empty.children.length > 0) ? say("loading") : "");
    const isAll = !query.q && !query.status && query.tags.length === 0;
    const kind = isLoading && !isEmpty ? "" : error ? (error instanceof Refusal && error.status === 401 ? "signedOut" : "failed") : isLoading ? this.node.dataset.kind ?? "" : !isEmpty || !isWhole ? "" : isAll ? "empty" : "nothing";
    const key = `${kind} ${error ? this.#speaker.trouble(error) : ""}`;
    if (at.empty.dataset.key === key) return;
    at.empty.dataset.key = key;
    this.node.dataset.kind = kind;
    at.empty.replaceChildren(...(kind ? this.#nothing(kind) : []));
    at.empty.classList.toggle("tail", !isEmpty); // below rows that are there
  }

  /** @param {string} kind */
  #nothing(kind) {
    const { say, trouble } = this.#speaker;
    const title = h("h2", {}, say(`${kind}Title`));
    switch (kind) {
      case "empty": return [title, h("p", {}, say("emptyText")), h("a", { href: "./", class: "quiet" }, say("emptyLink"))];
      case "signedOut": return [title, h("p", {}, say("signedOutText")), this.#signIn()];
      case "nothing": return [title, h("p", {}, say("nothingText")), this.#button("clearFilters", () => this.#showAll())];
      default: return [title, h("p", {}, trouble(this.#recordings.error)), this.#button("again", () => this.#recordings.again())];
    }
  }

  /** @param {string} id @param {() => void} act */
  #button(id, act) {
    const node = button(id);
    put(node, this.#speaker.say(id));
    node.onclick = act;
    return node;
  }

  #signIn() {
    const link = h("a", { href: "sign-in", class: "quiet" }, this.#speaker.say("signIn"));
    link.onclick = (event) => {
      event.preventDefault();
      goToSignIn(); // and back here
    };
    return link;
  }

  #showAll() {
    const at = this.#at;
    [at.search.value, at.status.value] = ["", ""];
    this.#ask({ ...EVERYTHING, sort: at.sort.value });
    at.search.focus();
  }

  #chips() {
    const { tags, query } = this.#recordings, at = this.#at;
    const shown = [...new Set([...query.tags, ...tags])].slice(0, Math.max(CHIPS, query.tags.length));
    const key = JSON.stringify([shown, query.tags]);
    if (at.chips.dataset.key === key) return;
    at.chips.dataset.key = key;
    const focused = /** @type {HTMLElement | null} */ (at.chips.querySelector(":focus"))?.textContent;
    at.chips.replaceChildren(...shown.map((tag) => {
      const chip = h("button", { type: "button", class: "chip", "aria-pressed": `${query.tags.includes(tag)}`, title: this.#speaker.say("onlyTag", { tag }) }, tag);
      chip.onclick = () => this.#toggleTag(tag);
      if (tag === focused) queueMicrotask(() => chip.focus());
      return chip;
    }));
  }

  /** @param {string} tag */
  #toggleTag(tag) {
    const { tags } = this.#recordings.query;
    this.#ask({ tags: tags.includes(tag) ? tags.filter((one) => one !== tag) : [...tags, tag] });
  }

  // ---- rows ------------------------------------------------------------------------------

  #make() {
    const check = /** @type {HTMLInputElement} */ (h("input", { type: "checkbox" }));
    const canvas = /** @type {HTMLCanvasElement} */ (h("canvas", { "aria-hidden": "true" }));
    const link = /** @type {HTMLAnchorElement} */ (h("a", { class: "name" }));
    const [state, date, gaps, length, owner, tags] = ["state", "date", "gaps", "length", "owner", "tags"].map((name) => h("span", { class: name }));
    const rename = h("button", { type: "button", class: "rename", tabindex: -1, title: `${this.#speaker.say("rename")} (F2)` }, "✎");
    rename.hidden = !this.#mayManage;
    const node = h("li", { class: "row" },
      h("label", { class: "check" }, check), canvas,
      h("div", { class: "what" }, h("div", { class: "naming" }, link, rename), h("p", {}, state, date, gaps, owner)), tags, length);
    /** @type {Row} */
    const row = { link, check, rename, field: null, canvas: new Canvas(canvas, this.#signal, () => this.#picture(row)), state, date, gaps, length, owner, tags, shown: null };
    this.#parts.set(node, row);
    return node;
  }

  /** @param {HTMLElement} node @param {number} index */
  #bind(node, index) {
    const summary = this.#recordings.rows[index], row = /** @type {Row} */ (this.#parts.get(node));
    const { say, title, date, time, plural } = this.#speaker, recordings = this.#recordings;
    const { recording, status, tags, gaps, owner } = summary;
    const isActive = index === this.#activeIndex, isSelected = this.#selected.has(recording);
    const isOther = row.shown?.recording !== recording;
    node.setAttribute("aria-setsize", `${recordings.isComplete ? recordings.rows.length : -1}`);
    node.setAttribute("aria-posinset", `${index + 1}`);
    node.dataset.recording = recording;
    node.classList.toggle("chosen", isSelected);
    row.check.checked = isSelected;
    row.link.tabIndex = row.check.tabIndex = isActive ? 0 : -1;
    const state = status !== "recording" ? status : recordings.isLive(recording) ? "live" : "waiting";
    row.state.dataset.state = state;
    put(row.state, state === "finished" ? "" : say(state));
    put(row.length, time(summary.duration_s));
    if (row.shown === summary) return;
    if (isOther) row.field?.blur(); // which saves it: the element is another row's now
    row.shown = summary;
    row.link.href = `#${recording}`;
    put(row.link, title(summary));
    row.rename.ariaLabel = say("renameThis", { title: title(summary) });
    row.check.ariaLabel = say("select", { title: title(summary) });
    put(row.date, date(summary.started_at));
    put(row.gaps, gaps > 0 ? plural("gaps1", "gapsN", gaps) : "");
    put(row.owner, owner && owner !== this.#me ? say("by", { owner }) : "");
    row.tags.replaceChildren(...tags.map((tag) => h("button", { type: "button", class: "chip", tabindex: -1, title: say("onlyTag", { tag }) }, tag)));
    if (isOther) this.#picture(row);
  }

  /** @param {Row} row */
  #picture(row) {
    const { shown, canvas } = row;
    const { context, width, height, colours } = canvas.begin();
    if (!shown || !width) return;
    const columns = this.#thumbnails.get(shown.recording);
    if (columns) thumbnail(context, width, height, colours.ink, columns);
    else {
      context.fillStyle = colours.pale;
      context.fillRect(0, height / 2, width, 0.5);
    }
  }

  /** @param {number} first @param {number} end */
  #range(first, end) {
    const { rows } = this.#recordings;
    clearTimeout(this.#resting);
    this.#resting = setTimeout(() => this.#signal.aborted || this.#thumbnails.fetch(rows.slice(first, end)), RESTING_MS);
    if (rows.length > 0 && end > rows.length - AHEAD_ROWS) this.#recordings.more();
  }

  // ---- what the person does --------------------------------------------------------------

  /** @param {Element} node @returns {number} of the row that it is in; -1: in none */
  #indexOf(node) {
    const recording = /** @type {HTMLElement | null} */ (node.closest("li.row"))?.dataset.recording;
    return this.#recordings.rows.findIndex((row) => row.recording === recording);
  }

  /** @param {MouseEvent} event */
  #click(event) {
    const target = /** @type {Element} */ (event.target), index = this.#indexOf(target);
    if (index < 0) return;
    if (target.matches(".chip")) {
      this.#toggleTag(target.textContent ?? "");
      return;
    }
    if (target.matches(".rename")) {
      this.#rename(index);
      return;
    }
    if (target.matches(".field")) return;
    const isCheck = target.matches("input"), isLabel = target.matches(".check");
    if (isLabel) return; // its box is clicked next
    if (!isCheck && !event.shiftKey && !event.ctrlKey && !event.metaKey) return; // the link's own work
    if (!isCheck) event.preventDefault();
    if (event.shiftKey) this.#selectUpTo(index);
    else this.#toggle(index);
  }

  /** @param {FocusEvent} event */
  #focused(event) {
    const index = this.#indexOf(/** @type {Element} */ (event.target));
    if (index < 0 || index === this.#activeIndex) return;
    const before = this.#scroller.row(this.#activeIndex);
    this.#activeIndex = index;
    this.#active = this.#recordings.rows[index].recording;
    for (const [node, at] of [[before, -1], [this.#scroller.row(index), 0]]) {
      const row = node instanceof HTMLElement && this.#parts.get(node);
      if (row) row.link.tabIndex = row.check.tabIndex = Number(at);
    }
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const { key, shiftKey, ctrlKey, metaKey, altKey } = event, { rows } = this.#recordings;
    if (altKey || (event.target instanceof Element && event.target.matches(".field"))) return;
    const page = Math.max(1, Math.floor(innerHeight / this.#scroller.height) - 2);
    const steps = /** @type {Record<string, number>} */ ({ ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -rows.length, End: rows.length });
    if (key in steps) {
      const index = Math.min(rows.length - 1, Math.max(0, this.#activeIndex + steps[key]));
      this.#focus(index);
      if (shiftKey) this.#selectUpTo(index);
    } else if (key === " " && shiftKey) this.#selectUpTo(this.#activeIndex);
    else if (key === " ") this.#toggle(this.#activeIndex);
    else if ((ctrlKey || metaKey) && key === "a") this.#select(rows);
    else if (key === "Escape" && this.#selected.size > 0) this.#select([]);
    else if (key === "F2") this.#rename(this.#activeIndex);
    else if (key === "Delete" && this.#mayManage) {
      if (this.#selected.size === 0) this.#select([rows[this.#activeIndex]]);
      this.#delete();
    } else return;
    event.preventDefault();
  }

  /** @param {number} index */
  #focus(index) {
    const node = this.#scroller.reveal(index), row = node && this.#parts.get(node);
    row?.link.focus({ preventScroll: true });
  }

  /** Put a field in the place of a title. @param {number} index */
  #rename(index) {
    const node = this.#scroller.reveal(index), row = node && this.#parts.get(node);
    const shown = row?.shown;
    if (!row || !shown || row.field || !this.#mayManage) return;
    const before = shown.title ?? "";
    const field = row.field = /** @type {HTMLInputElement} */ (h("input", { class: "field", maxlength: TITLE_MOST, "aria-label": this.#speaker.say("renameThis", { title: this.#speaker.title(shown) }), enterkeyhint: "done", autocomplete: "off" }));
    field.value = before;
    const end = () => {
      const hadFocus = field.matches(":focus");
      row.field = null;
      field.onblur = null;
      field.remove();
      this.refresh();
      if (hadFocus) row.link.focus({ preventScroll: true });
    };
    const save = async () => {
      const title = field.value.trim();
      if (title === before || await this.#acts.onRename(shown.recording, title)) end();
    };
    field.onblur = save;
    field.onkeydown = ({ key, isComposing }) => {
      if (isComposing) return;
      if (key === "Enter") save();
      if (key === "Escape") end();
    };
    row.link.parentElement?.append(field);
    field.focus({ preventScroll: true });
    field.select();
  }

  /** @param {number} index */
  #toggle(index) {
    const row = this.#recordings.rows[index], selected = new Map(this.#selected);
    if (!selected.delete(row.recording)) selected.set(row.recording, row);
    this.#anchor = index;
    this.#select([...selected.values()]);
  }

  /** @param {number} index */
  #selectUpTo(index) {
    const [first, last] = [Math.min(this.#anchor, index), Math.max(this.#anchor, index)];
    this.#select([...this.#selected.values(), ...this.#recordings.rows.slice(first, last + 1)]);
  }

  /** @param {Summary[]} rows */
  #select(rows) {
    const at = this.#at;
    this.#selected = new Map(rows.map((row) => [row.recording, row]));
    const { size } = this.#selected;
    at.selection.classList.toggle("open", size > 0);
    put(at.selected, size > 0 ? this.#speaker.plural("selected1", "selectedN", size) : "");
    this.#scroller.show(this.#recordings.rows.length);
  }

  #delete() {
    const rows = [...this.#selected.values()];
    const hadFocus = this.node.matches(":focus-within");
    this.#select([]);
    this.#acts.onDelete(rows);
    if (hadFocus) this.focus();
  }
}
