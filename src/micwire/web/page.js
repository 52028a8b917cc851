/** What all pages have around the one element that does the work: their language, and the way to one another. */

import { begin } from "./account.js";
import { choose, language } from "./language.js";

const TEXTS = /** @type {Record<string, Record<string, string>>} */ ({
  en: {
    recorder: "Record",
    library: "Library",
    tagline: "While you talk, a WAV grows on the server.",
    promise: "“Safe” is what the server has synced to its disk. Until then it is kept in this browser, and sent again after whatever may happen.",
  },
  ja: {
    recorder: "録音",
    library: "ライブラリー",
    tagline: "話しているあいだに、サーバーでWAVが育ちます。",
    promise: "「保存済み」は、サーバーがディスクに書き終えた音だけを指します。それまではこのブラウザーに保管し、何が起きても送り直します。",
  },
});

/** @param {string} lang */
function speak(lang) {
  document.documentElement.lang = lang;
  for (const node of document.querySelectorAll("[data-text]")) node.textContent = TEXTS[lang][node.getAttribute("data-text") ?? ""];
}

speak(language());
document.addEventListener("language", (event) => {
  const lang = /** @type {CustomEvent<string>} */ (event).detail;
  choose(lang);
  speak(lang);
});
begin();
