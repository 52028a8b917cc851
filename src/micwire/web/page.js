/** The page at `/`: its language, and the one element that does the work. */

const TEXTS = /** @type {Record<string, Record<string, string>>} */ ({
  en: {
    tagline: "While you talk, a WAV grows on the server.",
    promise: "“Safe” is what the server has synced to its disk. Until then it is kept in this browser, and sent again after whatever may happen.",
  },
  ja: {
    tagline: "話しているあいだに、サーバーでWAVが育ちます。",
    promise: "「保存済み」は、サーバーがディスクに書き終えた音だけを指します。それまではこのブラウザーに保管し、何が起きても送り直します。",
  },
});

/** @param {string} lang */
function speak(lang) {
  document.documentElement.lang = lang;
  for (const node of document.querySelectorAll("[data-text]")) node.textContent = TEXTS[lang][node.getAttribute("data-text") ?? ""];
}

speak(navigator.language.startsWith("ja") ? "ja" : "en");
document.addEventListener("language", (event) => speak(/** @type {CustomEvent<string>} */ (event).detail));
await import("./recorder/micwire.js");
