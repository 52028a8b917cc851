/**
 * All that <micwire-recorder> says, in each of its languages: tables with the same keys.
 *
 * `{name}` is a place for a value. Trouble is told by its code: the cause and, on a line of its
 * own, the cure; what is safe is said beside it. What is safe is rounded down, what isn't up.
 */

/** @type {Record<string, Record<string, string>>} */
export const words = {
  en: {
    other: "日本語",
    record: "Record",
    stop: "Stop",
    pause: "Pause",
    resume: "Resume",
    mark: "Mark",
    discard: "Discard",
    cancel: "Cancel",
    discardAsk: "Delete all {time}, here and on the server?",
    delete: "Delete",
    keep: "Keep",
    idle: "Ready",
    checking: "Opening",
    recording: "Recording",
    paused: "Paused",
    offline: "Recording, offline",
    finishing: "Sending the rest",
    finished: "Finished",
    failed: "Stopped",
    idleHint: "Press Record and talk.",
    checkingHint: "Waiting for the microphone. If the browser asks, allow it.",
    recordingHint: "It reaches the server as you speak.",
    notYet: "{time} not yet safe",
    notYetHint: "{time} not yet safe on the server; kept here until then.",
    pausedHint: "Nothing is recorded now.",
    offlineHint: "{time} kept here; it will be sent when the server is back.",
    finishingHint: "{time} still to send. Please leave this page open.",
    finishedHint: "{time}, complete and safe on the server.",
    captured: "Captured",
    kept: "Kept here",
    safe: "Safe on the server",
    elapsed: "Recorded time",
    level: "Level",
    waveform: "Waveform",
    seconds: "{s} s",
    minutes: "{m}:{ss} min",
    hours: "{h}:{mm}:{ss} h",
    gapsCount: "{n}, {time} lost",
    marks: "Marks",
    clipped: "Too loud, samples clipped",
    markKey: "Key M sets a mark",
    title: "Title",
    device: "Microphone",
    deviceDefault: "The system’s microphone",
    deviceAway: "{label} (not connected)",
    channels: "Channels",
    channels1: "1, mono",
    channels2: "2, stereo",
    quality: "Quality",
    pcm_f32le: "32-bit float, exact",
    pcm_s24le: "24-bit",
    pcm_s16le: "16-bit",
    before: "Before you record",
    "is:insecure-origin": "Secure address",
    "is:unsupported": "Browser",
    "is:policy": "Allowed here",
    "is:denied": "Your permission",
    "is:no-device": "Microphone",
    "is:no-storage": "Place to keep sound",
    test: "Test for 2 seconds",
    testing: "Say something…",
    playing: "Playing it back…",
    testGood: "Loudest: {db} dB. Did you hear yourself?",
    testLoud: "Too loud: it clips. Lower the input level.",
    testSilent: "Hardly any sound. Is it the right microphone?",
    receipt: "Receipt",
    matches: "Verified: the file on the server is, sample for sample, what was recorded here.",
    matchesNot: "The file on the server is not what was recorded here. Don’t rely on it.",
    matchesUnknown: "Complete on the server. This page has no checksum to compare it with.",
    frames: "{n} frames",
    length: "Length",
    format: "Format",
    sound: "Sound",
    gaps: "Gaps",
    digest: "Checksum",
    copyDigest: "Copy",
    download: "Download WAV",
    unverifiable: "Capture not verifiable: this browser doesn’t tell whether it lost sound before the page got it.",
    mismatch: "The browser alters the sound though asked not to: {list}.",
    echoCancellation: "echo cancellation",
    noiseSuppression: "noise suppression",
    autoGainControl: "gain control",
    on: "on",
    off: "off",
    gap: "{time} lost: {cause}",
    "by:capture": "the browser dropped it",
    "by:overflow": "no room to keep it",
    "by:suspended": "computer or page was asleep",
    "by:device": "the microphone was away",
    results: "Results",
    earlier: "Earlier recordings",
    waiting: "{time} kept here, waiting for the server",
    uploading: "Sending: {time} to go",
    elsewhere: "Open in another tab",
    refused: "The server doesn’t take it.",
    done: "Complete on the server",
    copy: "Save a copy to this computer",
    forget: "Forget",
    forgetAsk: "Delete what is kept here?",
    unknown: "Something unexpected happened: {message}\nTry again, or reload the page.",
    "insecure-origin": "Browsers give the microphone only to https pages and to pages of this very computer.\nOpen this page by https, or bring the server’s port to your computer (ssh -L 8000:127.0.0.1:{port} {host}) and open http://127.0.0.1:8000.",
    iframe: "The page around this one keeps the microphone from it.\nIts author has to write allow=\"microphone\" on the iframe. Or open this page in a tab of its own.",
    policy: "This site’s own rules forbid the microphone.\nWhoever runs it has to send the header Permissions-Policy: microphone=(self).",
    denied: "The microphone is not allowed on this page.\nAllow it at the symbol beside the address, then press Record again.",
    "denied-system": "The operating system keeps the microphone from this browser.\nAllow it in the system’s settings, under Privacy and Microphone, and restart the browser.",
    "no-device": "There is no microphone.\nPlug one in or switch it on, then press Record again.",
    "device-busy": "The microphone can’t be opened: another program may be using it.\nClose programs that record or call, or plug it in anew.",
    "device-gone": "The microphone went away.\nPlug it in again or choose another: the recording goes on as its next part.",
    "device-changed": "The system switched to another microphone.\nIs it the right one? The recording goes on as its next part.",
    "no-storage": "This browser gives no place to keep sound.\nLeave this tab open until all is safe. A window that is not private usually helps.",
    "local-storage-failed": "Sound can’t be kept on this computer; its disk may be full.\nFree some space and begin a new recording.",
    unsupported: "This browser can’t record here.\nUse a current Chrome, Edge, Firefox or Safari.",
    muted: "The microphone is muted: it gives no sound.\nUnmute it at its switch or in the system’s settings; the recording then goes on by itself.",
    "bad-message": "Page and server don’t understand each other.\nReload the page; what is kept here is sent again.",
    forbidden: "The server doesn’t let you record.\nSign in again: what is kept here is then sent.",
    deleted: "This recording was deleted on the server.\nIf you still need it, save a copy of what is kept here.",
    "taken-over": "Another tab has taken over this recording.\nGo on there, or close it and reload this page.",
    diverged: "What the server has is not what is kept here.\nSave a copy to this computer and tell whoever runs the server.",
    "unsupported-format": "The server doesn’t take this rate, quality or number of channels.\nChoose 16-bit or fewer channels.",
    quota: "The server’s limit for recordings is reached.\nWait, or ask whoever runs it for more room.",
    "storage-full": "The server’s disk is full or has failed.\nTell whoever runs it; what is kept here is sent once it works again.",
    "server-unreachable": "The server can’t be reached.\nCheck your network; it is tried again by itself.",
  },
  ja: {
    other: "English",
    record: "録音",
    stop: "終了",
    pause: "一時停止",
    resume: "再開",
    mark: "マーク",
    discard: "破棄",
    cancel: "キャンセル",
    discardAsk: "{time}の録音を、サーバーからも削除しますか？",
    delete: "削除",
    keep: "残す",
    idle: "準備完了",
    checking: "準備中",
    recording: "録音中",
    paused: "一時停止中",
    offline: "録音中（未接続）",
    finishing: "残りを送信中",
    finished: "完了",
    failed: "停止しました",
    idleHint: "「録音」を押して話してください。",
    checkingHint: "マイクを待っています。確認には「許可」を選んでください。",
    recordingHint: "話すそばからサーバーに届いています。",
    notYet: "{time}が未保存",
    notYetHint: "{time}がサーバーに未保存です。それまでここに保管します。",
    pausedHint: "今は録音していません。",
    offlineHint: "{time}をここに保管中。サーバーにつながり次第、送信します。",
    finishingHint: "残り{time}を送信中。このページを閉じないでください。",
    finishedHint: "{time}がすべてサーバーに保存されました。",
    captured: "録音した音",
    kept: "ここに保管",
    safe: "サーバーに保存済み",
    elapsed: "録音時間",
    level: "音量",
    waveform: "波形",
    seconds: "{s}秒",
    minutes: "{m}分{ss}秒",
    hours: "{h}時間{mm}分{ss}秒",
    gapsCount: "{n}か所、計{time}",
    marks: "マーク",
    clipped: "音割れしたサンプル",
    markKey: "Mキーでマーク",
    title: "タイトル",
    device: "マイク",
    deviceDefault: "システムのマイク",
    deviceAway: "{label}（未接続）",
    channels: "チャンネル",
    channels1: "1（モノラル）",
    channels2: "2（ステレオ）",
    quality: "音質",
    pcm_f32le: "32ビット浮動小数点（無加工）",
    pcm_s24le: "24ビット",
    pcm_s16le: "16ビット",
    before: "録音の前に",
    "is:insecure-origin": "安全なアドレス",
    "is:unsupported": "ブラウザー",
    "is:policy": "ページの許可",
    "is:denied": "あなたの許可",
    "is:no-device": "マイク",
    "is:no-storage": "音声の保管場所",
    test: "2秒間テストする",
    testing: "何か話してください…",
    playing: "再生しています…",
    testGood: "最大 {db} dB。声は聞こえましたか？",
    testLoud: "音が割れています。入力音量を下げてください。",
    testSilent: "ほとんど聞こえません。正しいマイクですか？",
    receipt: "受領書",
    matches: "照合済み：サーバーのファイルは、ここで録音した音と1サンプルも違いません。",
    matchesNot: "サーバーのファイルは、ここで録音した音と違います。信頼しないでください。",
    matchesUnknown: "サーバーに保存されました。照合できるチェックサムがありません。",
    frames: "{n}フレーム",
    length: "長さ",
    format: "形式",
    sound: "音声処理",
    gaps: "欠落",
    digest: "チェックサム",
    copyDigest: "コピー",
    download: "WAVをダウンロード",
    unverifiable: "取り込みは検証できません：ページに届く前に音が失われたかどうかを、このブラウザーは知らせません。",
    mismatch: "指定に反して、ブラウザーが音を加工しています：{list}。",
    echoCancellation: "エコー除去",
    noiseSuppression: "ノイズ抑制",
    autoGainControl: "自動音量調整",
    on: "オン",
    off: "オフ",
    gap: "{time}の欠落：{cause}",
    "by:capture": "ブラウザーの取りこぼし",
    "by:overflow": "保管場所の不足",
    "by:suspended": "パソコンかページの休止",
    "by:device": "マイクの切断",
    results: "解析結果",
    earlier: "以前の録音",
    waiting: "{time}を保管中（サーバー待ち）",
    uploading: "送信中：残り{time}",
    elsewhere: "別のタブで使用中",
    refused: "サーバーが受け付けません。",
    done: "サーバーに保存済み",
    copy: "このパソコンにコピーを保存",
    forget: "消去",
    forgetAsk: "ここに保管した音を削除しますか？",
    unknown: "予期しない問題が起きました：{message}\nもう一度試すか、ページを再読み込みしてください。",
    "insecure-origin": "ブラウザーは、httpsのページか、このパソコン自身のページにしかマイクを使わせません。\nこのページをhttpsで開くか、サーバーのポートを手元につないで（ssh -L 8000:127.0.0.1:{port} {host}）http://127.0.0.1:8000 を開いてください。",
    iframe: "このページを囲むページが、マイクを許可していません。\n作成者がiframeに allow=\"microphone\" を付けるか、このページを別のタブで開いてください。",
    policy: "このサイトの設定がマイクを許可していません。\n管理者がヘッダー Permissions-Policy: microphone=(self) を送る必要があります。",
    denied: "このページではマイクが許可されていません。\nアドレスの横のアイコンから許可して、もう一度「録音」を押してください。",
    "denied-system": "OSがこのブラウザーにマイクを許可していません。\nシステム設定の「プライバシー」→「マイク」で許可し、ブラウザーを再起動してください。",
    "no-device": "マイクが見つかりません。\nマイクをつなぐか電源を入れて、もう一度「録音」を押してください。",
    "device-busy": "マイクを開けません。ほかのアプリが使っている可能性があります。\n録音や通話のアプリを閉じるか、マイクをつなぎ直してください。",
    "device-gone": "マイクが外れました。\nつなぎ直すか、別のマイクを選んでください。録音は次のパートとして続きます。",
    "device-changed": "システムが別のマイクに切り替えました。\n正しいマイクですか？ 録音は次のパートとして続きます。",
    "no-storage": "このブラウザーには音声を保管する場所がありません。\nすべて保存されるまでタブを閉じないでください。プライベートでないウィンドウをお勧めします。",
    "local-storage-failed": "このパソコンに音声を保管できません。ディスクがいっぱいかもしれません。\n空きを作ってから、新しく録音してください。",
    unsupported: "このブラウザーでは録音できません。\n最新のChrome、Edge、Firefox、Safariをお使いください。",
    muted: "マイクがミュートされていて、音が来ません。\n本体のスイッチかシステムの設定で解除すると、録音が自動的に続きます。",
    "bad-message": "ページとサーバーの通信がかみ合っていません。\nページを再読み込みすると、ここに保管した分を送り直します。",
    forbidden: "サーバーが録音を許可していません。\nもう一度サインインすると、ここに保管した分を送信します。",
    deleted: "この録音はサーバーで削除されました。\n必要なら、ここに残っている分のコピーを保存してください。",
    "taken-over": "別のタブがこの録音を引き継ぎました。\nそのタブで続けるか、閉じてからこのページを再読み込みしてください。",
    diverged: "サーバーの内容が、ここに保管した内容と違います。\nこのパソコンにコピーを保存して、管理者にお知らせください。",
    "unsupported-format": "サーバーがこの形式に対応していません。\n16ビットにするか、チャンネルを減らしてください。",
    quota: "サーバーの録音の上限に達しました。\nしばらく待つか、管理者にお知らせください。",
    "storage-full": "サーバーのディスクがいっぱいか、故障しています。\n管理者にお知らせください。直り次第、ここに保管した分を送信します。",
    "server-unreachable": "サーバーに接続できません。\nネットワークを確認してください。自動的に再試行します。",
  },
};

