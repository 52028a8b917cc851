/**
 * All that <micwire-recorder> says, in each of its languages: tables with the same keys.
 *
 * `{name}` is a place for a value. Trouble is told by its code: the cause and, on a line of its
 * own, the cure; what is safe is said beside it. What is safe is rounded down, what isn't up.
 */

/** @satisfies {Record<string, [en: string, ja: string]>} */
const TEXTS = {
  other: ["日本語", "English"],
  record: ["Record", "録音"],
  stop: ["Stop", "終了"],
  pause: ["Pause", "一時停止"],
  resume: ["Resume", "再開"],
  mark: ["Mark", "マーク"],
  discard: ["Discard", "破棄"],
  cancel: ["Cancel", "キャンセル"],
  discardAsk: ["Delete all {time}, here and on the server?", "{time}の録音を、サーバーからも削除しますか？"],
  delete: ["Delete", "削除"],
  keep: ["Keep", "残す"],
  idle: ["Ready", "準備完了"],
  checking: ["Opening", "準備中"],
  recording: ["Recording", "録音中"],
  paused: ["Paused", "一時停止中"],
  offline: ["Recording, offline", "録音中（未接続）"],
  finishing: ["Sending the rest", "残りを送信中"],
  finished: ["Finished", "完了"],
  failed: ["Stopped", "停止しました"],
  idleHint: ["Press Record and talk.", "「録音」を押して話してください。"],
  checkingHint: ["Waiting for the microphone. If the browser asks, allow it.", "マイクを待っています。ブラウザーが確認したら、許可してください。"],
  recordingHint: ["It reaches the server as you speak.", "話すそばからサーバーに届いています。"],
  notYet: ["{time} not yet safe", "{time}が未保存"],
  notYetHint: ["{time} not yet safe on the server; kept here until then.", "{time}がサーバーに未保存です。それまでここに保管します。"],
  pausedHint: ["Nothing is recorded now.", "今は録音していません。"],
  offlineHint: ["{time} kept here; it will be sent when the server is back.", "{time}をここに保管中。サーバーにつながり次第、送信します。"],
  finishingHint: ["{time} still to send. Please leave this page open.", "残り{time}を送信中。このページを閉じないでください。"],
  finishedHint: ["{time}, complete and safe on the server.", "{time}がすべてサーバーに保存されました。"],
  captured: ["Captured", "録音した音"],
  kept: ["Kept here", "ここに保管"],
  safe: ["Safe on the server", "サーバーに保存済み"],
  elapsed: ["Recorded time", "録音時間"],
  level: ["Level", "音量"],
  waveform: ["Waveform", "波形"],
  seconds: ["{s} s", "{s}秒"],
  minutes: ["{m}:{ss} min", "{m}分{ss}秒"],
  hours: ["{h}:{mm}:{ss} h", "{h}時間{mm}分{ss}秒"],
  gapsCount: ["{n}, {time} lost", "{n}か所、計{time}"],
  marks: ["Marks", "マーク"],
  clipped: ["Too loud, samples clipped", "音割れしたサンプル"],
  markKey: ["Key M sets a mark", "Mキーでマーク"],
  title: ["Title", "タイトル"],
  device: ["Microphone", "マイク"],
  deviceDefault: ["The system’s microphone", "システムのマイク"],
  deviceAway: ["{label} (not connected)", "{label}（未接続）"],
  channels: ["Channels", "チャンネル"],
  channels1: ["1, mono", "1（モノラル）"],
  channels2: ["2, stereo", "2（ステレオ）"],
  quality: ["Quality", "音質"],
  pcm_f32le: ["32-bit float, exact", "32ビット浮動小数（無加工）"],
  pcm_s24le: ["24-bit", "24ビット"],
  pcm_s16le: ["16-bit", "16ビット"],
  before: ["Before you record", "録音の前に"],
  "is:insecure-origin": ["Secure address", "安全なアドレス"],
  "is:unsupported": ["Browser", "ブラウザー"],
  "is:policy": ["Allowed here", "ページの許可"],
  "is:denied": ["Your permission", "あなたの許可"],
  "is:no-device": ["Microphone", "マイク"],
  "is:no-storage": ["Place to keep sound", "音声の保管場所"],
  test: ["Test for 2 seconds", "2秒間テストする"],
  testing: ["Say something…", "何か話してください…"],
  playing: ["Playing it back…", "再生しています…"],
  testGood: ["Loudest: {db} dB. Did you hear yourself?", "最大 {db} dB。声は聞こえましたか？"],
  testLoud: ["Too loud: it clips. Lower the input level.", "音が割れています。入力音量を下げてください。"],
  testSilent: ["Hardly any sound. Is it the right microphone?", "ほとんど聞こえません。正しいマイクですか？"],
  receipt: ["Receipt", "受領書"],
  matches: [
    "Verified: the file on the server is, sample for sample, what was recorded here.",
    "照合済み：サーバーのファイルは、ここで録音した音と1サンプルも違いません。",
  ],
  matchesNot: [
    "The file on the server is not what was recorded here. Don’t rely on it.",
    "サーバーのファイルは、ここで録音した音と違います。信頼しないでください。",
  ],
  matchesUnknown: ["Complete on the server. This page has no checksum to compare it with.", "サーバーに保存されました。照合できるチェックサムがありません。"],
  frames: ["{n} frames", "{n}フレーム"],
  format: ["Format", "形式"],
  sound: ["Sound", "音声処理"],
  gaps: ["Gaps", "欠落"],
  digest: ["Checksum", "チェックサム"],
  copyDigest: ["Copy", "コピー"],
  download: ["Download WAV", "WAVをダウンロード"],
  unverifiable: [
    "Capture not verifiable: this browser doesn’t tell whether it lost sound before the page got it.",
    "取り込みは検証できません：ページに届く前に失われた音があっても、このブラウザーは知らせません。",
  ],
  mismatch: ["The browser alters the sound though asked not to: {list}.", "指定に反して、ブラウザーが音を加工しています：{list}。"],
  echoCancellation: ["echo cancellation", "エコー除去"],
  noiseSuppression: ["noise suppression", "ノイズ抑制"],
  autoGainControl: ["gain control", "自動音量調整"],
  on: ["on", "オン"],
  off: ["off", "オフ"],
  gap: ["{time} lost: {cause}", "{time}の欠落：{cause}"],
  "by:capture": ["the browser dropped it", "ブラウザーの取りこぼし"],
  "by:overflow": ["no room to keep it", "保管場所の不足"],
  "by:suspended": ["computer or page was asleep", "パソコンかページの休止"],
  "by:device": ["the microphone was away", "マイクの切断"],
  results: ["Results", "解析結果"],
  earlier: ["Kept in this browser", "このブラウザーに保管中"],
  waiting: ["{time} kept here, waiting for the server", "{time}を保管中（サーバー待ち）"],
  uploading: ["Sending: {time} to go", "送信中：残り{time}"],
  elsewhere: ["Open in another tab", "別のタブで使用中"],
  foreign: ["Somebody else’s: sent once they sign in here again", "ほかの人の録音：本人がサインインすると送信します"],
  refused: ["The server doesn’t take it.", "サーバーが受け付けません。"],
  copy: ["Save a copy to this computer", "このパソコンにコピーを保存"],
  forget: ["Forget", "消去"],
  forgetAsk: ["Delete what is kept here?", "ここに保管した音を削除しますか？"],
  foreignAsk: ["Delete what somebody else recorded? They can’t get it back.", "ほかの人の録音を削除しますか？元に戻せません。"],
  unknown: [
    "Something unexpected: {message}\nTry again, or reload the page.",
    "予期しない問題：{message}\nもう一度試すか、ページを再読み込みしてください。",
  ],
  "insecure-origin": [
    "Browsers give the microphone only to https pages and to pages of this very computer.\nOpen this page by https, or run ssh -L 8000:127.0.0.1:{port} {host} and open http://127.0.0.1:8000.",
    "マイクを使えるのは、httpsのページか、このパソコン自身のページだけです。\nこのページをhttpsで開くか、ssh -L 8000:127.0.0.1:{port} {host} を実行して、http://127.0.0.1:8000 を開いてください。",
  ],
  iframe: [
    "The page around this one keeps the microphone from it.\nIts author has to write allow=\"microphone\" on the iframe. Or open this page in a tab of its own.",
    "このページを囲むページが、マイクを許可していません。\n作成者がiframeに allow=\"microphone\" を付けるか、このページを別のタブで開いてください。",
  ],
  policy: [
    "This site’s own rules forbid the microphone.\nWhoever runs it has to send the header Permissions-Policy: microphone=(self).",
    "このサイトはマイクを許可していません。\n管理者がヘッダー Permissions-Policy: microphone=(self) を送る必要があります。",
  ],
  denied: [
    "The microphone is not allowed on this page.\nAllow it at the symbol beside the address, then press Record again.",
    "このページではマイクが許可されていません。\nアドレスの横のアイコンから許可し、もう一度「録音」を押してください。",
  ],
  "denied-system": [
    "The operating system keeps the microphone from this browser.\nAllow it in the system’s settings, under Privacy and Microphone, and restart the browser.",
    "OSがこのブラウザーにマイクを許可していません。\nシステム設定の「プライバシー」→「マイク」で許可し、ブラウザーを再起動してください。",
  ],
  "no-device": [
    "There is no microphone.\nPlug one in or switch it on, then press Record again.",
    "マイクが見つかりません。\nマイクをつなぐか電源を入れて、もう一度「録音」を押してください。",
  ],
  "device-busy": [
    "The microphone can’t be opened: another program may be using it.\nClose that program, or plug the microphone in again.",
    "マイクを開けません。ほかのアプリが使用中かもしれません。\nそのアプリを閉じるか、マイクをつなぎ直してください。",
  ],
  "device-gone": [
    "The microphone went away.\nPlug it in again or choose another: the recording goes on as its next part.",
    "マイクが外れました。\nつなぎ直すか、別のマイクを選んでください。録音は次のパートとして続きます。",
  ],
  "device-changed": [
    "The system’s microphones have changed: the next part has begun.\nIs it the right microphone?",
    "システムのマイクが変わり、次のパートを録音しています。\n正しいマイクですか？",
  ],
  "no-storage": [
    "This browser keeps sound in memory only.\nLeave this page open until all is safe. A window that is not private usually helps.",
    "このブラウザーでは、音声をメモリーだけに保管します。\nすべて保存されるまで、このページを閉じないでください。プライベートでないウィンドウをお勧めします。",
  ],
  "local-storage-full": [
    "This browser has no room left for this site, or can’t write there: what is said now is kept in memory only, and sent to the server.\nLeave this page open until all is safe, and don’t refresh it.",
    "このサイト用の保管場所がいっぱいか、書き込めません。今の音声はメモリーだけに保管し、サーバーに送信します。\nすべて保存されるまで、このページを閉じたり再読み込みしたりしないでください。",
  ],
  "local-storage-failed": [
    "Sound can’t be kept on this computer; its disk may be full.\nFree some space and begin a new recording.",
    "このパソコンに音声を保管できません。ディスクがいっぱいかもしれません。\n空きを作ってから、もう一度録音してください。",
  ],
  unsupported: [
    "This browser can’t record here.\nUse a current Chrome, Edge, Firefox or Safari.",
    "このブラウザーでは録音できません。\n最新のChrome、Edge、Firefox、Safariをお使いください。",
  ],
  muted: [
    "The microphone is muted: it gives no sound.\nUnmute it at its switch or in the system’s settings: the recording then goes on.",
    "マイクがミュートされていて、音が来ません。\nマイクのスイッチかシステム設定で解除すると、録音が続きます。",
  ],
  "bad-message": [
    "Page and server don’t understand each other.\nReload the page; what is kept here is sent again.",
    "ページとサーバーの通信がかみ合っていません。\nページを再読み込みすると、ここに保管した分を送り直します。",
  ],
  forbidden: [
    "The server doesn’t let you record.\nSign in again: what is kept here is then sent.",
    "サーバーが録音を許可していません。\nもう一度サインインすると、ここに保管した分を送信します。",
  ],
  deleted: [
    "This recording was deleted on the server.\nIf you still need it, save a copy of what is kept here.",
    "この録音はサーバーで削除されました。\n必要なら、ここに残っている分のコピーを保存してください。",
  ],
  "taken-over": [
    "Another tab has taken over this recording.\nGo on there, or close it and reload this page.",
    "別のタブがこの録音を引き継ぎました。\nそのタブで続けるか、閉じてからこのページを再読み込みしてください。",
  ],
  diverged: [
    "What the server has is not what is kept here.\nSave a copy to this computer and tell whoever runs the server.",
    "サーバーの内容が、ここに保管した内容と違います。\nこのパソコンにコピーを保存し、管理者にお知らせください。",
  ],
  "unsupported-format": [
    "The server doesn’t take this rate, quality or number of channels.\nChoose 16-bit or fewer channels.",
    "サーバーがこの形式に対応していません。\n16ビットにするか、チャンネルを減らしてください。",
  ],
  quota: [
    "The server’s limit for recordings is reached.\nWait, or ask whoever runs it for more room.",
    "サーバーの録音の上限に達しました。\nしばらく待つか、管理者にお知らせください。",
  ],
  "storage-full": [
    "The server’s disk is full or has failed.\nTell whoever runs it; what is kept here is sent once it works again.",
    "サーバーのディスクがいっぱいか、故障しています。\n管理者にお知らせください。直り次第、ここに保管した分を送信します。",
  ],
  "server-unreachable": [
    "The server can’t be reached.\nCheck your network; it is tried again by itself.",
    "サーバーに接続できません。\nネットワークを確認してください。自動的に再試行します。",
  ],
};

