/** How <micwire-recorder> looks. Colours follow the page's color-scheme; sizes follow the element's own width. */

export const sheet = new CSSStyleSheet();
sheet.replaceSync(`
:host { display: block; container-type: inline-size; font-size: 1rem; line-height: 1.5;
  --paper: light-dark(#fff, #1f2023); --ink: light-dark(#22211f, #ecebe8); --quiet: light-dark(#635f59, #a9a59e);
  --line: light-dark(#dedad3, #3c3d41); --lane: light-dark(#f4f2ee, #292a2e); --pale: light-dark(#b9b3a9, #66676c);
  --red: light-dark(#b8222f, #ff8289); --button: light-dark(#c42b38, #cf3a46); --safe: light-dark(#1c7048, #58c48c);
  --amber: light-dark(#965900, #e6a93c); --focus: light-dark(#1a5cb0, #8cbcf5); }
[hidden], :is([data-testid=problem], [data-testid=warning], [data-testid=results], [data-testid=verdict]):empty { display: none !important; }
* { box-sizing: border-box; margin: 0; padding: 0; }
ul { list-style: none; }
.app { display: flex; flex-direction: column; gap: 1rem; color: var(--ink); accent-color: var(--safe);
  font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.app:lang(ja) { word-break: auto-phrase; }
.main, .aside { display: contents; }
section { background: var(--paper); border: 1px solid var(--line); border-radius: 1rem; padding: 1rem; }
h2, h3 { font-size: .875rem; font-weight: 600; }
button, input, select { font: inherit; color: inherit; min-height: 2.75rem; border-radius: .625rem; }
button { cursor: pointer; border: 0; background: none; }
:focus-visible { outline: 3px solid var(--focus); outline-offset: 2px; }
button:disabled, [aria-disabled=true] { cursor: default; }

.stage { display: grid; gap: .75rem; }
header { display: flex; justify-content: space-between; align-items: center; gap: .5rem; min-height: 2.75rem; }
[data-testid=state] { display: flex; align-items: center; gap: .5rem; font-weight: 600; }
[data-testid=state]::before { content: ""; flex: none; width: .875rem; height: .875rem; background: currentColor; border-radius: 50%; }
[data-state=idle] [data-testid=state]::before { background: none; border: 2px solid; }
[data-state=checking] [data-testid=state]::before { background: none; border: 2px dotted; }
[data-state=recording] [data-testid=state] { color: var(--red); }
[data-state=recording] [data-testid=state]::before { animation: pulse 2s infinite; }
[data-state=paused] [data-testid=state]::before { background: none; border: solid; border-width: 0 5px; border-radius: 0; }
[data-state=offline] [data-testid=state] { color: var(--amber); }
[data-state=offline] [data-testid=state]::before { clip-path: polygon(50% 0, 100% 100%, 0 100%); border-radius: 0; }
[data-state=finishing] [data-testid=state]::before { clip-path: polygon(50% 0, 100% 55%, 65% 55%, 65% 100%, 35% 100%, 35% 55%, 0 55%); border-radius: 0; }
[data-state=finished] [data-testid=state] { color: var(--safe); }
[data-state=finished] [data-testid=state]::before { clip-path: polygon(0 55%, 15% 38%, 38% 62%, 85% 10%, 100% 25%, 40% 92%); border-radius: 0; }
[data-state=failed] [data-testid=state] { color: var(--red); }
[data-state=failed] [data-testid=state]::before { clip-path: polygon(0 20%, 20% 0, 50% 30%, 80% 0, 100% 20%, 70% 50%, 100% 80%, 80% 100%, 50% 70%, 20% 100%, 0 80%, 30% 50%); border-radius: 0; }
@keyframes pulse { 50% { opacity: .35; } }
[data-testid=elapsed] { text-align: center; font-size: clamp(3.25rem, 12cqi, 4.5rem); font-weight: 300; line-height: 1; letter-spacing: -.02em; }
[data-testid=hint] { text-align: center; color: var(--quiet); min-height: 3em; text-wrap: balance; }
[data-testid=problem] { padding: .75rem 1rem; border-left: 4px solid var(--red); border-radius: .25rem; background: var(--lane); }
[data-testid=warning] { font-size: .875rem; padding-left: .75rem; border-left: 4px solid var(--amber); }
canvas { display: block; width: 100%; border: 0 solid; color: var(--ink); caret-color: var(--pale); border-color: var(--lane) var(--safe) var(--amber) var(--red); }
[data-testid=waveform] { height: 6.5rem; background: var(--lane); border-radius: .625rem; }
[data-testid=notes] { display: flex; gap: 0 1rem; min-height: 1.5em; font-size: .875rem; color: var(--quiet); overflow: hidden; white-space: nowrap; margin-top: -.375rem; }
[data-testid=notes] b { color: var(--red); font-weight: 600; }
@media (hover: none) { .key { display: none; } }
.level { display: grid; grid-template-columns: 1fr 3.5rem; gap: .125rem .5rem; align-items: center; }
[data-testid=meter] { height: 1.5rem; }
[data-testid=loudest] { text-align: right; font-size: .875rem; }
.scale { display: flex; justify-content: space-between; font-size: .75rem; color: var(--quiet); }
.bar { position: relative; height: .75rem; border-radius: .375rem; overflow: hidden; background: var(--lane); }
[data-state]:not([data-state=idle]) .bar { background: repeating-linear-gradient(135deg, var(--pale) 0 2px, var(--lane) 2px 6px); }
.bar i { position: absolute; inset: 0; transform: scaleX(0); transform-origin: left; background: var(--pale); }
.bar i + i { background: var(--safe); }
.stage dl { display: grid; align-items: end; grid-template-columns: repeat(3, 1fr); gap: .5rem; margin-top: -.25rem; }
.stage dt { font-size: .8125rem; line-height: 1.3; color: var(--quiet); }
.stage dt::before { content: ""; display: inline-block; width: .625rem; height: .625rem; margin-right: .375rem; border-radius: 2px; background: var(--pale); }
.captured dt::before { background: repeating-linear-gradient(135deg, var(--pale) 0 2px, var(--lane) 2px 4px); }
.safe dt::before { background: var(--safe); }
.stage dd { font-size: 1.125rem; font-weight: 600; }
.controls { display: flex; justify-content: center; align-items: start; gap: 1.25rem; margin-top: .5rem; }
.round { display: grid; justify-items: center; gap: .375rem; width: 5.5rem; border-radius: 1rem; font-size: .875rem; }
.round i { display: grid; place-items: center; width: 3.25rem; height: 3.25rem; border: 1px solid var(--line); border-radius: 50%; background: var(--lane); }
.round i::before { content: ""; width: 1rem; height: 1rem; background: currentColor; }
.round:not(.big) { margin-top: 1rem; }
.big { font-weight: 600; font-size: 1rem; }
.big i { width: 5rem; height: 5rem; border: 0; background: var(--button); color: #fff; outline: 3px solid var(--line); outline-offset: 3px; }
.big i::before { width: 1.75rem; height: 1.75rem; border-radius: .25rem; }
.big[data-testid=record] i::before { border-radius: 50%; }
.big[data-testid=stop] i { background: var(--ink); color: var(--paper); }
[data-testid=pause] i::before { background: none; border: solid; border-width: 0 .3125rem; }
[data-testid=resume] i::before { clip-path: polygon(15% 0, 100% 50%, 15% 100%); }
[data-testid=mark] i::before { clip-path: polygon(10% 0, 100% 25%, 25% 55%, 25% 100%, 10% 100%); }
.round:disabled { visibility: hidden; }
.round[aria-disabled=true] i, .round:disabled i { opacity: .4; }
button:hover:not(:disabled) i, .quiet:hover { filter: brightness(.94); }
[data-testid=under] { display: flex; flex-wrap: wrap; justify-content: center; align-items: center; gap: .25rem .75rem; min-height: 2.75rem; }
[data-testid=verdict] { flex-basis: 100%; text-align: center; color: var(--quiet); font-size: .875rem; }
.quiet { padding: .5rem 1rem; white-space: nowrap; border: 1px solid var(--line); background: var(--paper); font-size: .9375rem; }
a.quiet { display: inline-block; border-radius: .625rem; color: var(--ink); text-decoration: none; font-weight: 600; }
.danger { padding: .5rem 1rem; background: var(--button); color: #fff; }
.ask { display: flex; flex-wrap: wrap; justify-content: center; align-items: center; gap: .5rem; }
.link { min-height: 1.5rem; padding: 0 .5rem; color: var(--focus); text-decoration: underline; }
.spoken { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }

[data-testid=receipt] { display: grid; gap: .75rem; align-content: start; min-height: 30rem; }
[data-testid=receipt] dl { display: grid; grid-template-columns: auto 1fr; gap: .375rem 1rem; font-size: .9375rem; }
[data-testid=receipt] dt, .note, small { color: var(--quiet); }
[data-testid=receipt] dd { display: flex; flex-wrap: wrap; gap: 0 .75rem; }
.verdict { font-weight: 600; min-height: 3em; }
[data-match=true] { color: var(--safe); }
[data-match=false], .bad { color: var(--red); }
.bad { font-weight: 600; text-decoration: underline wavy; }
.note { font-size: .875rem; }
audio { width: 100%; height: 3.375rem; }
a { color: var(--focus); }
[data-testid=download] { justify-self: start; }
[data-testid=download]:not([href]) { visibility: hidden; }
[data-testid=events], [data-testid=results] { order: 1; display: grid; gap: .75rem; }
[data-testid=events] b, article li b { margin-right: .75rem; font-weight: 400; color: var(--quiet); }
[data-testid=gaps] li { color: var(--red); }
article p { display: grid; grid-template-columns: 1fr auto 8rem; gap: .75rem; align-items: center; }
article ul { max-height: 16rem; overflow: auto; }
.draft { color: var(--quiet); font-style: italic; }
svg { width: 8rem; height: 1.5rem; fill: none; stroke: var(--safe); stroke-width: 1.5; }

.setup { display: grid; grid-template-columns: 1fr 1fr; gap: .75rem; }
label { display: grid; gap: .25rem; font-size: .875rem; color: var(--quiet); min-width: 0; }
label:is(.title, .device) { grid-column: 1 / -1; }
::placeholder { color: var(--quiet); opacity: 1; }
input, select { width: 100%; padding: 0 .75rem; border: 1px solid light-dark(#8d877d, #76777c); background: var(--paper); color: var(--ink); font-size: 1rem; text-overflow: ellipsis; }
:is(input, select):disabled { opacity: 1; color: var(--quiet); background: var(--lane); border-color: var(--line); }
.before ul { min-height: 9.5rem; margin-top: .5rem; font-size: .875rem; }
.before li { display: flex; gap: .5rem; align-items: center; }
.before b { margin-left: auto; font-weight: 400; color: var(--quiet); }
.before i { width: .75rem; height: .75rem; border-radius: 50%; border: 2px solid var(--quiet); }
[data-ok=true] i { border-radius: 0; border: 0; background: var(--safe); clip-path: polygon(0 55%, 15% 38%, 38% 62%, 85% 10%, 100% 25%, 40% 92%); }
[data-ok=false] i { border-radius: 0; border: 0; background: var(--red); clip-path: polygon(0 20%, 20% 0, 50% 30%, 80% 0, 100% 20%, 70% 50%, 100% 80%, 80% 100%, 50% 70%, 20% 100%, 0 80%, 30% 50%); }
.before [data-ok=false] b { color: var(--red); font-weight: 600; }
[data-testid=earlier] { order: 2; }
[data-testid=unfinished] > li { display: grid; gap: .25rem; padding: .75rem 0; border-top: 1px solid var(--line); }
h2 + [data-testid=unfinished] > li:first-child { border: 0; }
progress { width: 100%; height: .5rem; }
.buttons { display: flex; flex-wrap: wrap; gap: .5rem; }

@container (min-width: 56rem) {
  .app { display: grid; grid-template-columns: 1fr 20rem; align-items: start; gap: 1.25rem; }
  .main, .aside { display: grid; gap: 1.25rem; }
  .stage { padding: 1.25rem 1.5rem 1.5rem; }
  [data-testid=hint] { min-height: 1.5em; }
  .setup { grid-template-columns: 1fr; }
  [data-testid=receipt], .verdict { min-height: 0; }
  [data-testid=receipt] { padding: 1.25rem 1.5rem; }
}
@container (max-width: 22rem) { section { padding: .75rem; } .controls { gap: .75rem; } .round:not(.big) { width: 4.5rem; } [data-testid=waveform] { height: 5rem; } }
@media (prefers-reduced-motion: reduce) { * { animation: none !important; } }
`);
