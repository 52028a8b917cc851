/**
 * The audio thread, where a browser has no MediaStreamTrackProcessor: hands blocks on.
 *
 * Blocks go straight to the worker by a port of their own, not over the main thread. A block
 * says at which frame of the context's clock it began, so that a quantum that was never
 * rendered shows.
 */

const BLOCK_FRAMES = 1024;

class MicwireTap extends AudioWorkletProcessor {
  /** @type {MessagePort | null} */ #out = null;
  /** @type {Float32Array<ArrayBuffer>[]} */ #planes = [];
  #filled = 0;
  #firstFrame = 0;

  constructor() {
    super();
    this.port.onmessage = ({ data, ports }) => {
      if (data === "port") this.#out = ports[0];
      if (data === "stop") {
        this.#flush();
        this.#out?.postMessage(null);
        this.#out = null;
      }
    };
  }

  /**
   * Called each 128 frames by the browser. Allocates once a block, when it is handed on.
   *
   * @param {Float32Array[][]} inputs
   */
  process([input]) {
    // An input without channels: the source isn't connected yet.
    if (this.#out === null || input.length === 0) return true;
    if (input.length !== this.#planes.length || currentFrame !== this.#firstFrame + this.#filled) {
      this.#flush();
      this.#planes = input.map(() => new Float32Array(BLOCK_FRAMES));
      this.#firstFrame = currentFrame;
    }
    for (let channel = 0; channel < input.length; channel++) this.#planes[channel].set(input[channel], this.#filled);
    this.#filled += input[0].length;
    if (this.#filled === BLOCK_FRAMES) this.#flush();
    return true;
  }

  #flush() {
    if (this.#filled === 0 || this.#out === null) return;
    const planes = this.#planes.map((plane) => this.#filled === BLOCK_FRAMES ? plane : plane.slice(0, this.#filled));
    this.#planes = this.#planes.map(() => new Float32Array(BLOCK_FRAMES));
    this.#out.postMessage({ planes, firstFrame: this.#firstFrame, sampleRate }, planes.map((plane) => plane.buffer));
    this.#firstFrame += this.#filled;
    this.#filled = 0;
  }
}

registerProcessor("micwire-tap", MicwireTap);
