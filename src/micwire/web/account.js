/**
 * Who is signed in, on every page: asked of the server, shown beside the title, signed out.
 *
 * A link with a secret behind `#` is taken out of the address at once and handed to the sign-in
 * page through the tab's own storage, so that no history keeps it.
 */

import { language } from "./language.js";

/**
 * @typedef {object} Me What the server says of who asks.
 * @property {string | null} user Null: nobody is signed in.
 * @property {string} name
 * @property {string} identity Stands for whoever is signed in; empty where nobody has to.
 * @property {string[]} scopes
 * @property {boolean} is_open Nobody has to sign in.
 * @property {boolean} is_guest Somebody who came by an invitation, and may only record.
 * @property {number | null} max_seconds How long a recording may be.
 * @property {string | null} csrf
 * @property {string[]} sign_in The ways there are.
 */
/** @typedef {"token" | "invite"} LinkKind */

export const BASE = new URL("./", import.meta.url);
const LINK = /^#(token|invite)=([\w-]{1,200})$/;
const LINK_KEY = "micwire.link", NEXT_KEY = "micwire.next";
const PERIOD_MS = 500;
const OWNER_PATIENCE_MS = 3_000; // a recording waits to begin, or to go out

const TEXTS = /** @type {Record<string, Record<string, string>>} */ ({
  en: { guest: "Invited to “{name}”", out: "Sign out", everywhere: "Sign out everywhere", in: "Sign in" },
  ja: { guest: "「{name}」に招待されています", out: "サインアウト", everywhere: "すべての端末でサインアウト", in: "サインイン" },
});

/** @param {number} [patienceMs] @returns {Promise<Me>} */
export async function me(patienceMs = 15_000) {
  const answer = await fetch(new URL("api/v1/me", BASE), { cache: "no-store", signal: AbortSignal.timeout(patienceMs) });
  if (!answer.ok) throw new Error(`the server answers with ${answer.status}`);
  return answer.json();
}

/**
 * Ask the server to change something.
 *
 * @param {string} method
 * @param {string} path Below `api/v1/`.
 * @param {object} [body]
 * @param {string | null} [csrf] As `me` says.
 */
export function change(method, path, body, csrf) {
  const headers = new Headers();
  if (body) headers.set("Content-Type", "application/json");
  if (csrf) headers.set("X-Micwire-CSRF", csrf);
  return fetch(new URL(`api/v1/${path}`, BASE), { method, headers, body: body && JSON.stringify(body) });
}

/** Take a secret out of the address, or out of what another page put aside. @returns {{kind: LinkKind, secret: string} | null} */
export function takeLink() {
  const text = location.hash || (sessionStorage.getItem(LINK_KEY) ?? "");
  sessionStorage.removeItem(LINK_KEY);
  const found = LINK.exec(text);
  if (!found) return null;
  if (location.hash) history.replaceState(null, "", location.pathname + location.search);
  return { kind: /** @type {LinkKind} */ (found[1]), secret: found[2] };
}

/** Go to the sign-in page, and come back here afterwards. */
export function goToSignIn() {
  sessionStorage.setItem(NEXT_KEY, location.href);
  location.replace(new URL("sign-in", BASE));
}

/** Go to where somebody was before signing in, if that was a page of this server. */
export function goBack() {
  const named = new URLSearchParams(location.search).get("next"); // a page by its name
  const next = named && /^[a-z-]+$/.test(named) ? new URL(named, BASE).href : sessionStorage.getItem(NEXT_KEY) ?? "";
  sessionStorage.removeItem(NEXT_KEY);
  const isOurs = next.startsWith(BASE.href) && !next.startsWith(`${BASE.href}sign-in`);
  location.replace(isOurs ? next : BASE);
}

/** @param {string} tag @param {string} id @param {(string | Node)[]} children */
function h(tag, id, ...children) {
  const node = document.createElement(tag);
  node.className = node.dataset.testid = id;
  node.append(...children);
  return node;
}

