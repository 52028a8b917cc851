/** The facts of a recording, as a person reads them: how long, from where, what is missing, what proves it. */

import { h, put } from "../recorder/dom.js";

/** @import { Detail } from "./types.js" */
/** @import { Speaker } from "./words.js" */

const RAW = ["echoCancellation", "noiseSuppression", "autoGainControl"];

/**
 * What a recording's receipt holds, as rows for a <dl>.
 * @param {Detail} facts
 * @param {Speaker} speaker
 */
export function rows({ frames, format, gaps, clipped, digest, verifiable, settings, device, started_at: started, take, part, owner, hold, consent }, speaker) {
  const { say, number, time, date, lost } = speaker;
  const row = (/** @type {string} */ key, /** @type {(Node | string)[]} */ ...value) => [h("dt", {}, say(key)), h("dd", {}, ...value)];
  const label = device instanceof Object && "label" in device && typeof device.label === "string" ? device.label : "";
  const applied = RAW.filter((name) => settings && name in settings);
  return [
    ...row("started", date(started)),
    ...row("length", `${time(frames / format.sample_rate)} · ${say("frames", { n: number(frames) })}`),
    ...row("format", `${number(format.sample_rate)} Hz · ${say(format.channels < 3 ? `channels${format.channels}` : `${format.channels}`)} · ${say(format.encoding)}`),
    ...(label ? row("device", label) : []),
    ...(applied.length > 0 ? row("sound", ...applied.map((name) => h("span", settings?.[name] ? { class: "bad" } : {}, `${say(name)} ${say(settings?.[name] ? "on" : "off")}`))) : []),
    ...row("gaps", gaps.length > 0 ? h("span", { class: "gaps" }, say("gapsCount", { n: gaps.length, time: lost(gaps.reduce((sum, gap) => sum + gap.frames, 0) / format.sample_rate) })) : "0"),
    ...(clipped > 0 ? row("clipped", h("span", { class: "gaps" }, number(clipped))) : []),
    ...(verifiable === null ? [] : row("capture", say(verifiable ? "verifiable" : "notVerifiable"))),
    ...(digest ? row("digest", ...checksum(digest, speaker)) : []),
    ...(take && part ? row("part", say("partOf", { part, take: take.slice(0, 8) })) : []),
    ...(owner ? row("owner", owner) : []),
    ...(consent ? row("consent", say("consentOf", { version: consent.version, at: date(consent.accepted_at) })) : []),
    ...(hold ? row("hold", say("held")) : []),
  ];
}

/** Its beginning, and a button that copies all of it; shown whole where pages may not copy. @param {string} digest @param {Speaker} speaker */
function checksum(digest, { say }) {
  const code = h("code", {}, `${digest.slice(0, 12)}…`), copy = h("button", { type: "button", class: "link" }, say("copyDigest"));
  copy.onclick = () => navigator.clipboard.writeText(digest).then(() => put(copy, `✓ ${say("copyDigest")}`), () => put(code, digest));
  return [code, copy];
}
