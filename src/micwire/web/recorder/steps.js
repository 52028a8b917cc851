/**
 * Jobs that wait only where they must, one after another.
 *
 * Files in OPFS answer at once, those in IndexedDB later. The same job does for both: it yields
 * what an answer may be a promise of.
 */

/**
 * @template T
 * @typedef {Generator<unknown, T, any>} Steps A job: yields answers that may be promises, and is given what they are.
 */

/** One job after another, in the order in which they came. */
export class Turns {
  /** @type {Promise<void> | null} What came before and is not done; never rejects. */
  #busy = null;

  /**
   * @template T
   * @param {Steps<T>} steps
   * @returns {T | Promise<T>} A promise only if there is something to wait for.
   */
  take(steps) {
    const result = this.#busy === null ? run(steps) : this.#busy.then(() => run(steps));
    if (result instanceof Promise) {
      const done = () => {
        if (this.#busy === busy) this.#busy = null;
      };
      const busy = result.then(done, done);
      this.#busy = busy;
    }
    return result;
  }
}

/**
 * @template T
 * @param {Steps<T>} steps
 * @returns {T | Promise<T>} A promise only if there is something to wait for.
 */
export function run(steps) {
  let step = steps.next();
  while (!step.done && !(step.value instanceof Promise)) step = steps.next(step.value);
  return step.done ? step.value : walk(steps, step);
}

/**
 * @template T
 * @param {Steps<T>} steps
 * @param {IteratorResult<unknown, T>} step
 * @returns {Promise<T>}
 */
async function walk(steps, step) {
  while (!step.done) {
    let answer;
    try {
      answer = await step.value;
    } catch (cause) {
      step = steps.throw(cause);
      continue;
    }
    step = steps.next(answer);
  }
  return step.value;
}
