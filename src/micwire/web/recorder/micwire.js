/**
 * The recorder for other people's pages: importing this module defines `<micwire-recorder>`.
 */

import { MicwireRecorder } from "./element.js";

export { Recorder, RecorderError } from "./recorder.js";
export { MicwireRecorder };

if (!customElements.get("micwire-recorder")) customElements.define("micwire-recorder", MicwireRecorder);
