/**
 * <micwire-library>: the list of recordings, and the player of one at `#<id>`.
 *
 * It joins the parts: who is asking, what is shown, what is told in the notice at the bottom.
 * Texts are put in by `textContent` alone. One AbortController ends every listener and timer.
 */

import { button, h, put } from "../recorder/dom.js";
import { sheet as base } from "../recorder/look.js";
import { Api } from "./api.js";
import { Deletions } from "./deletions.js";
import { Editing } from "./editing.js";
import { ListView } from "./list.js";
import { sheet } from "./look.js";
import { Thumbnails } from "./peaks.js";
import { Player } from "./player.js";
import { EVERYTHING, Recordings } from "./recordings.js";
import { Speaker } from "./words.js";

/** @import { News } from "./deletions.js" */
/** @import { Me } from "../account.js" */

const EXPORT_MOST = 1000;
const TOLD_MS = 6_000;

class MicwireLibrary extends HTMLElement {
  #root = this.attachShadow({ mode: "open" });
  #api = new Api();
  #end = new AbortController();
  #speaker = new Speaker("en");
  #recordings = new Recordings(this.#api);
  #thumbnails = new Thumbnails(this.#api, (recording) => this.#list?.picture(recording));
  /** @type {Deletions} */ #deletions = new Deletions(this.#api, (news) => this.#deleted(news), this.#end.signal);
  /** @type {Map<string, Editing>} what was typed and is not on the server yet */ #editing = new Map();
  /** @type {Me | null} */ #me = null;
  /** @type {ListView | null} */ #list = null;
  /** @type {Player | null} */ #player = null;
  #place = h("div", { class: "place" });
  #who = h("div", { id: "who" });
  #undo = h("div", { id: "undoing", role: "status" });
  #notice = h("div", { id: "notice", role: "status" });
  #told = 0;
  #view = new AbortController(); // ends what belongs to the language
  #scrolled = 0;

  constructor() {
    super();
    this.#root.adoptedStyleSheets = [base, sheet];
    this.#root.append(h("div", { id: "lib" }, this.#who, this.#place, h("div", { class: "told" }, this.#undo, this.#notice)));
  }

