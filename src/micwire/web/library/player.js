/**
 * One recording: to hear, to see, to name, to mark, to take away.
 *
 * The sound is played by `Sound`, drawn by `View`; what was typed is kept by `Editing`.
 */

import { button, choose, h, put } from "../recorder/dom.js";
import { clock } from "../recorder/words.js";
import { isAbort } from "./api.js";
import { Editing } from "./editing.js";
import { rows } from "./facts.js";
import { SPEEDS, Sound } from "./sound.js";
import { View } from "./view.js";

/** @import { Api } from "./api.js" */
/** @import { Field } from "./editing.js" */
/** @import { Detail, Mark } from "./types.js" */
/** @import { Speaker } from "./words.js" */

const POLL_MS = 2_000;
const NOTES_MS = 1_000;
const FORMATS = ["wav", "plain", "flac", "opus", "mp3"];
const TITLE_MOST = 200;
const NOTES_MOST = 10_000;
const TAGS_MOST = 50;
const TAG_MOST = 50;
const LABEL_MOST = 1_000;
const KEYS = [["key:play", "play"], ["key:seek", "does:seek"], ["key:ends", "does:ends"], ["key:marks", "does:marks"], ["key:mark", "addMark"], ["key:zoom", "does:zoom"], ["key:speed", "speed"], ["key:back", "does:back"]];

/**
 * @typedef {{
 *   onChange: (facts: Detail) => void, onDelete: (facts: Detail) => void, onBack: () => void, tell: (text: string) => void,
 * }} Acts
 */

export class Player {
  #api;
  #recording;
  #speaker;
  #editings;
  #acts;
  #mayEdit;
  #end = new AbortController();
  #sound;
  /** @type {Editing | null} */ #editing = null;
  /** @type {View | null} */ #view = null;
  /** @type {Record<string, any>} */ #at = {};
  #poll = 0;
  #typing = 0;
  #shown = ""; // what the lists were made of