/** Codes that say the same to a person. @type {Record<string, string>} */
const SAME = {
  "gap-undeclared": "bad-message", "too-large": "bad-message", "digest-mismatch": "diverged", unauthenticated: "forbidden", "storage-failed": "storage-full", "is:iframe": "is:policy",
};

/** One language's way to speak. */
export class Speaker {
  #table;
  #counts;
  /** @param {string} tag A language; English where there is no table. */
  constructor(tag) {
    const lang = tag.slice(0, 2).toLowerCase();
    this.lang = Object.hasOwn(words, lang) ? lang : "en";
    this.#table = words[this.lang];
    this.#counts = new Intl.NumberFormat(this.lang, { maximumFractionDigits: 2 });
  }

  /** @param {string} key */
  has = (key) => Object.hasOwn(this.#table, SAME[key] ?? key);

  /** @param {string} key @param {Record<string, string | number>} [values] */
  say = (key, values = {}) => (this.#table[SAME[key] ?? key] ?? key).replace(/\{(\w+)\}/g, (_, name) => `${values[name]}`);

  /** @param {number} value Shown to hundredths. */
  number = (value) => this.#counts.format(value).replace("-", "−");

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

/** The clock of a place in the take, to tenths, rounded down. @param {number} seconds */
export function clock(seconds) {
  const [h, m, s] = units(seconds);
  return `${h > 0 ? `${h}:${padded(m)}` : m}:${padded(s)}.${Math.floor((seconds + 1e-6) * 10) % 10}`;
}
