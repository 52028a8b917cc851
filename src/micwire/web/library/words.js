/**
 * All that the library page says, in each of its languages; what it shares with the recorder
 * is in recorder/words.js. Trouble says what is so and what to do.
 */

import { Speaker as Recorder, words as recorder } from "../recorder/words.js";
import { Refusal } from "./api.js";

/** @satisfies {Record<string, [en: string, ja: string]>} */
const TEXTS = {
  library: ["Library", "ライブラリー"],
  count1: ["1 recording", "1件の録音"],
  count: ["{n} recordings", "{n}件の録音"],
  countMore: ["{n} recordings and more", "{n}件以上の録音"],
  soFar1: ["1 recording so far: the server is still looking through its folder.", "ここまで1件。サーバーがフォルダーを確認中です。"],
  soFar: ["{n} recordings so far: the server is still looking through its folder.", "ここまで{n}件。サーバーがフォルダーを確認中です。"],
  search: ["Search titles, notes and tags", "タイトル・メモ・タグを検索"],
  status: ["Status", "状態"],
  sort: ["Order", "並び順"],
  anyStatus: ["All", "すべて"],
  "status:recording": ["Not finished", "未完了"],
  "status:finished": ["Finished", "完了"],
  "status:interrupted": ["Interrupted", "中断"],
  "-started_at": ["Newest first", "新しい順"],
  started_at: ["Oldest first", "古い順"],
  "-duration": ["Longest first", "長い順"],
  duration: ["Shortest first", "短い順"],
  byTitle: ["By title", "タイトル順"],
  tags: ["Tags", "タグ"],
  onlyTag: ["Only with the tag {tag}", "タグ「{tag}」だけ表示"],
  untitled: ["Untitled", "無題"],
  live: ["Live", "録音中"],
  waiting: ["Not finished", "未完了"],
  interrupted: ["Interrupted", "中断"],
  gaps1: ["1 gap", "欠落1か所"],
  gapsN: ["{n} gaps", "欠落{n}か所"],
  by: ["by {owner}", "{owner}さん"],
  select: ["Select {title}", "{title}を選択"],
  loading: ["Loading…", "読み込み中…"],
  emptyTitle: ["No recordings yet", "録音はまだありません"],
  emptyText: ["What you record appears here, while you still speak.", "録音すると、話しているそばからここに現れます。"],
  emptyLink: ["Record something", "録音する"],
  nothingTitle: ["Nothing found", "見つかりません"],
  nothingText: ["No recording fits this search and these filters.", "この検索と絞り込みに合う録音はありません。"],
  clearFilters: ["Show all", "すべて表示"],
  again: ["Try again", "もう一度試す"],
  signIn: ["Sign in", "サインイン"],
  signedOutTitle: ["You are signed out", "サインインしていません"],
  signedOutText: ["Sign in to see your recordings.", "録音を見るには、サインインしてください。"],
  failedTitle: ["The list can’t be shown", "一覧を表示できません"],
  selected1: ["1 selected", "1件を選択中"],
  selectedN: ["{n} selected", "{n}件を選択中"],
  export: ["Export as ZIP", "ZIPで書き出す"],
  exportMost: ["At most {n} recordings go into one ZIP: select fewer.", "ZIPに入るのは{n}件までです。選択を減らしてください。"],
  exportStarted: ["The download of {n} recordings has begun.", "{n}件のダウンロードを始めました。"],
  clear: ["Clear selection", "選択を解除"],
  deleted1: ["“{title}” is deleted.", "「{title}」を削除しました。"],
  deletedN: ["{n} recordings are deleted.", "{n}件を削除しました。"],
  undo: ["Undo", "元に戻す"],
  undone: ["Nothing was deleted.", "削除を取り消しました。"],
  deleteFailed1: ["“{title}” is still there.", "「{title}」は削除されていません。"],
  deleteFailedN: ["{n} recordings are still there.", "{n}件は削除されていません。"],
  dismiss: ["Close", "閉じる"],
  listHelp: [
    "Arrow keys move, Enter opens, Space selects, with Shift all up to here, F2 renames, Delete deletes.",
    "矢印キーで移動、Enterで開く、スペースで選択、Shiftでまとめて選択、F2で名前の変更、Deleteで削除。",
  ],
  rename: ["Rename", "名前を変更"],
  renameThis: ["Rename {title}", "{title}の名前を変更"],

  back: ["Library", "ライブラリー"],
  play: ["Play", "再生"],
  pausePlay: ["Pause", "一時停止"],
  back10: ["10 s back", "10秒戻る"],
  forward10: ["10 s forward", "10秒進む"],
  speed: ["Speed", "速度"],
  zoomIn: ["Zoom in", "拡大"],
  zoomOut: ["Zoom out", "縮小"],
  fit: ["Show all", "全体を表示"],
  overview: ["Overview", "全体"],
  position: ["Position", "再生位置"],
  positionOf: ["{at} of {end}", "{end}中{at}"],
  addMark: ["Add mark", "マークを付ける"],
  markLabel: ["Label of the next mark", "次のマークの名前"],
  markN: ["Mark {n}", "マーク {n}"],
  removeMark: ["Remove the mark {label}", "マーク「{label}」を削除"],
  jumpTo: ["Jump to {label}, {at}", "{label}（{at}）へ移動"],
  noMarks: ["No marks. Key M sets one where you listen.", "マークはありません。Mキーで再生位置に付けられます。"],
  noGaps: ["No gaps.", "欠落はありません。"],
  "by:file-lost": ["the file was damaged", "ファイルの破損"],
  notes: ["Notes", "メモ"],
  addTag: ["Add a tag", "タグを追加"],
  removeTag: ["Remove the tag {tag}", "タグ「{tag}」を外す"],
  saving: ["Saving…", "保存中…"],
  saved: ["Saved", "保存しました"],
  unsaved: ["Not saved yet", "未保存"],
  notSaved: ["Not saved. What you typed is still here.", "保存できませんでした。入力はここに残っています。"],
  conflict: [
    "Not saved: somebody changed it meanwhile, to “{theirs}”.",
    "保存していません。ほかの人が先に「{theirs}」へ変更しました。",
  ],
  keepMine: ["Keep mine", "自分の内容にする"],
  takeTheirs: ["Take theirs", "相手の内容にする"],
  downloadAs: ["Download", "ダウンロード"],
  "as:wav": ["WAV", "WAV"],
  "as:plain": ["WAV, plain header", "WAV（単純なヘッダー）"],
  "as:flac": ["FLAC, smaller, same sound", "FLAC（同じ音で小さい）"],
  "as:opus": ["Opus, small", "Opus（小さい）"],
  "as:mp3": ["MP3", "MP3"],
  facts: ["Facts", "詳細"],
  started: ["Recorded", "録音日時"],
  length: ["Length", "長さ"],
  device: ["Microphone", "マイク"],
  owner: ["Owner", "所有者"],
  part: ["Part", "パート"],
  partOf: ["{part} of take {take}", "テイク{take}の{part}"],
  capture: ["Capture", "取り込み"],
  verifiable: ["verifiable: no frame was lost unseen", "検証可能：知られずに失われた音はありません"],
  notVerifiable: ["not verifiable: sound may have been lost before the page got it", "検証不可：ページに届く前に失われた音があるかもしれません"],
  held: ["Held: it can’t be deleted", "保全中：削除できません"],
  hold: ["Hold", "保全"],
  consent: ["Consent", "同意"],
  consentOf: ["version {version}, {at}", "版{version}、{at}"],
  growing: ["Still being recorded: you hear what is safe on the server so far.", "録音中です。サーバーに保存された分まで再生できます。"],
  deleteThis: ["Delete recording", "録音を削除"],
  keys: ["Keys", "キー操作"],
  "key:play": ["Space or K", "スペース、K"],
  "key:seek": ["← →, J L", "← →、J L"],
  "does:seek": ["5 s, 10 s back and forward", "5秒、10秒の移動"],
  "key:ends": ["Home End", "Home End"],
  "does:ends": ["beginning, end", "最初、最後"],
  "key:marks": ["[ ]", "[ ]"],
  "does:marks": ["mark or gap before, behind", "前後のマークや欠落"],
  "key:zoom": ["+ − 0", "+ − 0"],
  "does:zoom": ["zoom, show all", "拡大、縮小、全体"],
  "key:speed": ["< >", "< >"],
  "key:mark": ["M", "M"],
  "key:back": ["Esc", "Esc"],
  "does:back": ["back to the library", "ライブラリーに戻る"],

  "no:server-unreachable": ["The server can’t be reached. Check your network, then try again.", "サーバーに接続できません。ネットワークを確認し、もう一度試してください。"],
  "no:401": ["You are signed out. Sign in again, in another tab if something here is not saved yet.", "サインアウトしています。もう一度サインインしてください。未保存の内容があるときは、別のタブで。"],
  "no:403": ["You may not do this. Ask whoever runs the server.", "この操作は許可されていません。管理者にお問い合わせください。"],
  "no:404": ["There is no such recording: it was deleted, or belongs to somebody else.", "この録音はありません。削除されたか、ほかの人のものです。"],
  "no:409": ["It is held and can’t be deleted until whoever runs the server lets it go.", "保全されているため、管理者が解除するまで削除できません。"],
  "no:too-many-marks": ["Nobody can add more marks to this recording. Remove some first.", "この録音にはこれ以上マークを付けられません。先にいくつか削除してください。"],
  "no:bad-mark": ["That place is not on the server yet. Wait a moment, then try again.", "その位置はまだサーバーにありません。少し待って、もう一度試してください。"],
  "no:413": ["That is too long. Shorten it, then try again.", "長すぎます。短くして、もう一度試してください。"],
  "no:422": ["The server doesn’t take this: {detail} Change it, then try again.", "サーバーが受け付けません：{detail} 直して、もう一度試してください。"],
  "no:429": ["That was too much at once. Wait a moment, then try again.", "要求が多すぎます。少し待って、もう一度試してください。"],
  "no:501": ["This server can’t make that format: {detail}", "このサーバーではその形式を作れません：{detail}"],
  "no:503": ["The library is not ready yet. Wait a moment, then try again.", "ライブラリーの準備ができていません。少し待って、もう一度試してください。"],
  "no:507": ["The server’s disk is full. Tell whoever runs it, then try again.", "サーバーのディスクがいっぱいです。管理者に知らせて、もう一度試してください。"],
  "no:other": ["Something went wrong on the server. Try again; if it stays, tell whoever runs it.", "サーバーで問題が起きました。もう一度試し、続くときは管理者にお知らせください。"],
  "no:play": ["This browser can’t play it. Download it and open it with another program.", "このブラウザーでは再生できません。ダウンロードして、別のアプリで開いてください。"],
};

