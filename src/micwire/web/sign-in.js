/** The page at `/sign-in`: by password, by the server's token, by a provider, or as a guest. Texts only by `textContent`. */

import { change, goBack, me, takeLink } from "./account.js";
import { choose, language } from "./language.js";

/**
 * @typedef {object} Invitation
 * @property {string} name
 * @property {number | null} max_recordings
 * @property {number | null} max_seconds
 * @property {string | null} until
 * @property {number} used
 * @property {string} consent_version
 * @property {string} consent_text
 */
/** @typedef {"password" | "token" | "invitation" | "open"} View */

/** @satisfies {Record<string, [en: string, ja: string]>} */
const TEXTS = {
  other: ["日本語", "English"],
  title: ["Sign in · micwire", "サインイン · micwire"],
  signIn: ["Sign in", "サインイン"],
  name: ["Name", "名前"],
  password: ["Password", "パスワード"],
  provider: ["Sign in with your organisation", "組織のアカウントでサインイン"],
  tokenTitle: ["This server asks for its link", "このサーバーのリンクが必要です"],
  tokenHint: [
    "It printed one with a token as it began. Open that link, or paste the token here.",
    "起動時に、トークンの付いたリンクが表示されています。そのリンクを開くか、トークンをここに貼り付けてください。",
  ],
  token: ["Token", "トークン"],
  invited: ["You are invited to record", "録音に招待されています"],
  consentLabel: ["The text to agree to", "同意の内容"],
  agree: ["I have read this text and agree to it.", "上の内容を読み、同意します。"],
  accept: ["Go to the recorder", "録音画面へ進む"],
  onlyRecord: [
    "With this link you can record, and nothing else. Whoever invited you can hear what you record.",
    "このリンクでできるのは録音だけです。録音した音は、招待した人が聞くことができます。",
  ],
  openTitle: ["Nobody has to sign in here", "サインインは必要ありません"],
  left: ["{n} of {of} recordings left", "録音できる回数：残り{n}回（全{of}回）"],
  length: ["At most {time} each", "1回の長さ：最長{time}"],
  until: ["Until {date}", "期限：{date}"],
  minutes: ["{m} min {s} s", "{m}分{s}秒"],
  onlyMinutes: ["{m} min", "{m}分"],
  seconds: ["{s} s", "{s}秒"],
  wrong: ["The name or the password is wrong.", "名前かパスワードが違います。"],
  wrongToken: [
    "This is not the token of this server. It makes a new one each time it begins.",
    "このサーバーのトークンではありません。トークンは起動のたびに新しくなります。",
  ],
  over: [
    "This invitation is over, or the link is not complete. Ask whoever sent it.",
    "この招待は終了したか、リンクが不完全です。送ってくれた人に確認してください。",
  ],
  changed: ["The text has changed. Please read it again.", "内容が変わりました。もう一度お読みください。"],
  tooMany: ["Too many attempts failed. Try again in {s} s.", "失敗が続いたため、{s}秒後にもう一度お試しください。"],
  failed: ["The server can’t be reached. Try again.", "サーバーに接続できません。もう一度お試しください。"],
  providerFailed: ["Your organisation did not let you in here.", "組織のアカウントではサインインできませんでした。"],
};
/** @typedef {keyof typeof TEXTS} Key */

/** @param {string} id @returns {any} */
const at = (id) => document.querySelector(`[data-testid=${id}]`);

/** @type {{key: Key, values: Record<string, string | number>} | null} */ let trouble = null;
/** @type {Invitation | null} */ let invitation = null;

/** @param {Key} key @param {Record<string, string | number>} [values] */
const say = (key, values = {}) => TEXTS[key][language() === "ja" ? 1 : 0].replace(/\{(\w+)\}/g, (_, name) => `${values[name]}`);

function speak() {
  document.documentElement.lang = language();
  document.title = say("title");
  for (const node of document.querySelectorAll("[data-text]")) node.textContent = say(/** @type {Key} */ (node.getAttribute("data-text")));
  for (const node of document.querySelectorAll("[data-foreign]")) node.setAttribute("lang", language() === "ja" ? "en" : "ja");
  for (const node of document.querySelectorAll("[data-label]")) node.setAttribute("aria-label", say(/** @type {Key} */ (node.getAttribute("data-label"))));
  at("problem").textContent = trouble ? say(trouble.key, trouble.values) : "";
  if (invitation) showFacts(invitation);
}

