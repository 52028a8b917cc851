/**
 * The sound of one recording, played by an <audio> of the browser's, which fetches the ranges
 * that it needs. A recording that grows is played as far as it was known last; at its end, or
 * beyond it, the audio is told of all that there is by then.
 */

const MORE_S = 0.25;

export const SPEEDS = [0.5, 0.75, 1, 1.25, 1.5, 1.75, 2, 2.5, 3];

/** What was chosen last stays from one recording to the next. */
let speed = 1;

/** @typedef {{onProgress: () => void, onTrouble: () => void}} Acts `onProgress`: as often as the screen is drawn while it plays. */

export class Sound {
  #audio = new Audio();
  #url;
  #acts;
  #signal;
  #there = 0; // seconds
  #known = 0; // seconds that the audio knows of
  #isGrowing = false;
  #isWaiting = false; // for more to play
  #isWanted = false;

  /** @param {string} url @param {Acts} acts @param {AbortSignal} signal Ends it. */
  constructor(url, acts, signal) {
    this.#url = url;
    this.#acts = acts;
    this.#signal = signal;
    const audio = this.#audio, draw = () => acts.onProgress();
    for (const name of ["play", "pause", "seeked", "durationchange"]) audio.addEventListener(name, draw, { signal });
    audio.addEventListener("playing", () => this.#run(), { signal });
    audio.addEventListener("ended", () => {
      this.#isWaiting = this.#isGrowing;
      this.#goOn();
      draw();
    }, { signal });
    audio.addEventListener("error", () => acts.onTrouble(), { signal });
    signal.addEventListener("abort", () => {
      audio.pause();
      audio.removeAttribute("src");
      audio.load(); // lets the connection go
    });
  }

  get seconds() {
    return this.#audio.currentTime;
  }

  get isPlaying() {
    return this.#isWaiting || (!this.#audio.paused && !this.#audio.ended);
  }

  get speed() {
    return speed;
  }

  set speed(value) {
    speed = value;
    this.#audio.defaultPlaybackRate = this.#audio.playbackRate = value;
  }

  /** There are so many seconds now. @param {number} seconds @param {boolean} isGrowing */
  grow(seconds, isGrowing) {
    this.#there = seconds;
    this.#isGrowing = isGrowing;
    if (this.#known === 0 && seconds > 0) this.#load(0, false);
    this.#goOn();
  }

  #goOn() {
    if (this.#isWaiting && this.#hasMore) this.#load(this.#audio.currentTime, true);
    else if (!this.#isGrowing) this.#isWaiting = false;
  }

  toggle() {
    const audio = this.#audio;
    if (this.isPlaying) {
      this.#isWaiting = false;
      audio.pause();
      this.#acts.onProgress();
    } else if (audio.error || (audio.ended && this.#hasMore)) this.#load(audio.currentTime, true);
    else this.#play();
  }

  /** @param {number} seconds */
  seek(seconds) {
    const to = Math.min(Math.max(0, seconds), this.#there);
    if (to > this.#known) this.#load(to, this.isPlaying);
    else if (this.#isWaiting) {
      this.#audio.currentTime = to;
      this.#isWaiting = false;
      this.#play();
    } else this.#audio.currentTime = to;
  }

  get #hasMore() {
    return this.#there > this.#known + MORE_S;
  }

  /** @param {number} seconds Where to be. @param {boolean} isPlaying */
  #load(seconds, isPlaying) {
    const audio = this.#audio;
    this.#known = this.#there;
    this.#isWaiting = false;
    audio.preload = "metadata";
    audio.src = this.#url;
    audio.currentTime = seconds;
    audio.defaultPlaybackRate = audio.playbackRate = speed;
    if (isPlaying) this.#play();
  }

  async #play() {
    try {
      await this.#audio.play();
    } catch {
      // The audio's own `error` tells why; a pause before it began is none.
    }
  }

  #run() {
    if (this.#isWanted || this.#signal.aborted) return;
    this.#acts.onProgress();
    if (!this.isPlaying) return;
    this.#isWanted = true;
    requestAnimationFrame(() => {
      this.#isWanted = false;
      this.#run();
    });
  }
}