  async connectedCallback() {
    const { signal } = this.#end;
    addEventListener("hashchange", () => this.#show(), { signal });
    addEventListener("pagehide", () => this.#saveAll(), { signal });
    // Before the person leaves or signs out, with what they may do still in hand.
    document.querySelector("header")?.addEventListener("click", () => this.#deletions.flush(), { signal, capture: true });
    addEventListener("beforeunload", (event) => this.#isUnsaved() && event.preventDefault(), { signal });
    addEventListener("pageshow", ({ persisted }) => persisted && this.#recordings.ask({}), { signal });
    this.#build();
    try {
      this.#me = await this.#api.me();
      if (!signal.aborted) this.#build();
    } catch {
      // The list fails as well, and says why.
    }
    this.#recordings.ask(EVERYTHING);
  }

  disconnectedCallback() {
    this.#deletions.flush();
    this.#end.abort();
    this.#view.abort();
    this.#player?.close();
    this.#recordings.watch(false);
  }

  /** Make what is shown, in the language of the page. */
  #build() {
    this.#view.abort();
    this.#view = new AbortController();
    const { signal } = this.#view;
    this.#speaker = new Speaker(document.documentElement.lang);
    const { lang, say } = this.#speaker;
    const other = h("button", { id: "lang", type: "button", class: "quiet", lang: lang === "en" ? "ja" : "en" }, say("other"));
    other.onclick = () => this.#switch(other.lang);
    this.#root.firstElementChild?.setAttribute("lang", lang);
    document.title = `${say("library")} · micwire`;
    this.#who.replaceChildren(h("h2", {}, say("library")), other);
    this.#list = new ListView(this.#recordings, this.#thumbnails, this.#speaker, this.#me, {
      onDelete: (rows) => this.#deletions.add(rows),
      onRename: (recording, title) => this.#rename(recording, title),
      onExport: (rows) => this.#export(rows.map(({ recording }) => recording)),
    }, signal);
    this.#show();
  }

  #mayManage() {
    return this.#me?.scopes.includes("manage") ?? true;
  }

  /** @param {string} lang */
  #switch(lang) {
    document.dispatchEvent(new CustomEvent("language", { detail: lang }));
    this.#build();
    /** @type {HTMLElement | null} */ (this.#who.querySelector(".lang"))?.focus();
  }

  /** Show what the address names. */
  #show() {
    const recording = decodeURIComponent(location.hash.slice(1)).toLowerCase();
    if (this.#place.firstElementChild === this.#list?.node) this.#scrolled = scrollY;
    this.#player?.close();
    this.#player = null;
    this.#root.firstElementChild?.classList.toggle("playing", recording !== "");
    if (recording) {
      this.#notice.replaceChildren();
      this.#recordings.watch(false);
      this.#player = new Player(this.#api, recording, this.#speaker, this.#editing, {
        onChange: (facts) => this.#recordings.update(facts),
        onDelete: (facts) => {
          location.hash = "";
          this.#deletions.add([facts]);
        },
        onBack: () => {
          location.hash = "";
        },
        tell: (text) => this.#tell(text, Infinity),
      }, this.#mayManage());
      this.#place.replaceChildren(this.#player.node);
      scrollTo({ top: 0, behavior: "instant" });
    } else if (this.#list) {
      const isBack = this.#place.firstElementChild?.matches(".player");
      this.#place.replaceChildren(this.#list.node);
      this.#list.refresh();
      this.#recordings.watch(true);
      if (isBack) {
        scrollTo({ top: this.#scrolled, behavior: "instant" });
        this.#list.focus();
      }
    }
  }

  // ---- deleting, exporting, saving -----------------------------------------------------------

  /** @param {News} news */
  #deleted({ state, doomed, error }) {
    const { say, title } = this.#speaker;
    const ids = doomed.map(({ recording }) => recording);
    const of = (/** @type {string} */ key) => doomed.length === 1 ? say(`${key}1`, { title: title(doomed[0]) }) : say(`${key}N`, { n: this.#speaker.number(doomed.length) });
    if (state === "hidden") {
      this.#recordings.hide(ids);
      const undo = button("undo");
      put(undo, say("undo"));
      undo.onclick = () => {
        this.#deletions.undo();
        this.#list?.focus();
      };
      this.#undo.replaceChildren(h("p", {}, of("deleted")), undo);
      return;
    }
    if (!this.#deletions.isWaiting) this.#undo.replaceChildren();
    if (state !== "gone") {
      this.#recordings.show(ids);
      if (state === "undone") this.#tell(say("undone"));
      else this.#tell(`${of("deleteFailed")} ${this.#speaker.trouble(error)}`, Infinity);
    }
  }

  /** @param {string[]} recordings */
  async #export(recordings) {
    const { say, number, trouble } = this.#speaker;
    if (recordings.length > EXPORT_MOST) {
      this.#tell(say("exportMost", { n: number(EXPORT_MOST) }), Infinity);
      return;
    }
    try {
      await this.#api.download(this.#api.archive(recordings));
      this.#tell(say("exportStarted", { n: number(recordings.length) }));
    } catch (error) {
      this.#tell(trouble(error), Infinity);
    }
  }

  /** @param {string} recording @param {string} title @returns {Promise<boolean>} whether the server has it */
  async #rename(recording, title) {
    try {
      let editing = this.#editing.get(recording);
      if (!editing) {
        const { facts, etag } = await this.#api.detail(recording);
        this.#editing.set(recording, editing = new Editing(this.#api, facts, etag));
      }
      editing.type("title", title || null);
      await editing.keepMine("title");
      const { state, error } = editing.state("title");
      if (state !== "saved") throw error;
      this.#editing.delete(recording);
      this.#recordings.update(editing.facts);
      return true;
    } catch (error) {
      this.#tell(`${this.#speaker.say("notSaved")} ${this.#speaker.trouble(error)}`, Infinity);
      return false;
    }
  }

  #saveAll() {
    for (const editing of this.#editing.values()) editing.saveAll();
  }

  #isUnsaved() {
    return [...this.#editing.values()].some(({ isStuck }) => isStuck);
  }

  /** @param {string} text @param {number} [forMs] */
  #tell(text, forMs = TOLD_MS) {
    clearTimeout(this.#told);
    const close = button("dismiss", "link");
    put(close, this.#speaker.say("dismiss"));
    const clear = () => this.#notice.replaceChildren();
    close.onclick = clear;
    this.#notice.replaceChildren(h("p", {}, text), close);
    if (forMs < Infinity) this.#told = setTimeout(clear, forMs);
  }
}

customElements.define("micwire-library", MicwireLibrary);