/** @param {number} column @param {Record<string, string>} shared @returns {Record<string, string>} */
const table = (column, shared) => ({ ...shared, ...Object.fromEntries(Object.entries(TEXTS).map(([key, texts]) => [key, texts[column]])) });

export const words = { en: table(0, recorder.en), ja: table(1, recorder.ja) };

/** One language's way to speak. */
export class Speaker extends Recorder {
  #dates;
  /** @param {string} tag */
  constructor(tag) {
    super(tag, words);
    this.#dates = new Intl.DateTimeFormat(this.lang, { dateStyle: "medium", timeStyle: "short" }); // making one takes longer than a row
  }

  /** @param {string} time RFC 3339 */
  date = (time) => this.#dates.format(new Date(time));

  /** What is wrong and what to do. @param {unknown} error */
  trouble = (error) => {
    const { status = -1, code = "", detail = "" } = error instanceof Refusal ? error : {};
    const key = [`no:${code}`, `no:${status}`, status >= 400 && status < 500 ? "no:422" : "no:other"].find((each) => each in words.en) ?? "";
    return this.say(key, { detail: detail && !/[.。]$/.test(detail) ? `${detail}.` : detail });
  };

  /** @param {string} one @param {string} many @param {number} n */
  plural = (one, many, n) => this.say(n === 1 ? one : many, { n: this.number(n) });

  /** @param {{title: string | null}} recording */
  title = ({ title }) => title || this.say("untitled");
}
