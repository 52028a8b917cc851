/**
 * Runs what the page asks for: the functions of these files.
 */

import * as crashes from "./crashes.js";
import * as faults from "./faults.js";
import * as lives from "./lives.js";
import * as load from "./load.js";
import * as tabs from "./tabs.js";

/** @type {Record<string, (...given: any[]) => unknown>} */
const jobs = { ...crashes, ...faults, ...lives, ...load, ...tabs };

/** @param {MessageEvent<{ call: number, job: string, given: unknown[] }>} event */
onmessage = async ({ data: { call, job, given } }) => {
  try {
    postMessage({ call, value: await jobs[job](...given) });
  } catch (error) {
    postMessage({ call, error: error instanceof Error ? `${error}\n${error.stack}` : String(error) });
  }
};