/** @param {number} column @returns {Record<string, string>} */
const table = (column) => Object.fromEntries(Object.entries(TEXTS).map(([key, texts]) => [key, texts[column]]));

export const words = { en: table(0), ja: table(1) };

/** Codes that say the same to a person. @type {Record<string, string>} */
const SAME = {
  "gap-undeclared": "bad-message", "too-large": "bad-message", "digest-mismatch": "diverged", unauthenticated: "forbidden", "storage-failed": "storage-full", "is:iframe": "is:policy",
};

/** One language's way to speak. */
export class Speaker {
  #table;
  #hundredths; // making one takes longer than all else that is shown
  /**
   * @param {string} tag A language; English where there is no table.
   * @param {Record<"en" | "ja", Record<string, string>>} [tables]
   */
  constructor(tag, tables = words) {
    this.lang = /** @type {keyof typeof tables} */ (/^ja/i.test(tag) ? "ja" : "en");
    this.#table = tables[this.lang];
    this.#hundredths = new Intl.NumberFormat(this.lang, { maximumFractionDigits: 2 });
  }

  /** Whether a code has a cause and a cure here. @param {string} code */
  has = (code) => /\n/.test(this.#table[SAME[code] ?? code]);

  /** @param {string} key @param {Record<string, string | number>} [values] */
  say = (key, values = {}) => (this.#table[SAME[key] ?? key] ?? key).replace(/\{(\w+)\}/g, (_, name) => `${values[name]}`);

  /** @param {number} value Shown to hundredths. */
  number = (value) => this.#hundredths.format(value || 0).replace("-", "−"); // -0 is 0

  /** A length in whole seconds, rounded down. @param {number} seconds */
  time = (seconds) => {
    const [h, m, s] = units(seconds);
    return this.say(h > 0 ? "hours" : m > 0 ? "minutes" : "seconds", { h, m, s, mm: padded(m), ss: padded(s) });
  };

  /** The length of lost sound, rounded up to hundredths. @param {number} seconds */
  lost = (seconds) => seconds < 10 ? this.say("seconds", { s: (Math.ceil(seconds * 100 - 1e-6) / 100).toFixed(2) }) : this.time(Math.ceil(seconds));

  /** @param {string} time RFC 3339 */
  date = (time) => new Date(time).toLocaleString(this.lang, { dateStyle: "medium", timeStyle: "short" });
}

/** @param {number} seconds @returns hours, minutes and whole seconds; 2.9999999, of frames by a rate, is 3 */
function units(seconds) {
  const whole = Math.floor(seconds + 1e-6);
  return [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
}

/** @param {number} value */
const padded = (value) => `${value}`.padStart(2, "0");

/** A place in the take, or how far it has come, rounded down. @param {number} seconds @param {number} [digits] 1: to tenths. */
export function clock(seconds, digits = 1) {
  const [h, m, s] = units(seconds), tenths = digits && `.${Math.floor((seconds + 1e-6) * 10) % 10}`;
  return `${h > 0 ? `${h}:${padded(m)}` : m}:${padded(s)}${tenths || ""}`;
}