  /**
   * @param {Api} api
   * @param {string} recording
   * @param {Speaker} speaker
   * @param {Map<string, Editing>} editings What was typed before, by recording.
   * @param {Acts} acts
   * @param {boolean} mayEdit
   */
  constructor(api, recording, speaker, editings, acts, mayEdit) {
    this.#api = api;
    this.#recording = recording;
    this.#speaker = speaker;
    this.#editings = editings;
    this.#acts = acts;
    this.#mayEdit = mayEdit;
    this.#sound = new Sound(api.audio(recording, "wav"), { onProgress: () => this.#progress(), onTrouble: () => this.#unplayable() }, this.#end.signal);
    const { say } = speaker, { signal } = this.#end;
    this.node = h("div", { class: "player" }, h("a", { id: "back", href: "#", class: "link" }, `‹ ${say("back")}`), h("div", { id: "opening", role: "status" }, say("loading")));
    document.addEventListener("keydown", (event) => this.#key(event), { signal });
    this.#open();
  }

  /** Stop, and bring to the server what was typed. */
  close() {
    this.#end.abort();
    clearTimeout(this.#poll);
    clearTimeout(this.#typing);
    const editing = this.#editing;
    if (!editing) return;
    editing.saveAll().then(() => {
      this.#acts.onChange(editing.facts);
      if (editing.isOpen) this.#acts.tell(`${this.#speaker.title(editing.facts)}: ${this.#speaker.say("notSaved")}`);
      else if (this.#editings.get(this.#recording) === editing) this.#editings.delete(this.#recording);
    });
  }

  async #open() {
    const { signal } = this.#end;
    try {
      const { facts, etag } = await this.#api.detail(this.#recording, signal);
      const editing = this.#editings.get(this.#recording) ?? new Editing(this.#api, facts, etag);
      this.#editings.set(this.#recording, editing);
      this.#editing = editing;
      editing.refresh(facts, etag);
      this.#build();
    } catch (error) {
      if (signal.aborted || isAbort(error)) return;
      const again = button("again");
      put(again, this.#speaker.say("again"));
      again.onclick = () => this.#open();
      this.node.lastElementChild?.replaceChildren(h("p", { role: "alert" }, this.#speaker.trouble(error)), again);
    }
  }

  get #facts() {
    return /** @type {Editing} */ (this.#editing).facts;
  }

  get #rate() {
    return this.#facts.format.sample_rate;
  }

  // ---- what is made once -----------------------------------------------------------------

  #build() {
    const { say } = this.#speaker, { signal } = this.#end, editing = /** @type {Editing} */ (this.#editing);
    const view = this.#view = new View(this.#api, this.#facts, this.#speaker, {
      onSeek: (frame) => this.#seek(frame / this.#rate),
      onTrouble: (error) => this.#trouble(error),
    }, signal);
    const app = h("div", { class: "app" },
      h("div", { class: "main" },
        h("section", { class: "stage" },
          ...this.#titleField(), h("p", { id: "problem", class: "problem", role: "alert" }),
          view.node, this.#controls(), h("p", { id: "growing", class: "note" }, say("growing"))),
        h("section", { id: "marking" }, h("h3", {}, say("marks")), this.#markForm(), h("ul", { id: "marks" })),
        h("section", { id: "losses" }, h("h3", {}, say("gaps")), h("ul", { id: "gaps" }))),
      h("div", { class: "aside" },
        h("section", { class: "words" }, this.#tagsField(), this.#notesField()),
        h("section", {}, h("h3", {}, say("downloadAs")), h("div", { id: "formats" }, ...FORMATS.map((format) => this.#download(format))), h("p", { id: "downloadProblem", role: "alert" })),
        h("section", { class: "receipt" }, h("h3", {}, say("facts")), h("dl", { id: "facts" })),
        h("section", {}, this.#help(), this.#deleteButton())));
    this.node.lastElementChild?.remove();
    this.node.append(app);
    for (const node of app.querySelectorAll("[data-testid]")) this.#at[/** @type {HTMLElement} */ (node).dataset.testid ?? ""] = node;
    let told = editing.facts;
    editing.addEventListener("change", () => {
      this.#render();
      if (told !== editing.facts) this.#acts.onChange(told = editing.facts);
    }, { signal });
    this.#render();
    this.#watch();
  }

  /** @param {string} id @param {() => void} act @param {string} [look] */
  #button(id, act, look = "quiet") {
    const node = button(id, look);
    put(node.lastElementChild ?? node, this.#speaker.say(id));
    node.addEventListener("click", act);
    return node;
  }

  /** A button with a sign for a name that is read aloud, and shown to who points at it. @param {string} id @param {string} sign @param {() => void} act */
  #sign(id, sign, act) {
    const node = this.#button(id, act);
    node.ariaLabel = node.title = this.#speaker.say(id);
    put(node, sign);
    return node;
  }

  #titleField() {
    const input = /** @type {HTMLInputElement} */ (h("input", { id: "title", maxlength: TITLE_MOST, "aria-label": this.#speaker.say("title"), placeholder: this.#speaker.say("untitled"), enterkeyhint: "done", autocomplete: "off" }));
    input.readOnly = !this.#mayEdit;
    input.oninput = () => this.#editing?.type("title", input.value.trim() || null);
    input.onchange = () => this.#editing?.save("title");
    input.onkeydown = ({ key, isComposing }) => {
      if (isComposing) return;
      if (key === "Enter") input.blur();
      if (key !== "Escape") return;
      this.#editing?.takeTheirs("title");
      input.blur();
    };
    return [h("div", { class: "naming" }, input), h("div", { class: "beneath" }, h("p", { id: "meta" }), h("div", { id: "titleState", class: "saving", role: "status" }))];
  }

  #controls() {
    const { say } = this.#speaker;
    const pace = /** @type {HTMLSelectElement} */ (h("select", { id: "speed", "aria-label": say("speed") }));
    choose(pace, SPEEDS.map((value) => [`${value}`, `${value}×`]), `${this.#sound.speed}`);
    pace.onchange = () => this.#pace(Number(pace.value));
    return h("div", { id: "deck" },
      h("p", { id: "time", role: "timer", "aria-label": say("position") }),
      h("div", { class: "transport" },
        this.#sign("back10", "−10", () => this.#skip(-10)), this.#button("play", () => this.#toggle(), "round"), this.#sign("forward10", "+10", () => this.#skip(10))),
      h("div", { class: "tools" }, h("label", { class: "pace" }, pace),
        this.#sign("zoomOut", "⊖", () => this.#view?.zoom(-1)), this.#sign("zoomIn", "⊕", () => this.#view?.zoom(1)), this.#sign("fit", "↔", () => this.#view?.fit())));
  }

  #markForm() {
    const { say } = this.#speaker;
    const form = h("form", { id: "markForm" }, h("input", { id: "markLabel", "aria-label": say("markLabel"), placeholder: say("markLabel"), maxlength: LABEL_MOST, autocomplete: "off" }), this.#button("addMark", () => {}));
    form.lastElementChild?.setAttribute("type", "submit");
    form.onsubmit = (event) => {
      event.preventDefault();
      this.#mark();
    };
    form.hidden = !this.#mayEdit;
    return form;
  }

  #tagsField() {
    const { say } = this.#speaker;
    const input = /** @type {HTMLInputElement} */ (h("input", { id: "tag", "aria-label": say("addTag"), placeholder: say("addTag"), maxlength: TAG_MOST, enterkeyhint: "done", autocomplete: "off" }));
    const add = () => {
      const editing = /** @type {Editing} */ (this.#editing), tags = editing.value("tags");
      const added = input.value.split(/[,、，]/).map((tag) => tag.trim()).filter(Boolean);
      if (added.length === 0) return;
      editing.type("tags", [...new Set([...tags, ...added])].slice(0, TAGS_MOST));
      input.value = "";
      editing.save("tags");
    };
    input.onchange = add;
    input.onkeydown = (event) => {
      if (event.isComposing) return;
      const tags = this.#editing?.value("tags") ?? [];
      if (event.key === "Enter" || event.key === ",") {
        event.preventDefault();
        add();
      } else if (event.key === "Backspace" && input.value === "" && tags.length > 0) this.#removeTag(tags[tags.length - 1]);
    };
    input.hidden = !this.#mayEdit;
    return h("div", { class: "tagging" }, h("h3", {}, say("tags")), h("div", { id: "tags", role: "group", "aria-label": say("tags") }), input, h("div", { id: "tagsState", class: "saving", role: "status" }));
  }

  /** @param {string} tag */
  #removeTag(tag) {
    const editing = /** @type {Editing} */ (this.#editing);
    editing.type("tags", editing.value("tags").filter((one) => one !== tag));
    editing.save("tags");
    this.#at.tag.focus();
  }

  #notesField() {
    const area = /** @type {HTMLTextAreaElement} */ (h("textarea", { id: "notes", rows: 5, maxlength: NOTES_MOST, "aria-label": this.#speaker.say("notes") }));
    area.readOnly = !this.#mayEdit;
    const save = () => {
      clearTimeout(this.#typing);
      this.#editing?.save("notes");
    };
    area.oninput = () => {
      this.#editing?.type("notes", area.value);
      clearTimeout(this.#typing);
      this.#typing = setTimeout(save, NOTES_MS);
    };
    area.onchange = save;
    return h("div", { class: "noting" }, h("h3", {}, this.#speaker.say("notes")), area, h("div", { id: "notesState", class: "saving", role: "status" }));
  }

  /** @param {string} format */
  #download(format) {
    const node = this.#button(`as:${format}`, async () => {
      if (node.ariaDisabled) return;
      node.ariaDisabled = "true";
      put(this.#at.downloadProblem, "");
      try {
        await this.#api.download(this.#api.audio(this.#recording, format, true));
      } catch (error) {
        put(this.#at.downloadProblem, this.#speaker.trouble(error));
      } finally {
        node.ariaDisabled = null;
      }
    });
    return node;
  }

  #help() {
    const { say } = this.#speaker;
    return h("details", { id: "keys" }, h("summary", {}, say("keys")),
      h("dl", {}, ...KEYS.flatMap(([key, does]) => [h("dt", {}, say(key)), h("dd", {}, say(does))])));
  }

  #deleteButton() {
    const node = this.#button("deleteThis", () => this.#acts.onDelete(this.#facts));
    node.disabled = this.#facts.hold;
    node.hidden = !this.#mayEdit;
    return node;
  }

  // ---- what changes ----------------------------------------------------------------------

  #render() {
    const at = this.#at, { say, date, time, plural } = this.#speaker, editing = /** @type {Editing} */ (this.#editing), facts = this.#facts;
    const { gaps, marks, frames, status } = facts, isLive = status === "recording";
    for (const field of /** @type {const} */ (["title", "notes"])) {
      const value = editing.value(field) ?? "";
      if (!at[field].matches(":focus") && at[field].value !== value) at[field].value = value;
    }
    this.#tags(editing.value("tags"));
    for (const field of /** @type {const} */ (["title", "tags", "notes"])) this.#saving(field);
    document.title = `${this.#speaker.title(facts)} · micwire`;
    at.meta.replaceChildren(...[
      isLive && h("span", { class: "state", "data-state": "live" }, say("live")),
      status === "interrupted" && h("span", { class: "state", "data-state": status }, say(status)),
      h("span", {}, date(facts.started_at)), h("span", {}, time(frames / this.#rate)),
      gaps.length > 0 && h("span", { class: "gaps" }, plural("gaps1", "gapsN", gaps.length)),
    ].filter((node) => node instanceof Node));
    at.growing.hidden = !isLive;
    this.#view?.show(facts);
    this.#sound.grow(frames / this.#rate, isLive);
    this.#progress();
    const shown = JSON.stringify([gaps, marks, frames, status, facts.digest]);
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.#lists(marks);
    at.facts.replaceChildren(...rows(facts, this.#speaker));
  }

  /** @param {Mark[]} marks */
  #lists(marks) {
    const at = this.#at, { say, lost } = this.#speaker, rate = this.#rate;
    const jump = (/** @type {number} */ frame) => {
      const node = h("button", { type: "button", class: "jump" }, clock(frame / rate));
      node.onclick = () => this.#seek(frame / rate);
      return node;
    };
    const focused = at.marks.matches(":focus-within");
    at.marks.replaceChildren(...marks.map((mark) => {
      const remove = h("button", { type: "button", class: "remove", "aria-label": say("removeMark", { label: mark.label }) }, "×");
      remove.onclick = () => this.#unmark(mark);
      remove.hidden = !this.#mayEdit;
      return h("li", {}, jump(mark.frame), h("span", {}, mark.label), remove);
    }));
    if (focused) at.markLabel.focus();
    at.gaps.replaceChildren(...this.#facts.gaps.map(({ first_frame, frames, cause, exact }) =>
      h("li", {}, jump(first_frame), h("span", {}, say("gap", { time: `${exact ? "" : "≈ "}${lost(frames / rate)}`, cause: say(`by:${cause}`) })))));
    if (marks.length === 0) at.marks.append(h("li", { class: "none" }, say("noMarks")));
    if (this.#facts.gaps.length === 0) at.gaps.append(h("li", { class: "none" }, say("noGaps")));
  }

  /** @param {string[]} tags */
  #tags(tags) {
    const at = this.#at, key = JSON.stringify(tags);
    if (at.tags.dataset.key === key) return;
    at.tags.dataset.key = key;
    at.tags.replaceChildren(...tags.map((tag) => {
      const remove = h("button", { type: "button", "aria-label": this.#speaker.say("removeTag", { tag }) }, "×");
      remove.onclick = () => this.#removeTag(tag);
      remove.hidden = !this.#mayEdit;
      return h("span", { class: "chip" }, tag, remove);
    }));
  }

  /** Say whether what was typed is on the server. @param {Field} field */
  #saving(field) {
    const node = this.#at[`${field}State`], { say, trouble } = this.#speaker, editing = /** @type {Editing} */ (this.#editing);
    const { state, error } = editing.state(field), theirs = JSON.stringify(this.#facts[field]);
    const key = `${state} ${state === "conflict" ? theirs : error ? trouble(error) : ""}`;
    if (node.dataset.key === key) return;
    [node.dataset.key, node.dataset.state] = [key, state];
    const again = this.#button("again", () => editing.save(field), "link");
    const mine = this.#button("keepMine", () => editing.keepMine(field), "link"), take = this.#button("takeTheirs", () => {
      editing.takeTheirs(field);
      if (field !== "tags") this.#at[field].value = editing.value(field) ?? "";
    }, "link");
    const value = this.#facts[field];
    switch (state) {
      case "": node.replaceChildren(); break;
      case "failed": node.replaceChildren(`${say("notSaved")} ${trouble(error)}`, again); break;
      case "conflict": node.replaceChildren(say("conflict", { theirs: `${Array.isArray(value) ? value.join(", ") : value ?? ""}` }), mine, take); break;
      default: node.replaceChildren(say(state));
    }
  }

  /** @param {unknown} [error] None: it is over. */
  #trouble(error) {
    put(this.#at.problem, error ? this.#speaker.trouble(error) : "");
  }

  // ---- sound -----------------------------------------------------------------------------

  /** @param {number} seconds */
  #seek(seconds) {
    this.#sound.seek(seconds);
    this.#view?.follow();
    this.#view?.reveal(this.#sound.seconds * this.#rate);
    this.#progress();
  }

  /** @param {number} seconds */
  #skip(seconds) {
    this.#seek(this.#sound.seconds + seconds);
  }

  #toggle() {
    this.#view?.follow();
    this.#sound.toggle();
  }

  /** @param {number} value */
  #pace(value) {
    this.#sound.speed = value;
    this.#at.speed.value = `${value}`;
  }

  #progress() {
    const { seconds, isPlaying } = this.#sound, at = this.#at, { say } = this.#speaker;
    put(at.time, `${clock(seconds)} / ${clock(this.#facts.frames / this.#rate)}`);
    at.play.dataset.playing = `${isPlaying}`;
    put(at.play.lastElementChild, say(isPlaying ? "pausePlay" : "play"));
    at.play.disabled = this.#facts.frames === 0;
    this.#view?.at(seconds * this.#rate, isPlaying);
  }

  async #unplayable() {
    try {
      await this.#api.look(this.#api.audio(this.#recording, "wav"));
      put(this.#at.problem, this.#speaker.say("no:play"));
    } catch (error) {
      this.#trouble(error);
    }
  }

  // ---- marks, growth, keys -----------------------------------------------------------------

  async #mark() {
    const at = this.#at, label = at.markLabel.value.trim() || this.#speaker.say("markN", { n: this.#facts.marks.length + 1 });
    const frame = Math.min(Math.round(this.#sound.seconds * this.#rate), Math.max(0, this.#facts.frames - 1));
    if (await this.#change(() => this.#api.addMark(this.#recording, { frame, label }))) at.markLabel.value = "";
  }

  /** @param {Mark} mark */
  #unmark(mark) {
    return this.#change(() => this.#api.removeMark(this.#recording, mark));
  }

  /** @param {() => Promise<void>} act @returns {Promise<boolean>} whether it was done */
  async #change(act) {
    try {
      await act();
      put(this.#at.problem, "");
      await this.#refresh();
      return true;
    } catch (error) {
      if (!this.#end.signal.aborted) this.#trouble(error);
      return false;
    }
  }

  async #refresh() {
    const { facts, etag } = await this.#api.detail(this.#recording, this.#end.signal);
    this.#editing?.refresh(facts, etag);
  }

  #watch() {
    this.#poll = setTimeout(async () => {
      try {
        if (!document.hidden) await this.#refresh();
      } catch (error) {
        if (this.#end.signal.aborted) return;
        this.#trouble(error);
      }
      this.#watch();
    }, POLL_MS);
    if (this.#facts.status !== "recording") clearTimeout(this.#poll);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const [target] = event.composedPath();
    if (!this.#view || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (target instanceof Element && target.matches("input, textarea, select")) return;
    if (event.key === " " && target instanceof Element && target.matches("button, a, summary")) return;
    const view = this.#view, end = this.#facts.frames / this.#rate;
    const step = SPEEDS.indexOf(this.#sound.speed);
    /** @type {Record<string, () => void>} */
    const acts = {
      " ": () => this.#toggle(), k: () => this.#toggle(),
      ArrowLeft: () => this.#skip(-5), ArrowRight: () => this.#skip(5), j: () => this.#skip(-10), l: () => this.#skip(10),
      Home: () => this.#seek(0), End: () => this.#seek(end),
      "[": () => this.#neighbour(-1), "]": () => this.#neighbour(1),
      "+": () => view.zoom(1), "=": () => view.zoom(1), "-": () => view.zoom(-1), 0: () => view.fit(),
      "<": () => this.#pace(SPEEDS[Math.max(0, step - 1)]), ">": () => this.#pace(SPEEDS[Math.min(SPEEDS.length - 1, step + 1)]),
      m: () => this.#mayEdit && !event.repeat && this.#mark(),
      Escape: () => this.#acts.onBack(),
    };
    const act = acts[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  /** Go to the mark or gap before or behind. @param {number} direction */
  #neighbour(direction) {
    const { marks, gaps } = this.#facts, now = this.#sound.seconds * this.#rate;
    const places = [...marks.map(({ frame }) => frame), ...gaps.map(({ first_frame }) => first_frame)].sort((a, b) => a - b);
    const near = this.#rate / 2; // where it plays on, the one before is not the one just heard
    const place = direction > 0 ? places.find((frame) => frame > now + 1) : places.findLast((frame) => frame < now - (this.#sound.isPlaying ? near : 1));
    if (place !== undefined) this.#seek(place / this.#rate);
  }
}