/** @param {Key | null} key @param {Record<string, string | number>} [values] */
function complain(key, values = {}) {
  trouble = key && { key, values };
  speak();
}

/** @param {View} view */
function show(view) {
  for (const node of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-view]"))) node.hidden = node.dataset.view !== view;
}

/** @param {number} seconds */
function time(seconds) {
  const m = Math.floor(seconds / 60), s = Math.round(seconds % 60);
  return say(m === 0 ? "seconds" : s === 0 ? "onlyMinutes" : "minutes", { m, s });
}

/** @param {Invitation} of */
function showFacts({ max_recordings, used, max_seconds, until }) {
  const facts = [
    max_recordings && say("left", { n: Math.max(0, max_recordings - used), of: max_recordings }),
    max_seconds && say("length", { time: time(max_seconds) }),
    until && say("until", { date: new Date(until).toLocaleString(language(), { dateStyle: "long", timeStyle: "short" }) }),
  ];
  at("facts").replaceChildren(...facts.filter((fact) => fact !== null).map((fact) => {
    const line = document.createElement("li");
    line.textContent = `${fact}`;
    return line;
  }));
  at("facts").hidden = !at("facts").childElementCount;
}

/** Ask for a session; whoever was signed in here before makes room. @param {object} body */
const ask = async (body) => change("POST", "session", body, (await me()).csrf);

/** Send what signs somebody in; true if it did. @param {object} body @param {Key} wrong */
async function enter(body, wrong) {
  complain(null);
  try {
    const answer = await ask(body);
    if (answer.status === 204) return true;
    if (answer.status === 429) complain("tooMany", { s: answer.headers.get("Retry-After") ?? "60" });
    else complain(answer.status === 409 ? "changed" : answer.status < 500 ? wrong : "failed");
  } catch {
    complain("failed");
  }
  return false;
}

/** @param {string} id @param {(form: FormData) => Promise<boolean>} send */
function onSubmit(id, send) {
  const form = /** @type {HTMLFormElement} */ (at(id)), button = /** @type {HTMLButtonElement} */ (form.querySelector("button"));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      if (await send(new FormData(form))) goBack();
    } finally {
      button.disabled = false;
    }
  });
}

/** @param {string} code */
async function showInvitation(code) {
  const answer = await ask({ invitation: code });
  if (!answer.ok) return complain(answer.status < 500 ? "over" : "failed");
  const found = invitation = /** @type {Invitation} */ (await answer.json());
  const hasText = found.consent_text !== "", agree = at("agree"), accept = at("accept");
  at("invitationName").textContent = found.name;
  at("consent").textContent = found.consent_text;
  at("consent").hidden = at("agree").parentElement.hidden = !hasText;
  accept.disabled = hasText;
  agree.addEventListener("change", () => { accept.disabled = !agree.checked; });
  speak();
  show("invitation");
  onSubmit("invitationForm", () => enter({ invitation: code, consent_version: found.consent_version }, "over"));
}

async function begin() {
  const link = takeLink();
  if (link?.kind === "token" && await enter({ token: link.secret }, "wrongToken")) return goBack();
  if (link?.kind === "invite") return showInvitation(link.secret);
  const who = await me();
  if (who.csrf !== null) return goBack(); // signed in already
  if (who.is_open) return show("open");
  at("provider").hidden = !who.sign_in.includes("oidc");
  show(who.sign_in.includes("token") ? "token" : "password");
  at(who.sign_in.includes("token") ? "token" : "name").focus();
  if (new URLSearchParams(location.search).has("refused")) complain("providerFailed");
}

speak();
at("lang").addEventListener("click", () => {
  choose(language() === "ja" ? "en" : "ja");
  speak();
});
onSubmit("passwordForm", async (form) => {
  const isIn = await enter({ user: form.get("user"), password: form.get("password") }, "wrong");
  if (!isIn) at("password").select();
  return isIn;
});
onSubmit("tokenForm", (form) => enter({ token: `${form.get("token")}`.replace(/^.*#token=/, "").trim() }, "wrongToken"));
addEventListener("hashchange", () => location.reload()); // a link that is opened here
begin().catch(() => complain("failed"));
