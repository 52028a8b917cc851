/** How <micwire-recorder> looks. Colours follow the page's color-scheme; sizes follow the element's own width. */

export const sheet = new CSSStyleSheet();
sheet.replaceSync(`
:host{display:block; container-type:inline-size; font-size:1rem; line-height:1.5;
--paper:light-dark(#fff,#1f2023); --ink:light-dark(#22211f,#ecebe8); --quiet:light-dark(#635f59,#a9a59e);
--line:light-dark(#dedad3,#3c3d41); --lane:light-dark(#f4f2ee,#292a2e); --pale:light-dark(#b9b3a9,#66676c);
--red:light-dark(#b8222f,#ff8289); --button:light-dark(#c42b38,#cf3a46); --safe:light-dark(#1c7048,#58c48c);
--amber:light-dark(#965900,#e6a93c); --focus:light-dark(#1a5cb0,#8cbcf5);}
[hidden],:is(ul,.problem *,.warning,.verdict,.results):empty{display:none !important;}
*{box-sizing:border-box; margin:0; padding:0;}
ul{list-style:none;}
.app{display:flex; flex-direction:column; gap:1rem; color:var(--ink); accent-color:var(--safe);
  font-variant-numeric:tabular-nums; overflow-wrap:anywhere;}
.app:lang(ja){word-break:auto-phrase;}
.main,.aside{display:contents;}
section{background:var(--paper); border:1px solid var(--line); border-radius:1rem; padding:min(1rem,4cqi); display:grid; gap:.75rem; align-content:start;}
h2,h3{font-size:.875rem;}
button,input,select,a.quiet{font:inherit; color:inherit; min-height:2.75rem; border-radius:.625rem;}
button{border:0; background:none;}
button:enabled{cursor:pointer;}
:focus-visible{outline:3px solid var(--focus); outline-offset:2px;}

header{display:flex; justify-content:space-between; align-items:center; gap:.5rem;}
.state{display:flex; align-items:center; gap:.5rem; font-weight:600;}
.state::before{content:attr(data-sign); width:1em; text-align:center;}
:is([data-state=recording],[data-state=failed]) .state{color:var(--red);}
[data-state=offline] .state{color:var(--amber);}
[data-state=finished] .state{color:var(--safe);}
.elapsed,.hint,.verdict{text-align:center;}
.elapsed{font-size:clamp(3.25rem,12cqi,4.5rem); font-weight:300; line-height:1;}
.hint{color:var(--quiet); min-height:3em; text-wrap:balance;}
.problem{padding:.75rem 1rem; border-left:4px solid var(--red); background:var(--lane);}
.warning{font-size:.875rem; padding-left:.75rem; border-left:4px solid var(--amber);}
canvas{width:100%; background:var(--lane); caret-color:var(--pale); border-color:var(--safe) var(--amber) var(--red);}
.waveform{height:6.5rem; border-radius:.625rem;}
.notes{display:flex; gap:0 1rem; min-height:1.5em; font-size:.875rem; color:var(--quiet); overflow:hidden; white-space:nowrap;}
.notes b,.gaps li{color:var(--red);}
@media (hover:none){.key{display:none;} }
.level{display:grid; grid-template-columns:1fr 3.5rem; gap:0 .5rem;}
.meter{height:1.5rem;}
.loudest{text-align:right; font-size:.875rem;}
.scale{text-align-last:justify; font-size:.75rem; color:var(--quiet);}
.bar{position:relative; height:.75rem; border-radius:.375rem; overflow:hidden; background:var(--lane);}
.captured dt::before,.bar i{background:repeating-linear-gradient(135deg,var(--pale) 0 2px,var(--lane) 2px 5px);}
.bar i{position:absolute; inset:0; transform-origin:left;}
.stage dt::before{content:""; display:inline-block; width:.625rem; height:.625rem; margin-right:.375rem;}
.kept dt::before,.bar i + i{background:var(--pale);}
.safe dt::before,.bar i + i + i{background:var(--safe);}
.stage dl{display:grid; grid-template-columns:repeat(3,1fr); align-items:end; gap:.5rem;}
.stage dt{font-size:.8125rem; line-height:1.3;}
.stage dd{font-size:1.125rem; font-weight:600;}
.controls{display:flex; justify-content:center; gap:min(1.25rem,3cqi);}
.round{display:grid; justify-items:center; align-content:start; gap:.375rem; width:min(5.5rem,25cqi); margin-top:1.5rem; font-size:.875rem;}
.round i{display:grid; place-items:center; width:3.25rem; height:3.25rem; border:1px solid var(--line); border-radius:50%; background:var(--lane);}
.round i::before{content:""; width:1rem; height:1rem; background:currentColor;}
.big{margin:0; font-weight:600; font-size:1rem;}
.big i{width:5rem; height:5rem; margin-top:.5rem; border:0; background:var(--button); color:#fff; outline:3px solid var(--line); outline-offset:3px;}
.big i::before{width:1.75rem; height:1.75rem; border-radius:.25rem;}
.record i::before{border-radius:50%;}
.stop i{background:var(--ink); color:var(--paper);}
.pause i::before{background:none; border:solid; border-width:0 .3125rem;}
.resume i::before{clip-path:polygon(15% 0,100% 50%,15% 100%);}
.mark i::before{clip-path:polygon(10% 0,100% 25%,25% 55%,25% 100%,10% 100%);}
.round:disabled{visibility:hidden;}
[aria-disabled] i{opacity:.4;}
.under,.ask,.buttons{display:flex; flex-wrap:wrap; justify-content:center; align-items:center; gap:.5rem .75rem;}
.under{min-height:2.75rem;}
.verdict{flex-basis:100%; color:var(--quiet);}
.quiet,.danger{padding:.5rem 1rem; border:1px solid var(--line); white-space:nowrap;}
a.quiet{justify-self:start; text-decoration:none;}
.danger{background:var(--button); color:#fff;}
.link{min-height:1.5rem; padding:0 .5rem; text-decoration:underline;}
.link,[href]{color:var(--focus);}
.spoken{position:absolute; width:1px; height:1px; overflow:hidden; clip-path:inset(50%);}

.receipt{min-height:30rem;}
.receipt dl{display:grid; grid-template-columns:auto 1fr; gap:.375rem 1rem; font-size:.9375rem;}
.receipt dd{display:flex; flex-wrap:wrap; gap:0 .75rem;}
.said{font-weight:600; min-height:3em;}
.matches{color:var(--safe);}
.matchesNot,.bad{color:var(--red);}
.bad{font-weight:600; text-decoration:underline wavy;}
.note{font-size:.875rem;}
audio{width:100%; height:3.375rem;}
.download:not([href]){visibility:hidden;}
.events,.results{order:1;}
li b{margin-right:.75rem; font-weight:400;}
dt,.note,small,li b,.draft{color:var(--quiet);}
article p{display:grid; grid-template-columns:1fr auto 8rem; gap:.75rem;}
article ul{max-height:16rem; overflow:auto;}
article i{background:var(--safe);}

.setup{grid-template-columns:1fr 1fr;}
label{display:grid; gap:.25rem; font-size:.875rem; color:var(--quiet); min-width:0;}
.title,.device{grid-column:1 / -1;}
input,select{width:100%; padding:0 .75rem; border:1px solid var(--quiet); background:var(--paper); color:var(--ink); font-size:1rem; text-overflow:ellipsis;}
:disabled{opacity:1; color:var(--quiet); background:var(--lane); border-color:var(--line);}
.checks{min-height:8rem; font-size:.875rem;}
.checks i{display:inline-block; width:1.5em; font-style:normal; color:var(--safe);}
[data-ok=null] i{color:var(--quiet);}
[data-ok=false],[data-ok=false] i{color:var(--red);}
.earlier{order:2;}
.unfinished > li{display:grid; gap:.25rem; padding:.75rem 0;}
progress{width:100%; height:.5rem;}
.buttons{justify-content:start;}

@container (min-width:56rem) {
.app{display:grid; grid-template-columns:1fr 20rem; align-items:start; gap:1.25rem;}
.main,.aside{display:grid; gap:1.25rem;}
.hint{min-height:1.5em;}
.setup{grid-template-columns:1fr;}
.receipt,.said{min-height:0;}
.main section{padding:1.25rem 1.5rem;}
}
`);