/** Show who is signed in, with a way out. @param {Me} who */
function show(who) {
  const name = h("span", "accountName"), out = h("button", "signOut"), everywhere = h("button", "signOutEverywhere");
  const account = h("div", "account", name, out, everywhere);
  everywhere.hidden = who.is_guest;
  const speak = () => {
    const say = TEXTS[language()];
    name.textContent = who.is_guest ? say.guest.replace("{name}", who.name) : who.name;
    out.textContent = say.out;
    everywhere.textContent = say.everywhere;
  };
  speak();
  document.addEventListener("language", () => setTimeout(speak)); // once it is kept
  /** @param {string} path */
  const leave = async (path) => {
    const answer = await change("DELETE", path, undefined, (await me()).csrf);
    if (answer.ok) location.assign(new URL("sign-in", BASE));
  };
  out.addEventListener("click", () => leave("session"));
  everywhere.addEventListener("click", () => leave("session?everywhere=true"));
  document.querySelector("header")?.append(account);
}

/** Let nobody run into the end of what an invitation allows: stop there. @param {number} most In seconds. */
function limit(most) {
  setInterval(() => {
    const recorder = /** @type {any} */ (document.querySelector("micwire-recorder"));
    const { state, capturedSeconds } = recorder?.recorder ? recorder.status : { state: "idle", capturedSeconds: 0 };
    if (["recording", "paused", "offline"].includes(state) && capturedSeconds >= most) recorder.stop();
  }, PERIOD_MS);
}

/** Hand the secret of a link to the sign-in page. @returns {boolean} whether there is one */
function followLink() {
  if (!LINK.test(location.hash)) return false;
  sessionStorage.setItem(LINK_KEY, location.hash);
  history.replaceState(null, "", location.pathname + location.search);
  location.replace(new URL("sign-in", BASE));
  return true;
}

/** @param {string} code @param {unknown} message */
const failure = (code, message) => Object.assign(new Error(`${message}`), { code });

/** Begin anew where somebody else has signed in meanwhile, unless somebody speaks. @param {string} identity */
function follow(identity) {
  document.addEventListener("visibilitychange", async () => {
    if (document.visibilityState !== "visible") return;
    const who = await me().catch(() => null);
    const recorder = /** @type {any} */ (document.querySelector("micwire-recorder"));
    const isIdle = ["idle", "finished", "failed"].includes(recorder?.status?.state);
    if (who !== null && who.identity !== identity && isIdle) location.reload();
  });
}

/**
 * Say who is signed in each time the recorder asks: it may be somebody else by then, in another tab.
 *
 * @param {Promise<Me>} first The answer that this page began with.
 */
function ownerAsOf(first) {
  /** @type {Promise<Me> | null} */ let answer = first;
  let isOpen = false;
  return async () => {
    if (isOpen) return ""; // nobody has to be there to say so
    const asked = answer ?? me(OWNER_PATIENCE_MS);
    answer = null;
    const who = await asked.catch((error) => { throw failure("server-unreachable", error); });
    isOpen = who.is_open;
    if (who.user === null) throw failure("unauthenticated", "nobody is signed in");
    return who.identity;
  };
}

/** What every page but the one for signing in begins with. */
export async function begin() {
  if (followLink()) return;
  addEventListener("hashchange", followLink); // a link that is opened where the page is open already
  const first = me();
  const recorder = /** @type {any} */ (document.querySelector("micwire-recorder"));
  if (recorder) recorder.owner = ownerAsOf(first);
  const who = await first.catch(() => null); // a recording is kept here until the server is back
  if (who === null) return;
  document.documentElement.toggleAttribute("data-guest", who.is_guest);
  recorder?.toggleAttribute("record-only", !who.is_open && !who.scopes.includes("read"));
  if (who.user === null && who.sign_in.length > 0 && recorder) goToSignIn();
  if (who.csrf !== null) show(who);
  if (recorder && !who.is_open) follow(who.identity);
  if (who.max_seconds !== null) limit(who.max_seconds);
}
