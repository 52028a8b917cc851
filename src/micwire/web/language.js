/** The language of all pages: what the person chose here, else the browser's. */

const KEY = "micwire.language";

/** @returns {"en" | "ja"} */
export function language() {
  return (kept() ?? navigator.language).startsWith("ja") ? "ja" : "en";
}

/** @param {string} lang What the person chose. */
export function choose(lang) {
  try {
    localStorage.setItem(KEY, lang);
  } catch {
    // Where a browser keeps nothing for this site, the choice is for this page.
  }
}

function kept() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}
