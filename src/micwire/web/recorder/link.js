/**
 * One socket to the server, again and again: back-off, watchdog, nothing of what is sent.
 *
 * The one owner of the socket and of its timers.
 */

import { SUBPROTOCOL } from "./wire.js";

const SILENCE_MS = 3_000; // from `opened` on, the server speaks at least each second
const OPENED_MS = 15_000;
const HANDSHAKE_MS = 2_500;
const BACKOFF_MS = 250;
// wire.md allows ten seconds: who waits for a live recording wants to be back within three.
const BACKOFF_MAX_MS = 2_000;
const PROBE_AFTER = 3; // browsers slow down sockets that fail again and again, but not requests

export class Link {
  #address;
  #handler;
  /** @type {WebSocket | null} */ #socket = null;
  #failures = 0;
  #openedAt = 0; // 0: not yet
  #isClosed = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  /** @type {AbortController | null} */ #probe = null;

  /**
   * @param {string} server The base URL of the server.
   * @param {{connected(): void, received(text: string): void, disconnected(code: number | null): void}} handler
   */
  constructor(server, handler) {
    this.#address = server;
    this.#handler = handler;
  }

  connect() {
    if (this.#isClosed || this.#socket !== null) return;
    this.#rest();
    const address = new URL("v1/stream", this.#address);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    /** @type {WebSocket} */ let socket;
    try {
      socket = this.#socket = new WebSocket(address, SUBPROTOCOL);
    } catch { // an https page may not speak to an http server
      this.#down(null);
      return;
    }
    socket.binaryType = "arraybuffer";
    this.#openedAt = 0;
    this.#watch(HANDSHAKE_MS);
    socket.onopen = () => {
      this.#watch(OPENED_MS);
      this.#handler.connected();
    };
    socket.onmessage = ({ data }) => {
      this.#watch(this.#openedAt > 0 ? SILENCE_MS : OPENED_MS);
      this.#handler.received(data);
    };
    socket.onclose = ({ code }) => this.#down(code);
  }

  /** The server has answered `opened`: from now on silence means a dead link. */
  opened() {
    this.#openedAt = performance.now();
    this.#watch(SILENCE_MS);
  }

  /** @param {string | Uint8Array<ArrayBuffer>} message */
  send(message) {
    this.#socket?.send(message);
  }

  /** Give this connection up and try again after a while. */
  drop() {
    if (this.#socket !== null) this.#down(null);
  }

  /** Try again at once: the network is back, or there is a new ticket. */
  hurry() {
    this.connect();
  }

  close() {
    this.#isClosed = true;
    this.#rest();
    this.#unplug()?.close(1000);
  }

  #unplug() {
    const socket = this.#socket;
    this.#socket = null;
    if (socket !== null) socket.onopen = socket.onmessage = socket.onclose = null;
    return socket;
  }

  /** @param {number | null} code @param {boolean} [hasWaited] */
  #down(code, hasWaited = false) {
    const socket = this.#unplug();
    // A dead peer never answers: closing goes on behind our back.
    if (socket !== null && socket.readyState < WebSocket.CLOSING) socket.close();
    this.#rest();
    this.#handler.disconnected(code);
    if (this.#isClosed) return;
    if (this.#openedAt > 0 && performance.now() - this.#openedAt > SILENCE_MS) this.#failures = 0;
    const backoff = hasWaited ? BACKOFF_MS : Math.min(BACKOFF_MAX_MS, BACKOFF_MS * 2 ** this.#failures);
    this.#failures++;
    this.#timer = setTimeout(() => this.#failures > PROBE_AFTER ? this.#ask() : this.connect(), jittered(backoff));
  }

  /** Ask by a plain request whether somebody is there; only then open a socket. */
  #ask() {
    const probe = this.#probe = new AbortController();
    this.#timer = setTimeout(() => probe.abort(), HANDSHAKE_MS);
    fetch(new URL("healthz", this.#address), { mode: "no-cors", cache: "no-store", signal: probe.signal }).then(
      () => this.connect(),
      () => {
        if (this.#probe !== probe) return;
        clearTimeout(this.#timer);
        this.#timer = setTimeout(() => this.#ask(), jittered(probe.signal.aborted ? BACKOFF_MS : BACKOFF_MAX_MS));
      },
    );
  }

  /** @param {number} milliseconds without a word, after which the connection is dead */
  #watch(milliseconds) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#down(null, true), milliseconds);
  }

  /** End every timer and request. */
  #rest() {
    clearTimeout(this.#timer);
    const probe = this.#probe;
    this.#probe = null;
    probe?.abort();
  }
}

/** @param {number} milliseconds */
function jittered(milliseconds) {
  return milliseconds * (0.5 + Math.random() / 2);
}
