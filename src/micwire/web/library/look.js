/** How <micwire-library> looks, on top of the recorder's look: the same colours, buttons and fields. */

export const sheet = new CSSStyleSheet();
sheet.replaceSync(`
.lib{--row:4.75rem; display:flex; flex-direction:column; gap:1rem; color:var(--ink); accent-color:var(--safe); font-variant-numeric:tabular-nums; overflow-wrap:anywhere; min-height:calc(100vh - 6rem);}
.lib:lang(ja){word-break:auto-phrase;}
.who{display:flex; align-items:center; gap:.75rem;}
.who h2{flex:1; font-size:1.5rem; line-height:1.2;}
::placeholder{color:var(--quiet); opacity:1;}
.playing .who h2{visibility:hidden;}
.place{flex:1; min-width:0;}
h3{color:var(--quiet);}

.list{display:flex; flex-direction:column; gap:.75rem; min-height:100%;}
.find{position:sticky; top:0; z-index:3; grid-template-columns:1fr auto auto; box-shadow:0 .5rem .75rem -.75rem #0006;}
.find select{width:auto; min-width:9rem;}
.chips{grid-column:1 / -1; display:flex; gap:.375rem; overflow-x:auto; scrollbar-width:none; padding:3px; margin:-3px;}
.chip{flex:none; display:inline-flex; align-items:center; gap:.25rem; max-width:14rem; min-height:1.75rem; padding:0 .625rem; border:1px solid var(--line); border-radius:1rem; font-size:.8125rem; color:var(--quiet); background:var(--lane); overflow:hidden; white-space:nowrap; text-overflow:ellipsis;}
.chips .chip{min-height:2.25rem; padding:0 .875rem;}
.chip[aria-pressed=true]{background:var(--ink); color:var(--paper); border-color:var(--ink);}
.count{color:var(--quiet); font-size:.875rem; min-height:1.5em; padding-left:.25rem;}
.rows{position:relative; background:var(--paper); border-radius:1rem; box-shadow:0 0 0 1px var(--line); overflow:hidden;}
.rows:empty{visibility:hidden;}
.row{position:absolute; inset:0 0 auto; height:var(--row); display:grid; grid-template-columns:2.75rem 9rem minmax(0,1fr) minmax(0,auto) 6.5rem; align-items:center; gap:0 1rem; padding-right:1.25rem; border-bottom:1px solid var(--line); contain:strict;}
.row:hover{background:var(--lane);}
.row.chosen{background:light-dark(#e8f1ec,#1f2f28);}
.check{place-content:center; height:100%; padding-left:.5rem; position:relative; z-index:1;}
.check input{width:1.25rem; min-height:1.25rem; margin:0;}
.row canvas{height:2.75rem; background:none;}
.what{min-width:0; display:grid;}
.name{color:inherit; font-weight:600; text-decoration:none; overflow:hidden; white-space:nowrap; text-overflow:ellipsis;}
.name::after{content:""; position:absolute; inset:0;}
.name:focus-visible{outline:none;}
.name:focus-visible::after{outline:3px solid var(--focus); outline-offset:-3px; border-radius:1rem;}
.row .naming{display:flex; align-items:center; min-width:0; position:relative; min-height:1.75rem;}
.rename{position:relative; z-index:1; flex:none; width:2.25rem; min-height:1.75rem; color:var(--quiet); visibility:hidden;}
.row:is(:hover,:focus-within) .rename{visibility:visible;}
@media (hover:none){.rename{display:none;} }
.field{position:absolute; z-index:2; inset:0 auto auto -.625rem; width:calc(100% + .625rem); min-height:1.75rem; height:1.75rem; padding:0 .5rem; font-weight:600;}
.what p{display:flex; gap:0 .75rem; font-size:.875rem; color:var(--quiet); white-space:nowrap; overflow:hidden;}
.what p > :empty{display:none;}
.state[data-state]{font-weight:400;}
.lib .state::before{content:none;}
.lib .state[data-state=live]{color:var(--red); font-weight:600;}
.lib .state[data-state=live]::before{content:""; display:inline-block; width:.5rem; height:.5rem; border-radius:50%; background:var(--button);}
.lib .state:is([data-state=waiting],[data-state=interrupted]){color:var(--amber);}
.gaps,.lib ul.gaps .jump{color:var(--red);}
.tags{display:flex; gap:.25rem; justify-content:end; overflow:hidden;}
.row .tags{max-width:16rem;}
.row .chip{position:relative; z-index:1;}
.length{text-align:right; white-space:nowrap; font-size:.9375rem;}
.more{text-align:center; color:var(--quiet); min-height:1.5em;}
.empty{display:grid; justify-items:center; gap:.75rem; text-align:center; padding:4rem 1rem; color:var(--quiet);}
.empty:empty{display:none;}
.empty.tail{padding:0 1rem 2rem;}
.empty h2{font-size:1.25rem; color:var(--ink);}
.empty .quiet{color:var(--ink); display:inline-grid; place-items:center; justify-self:center;}
.list:is([data-kind=empty],[data-kind=signedOut]) .find{display:none;}
.selection,.told > div{display:flex; flex-wrap:wrap; align-items:center; gap:.5rem .75rem; padding:.75rem 1rem; border-radius:1rem; background:var(--paper); border:1px solid var(--line); box-shadow:0 .25rem 1.5rem #0004;}
.selection{position:sticky; bottom:1rem; z-index:4; visibility:hidden; margin-top:auto;}
.selection.open{visibility:visible;}
.selection p{flex:1; font-weight:600; white-space:nowrap;}
.told{position:sticky; bottom:1rem; z-index:5; display:grid; gap:.5rem; justify-items:center;}
.told > :empty{display:none;}
.told > div{background:var(--ink); color:var(--paper); border:0; max-width:40rem;}
.told .link{color:inherit;}
.told .quiet{border-color:currentColor; font-weight:600;}

.main{min-width:0;}
.player{display:grid; gap:1rem;}
.back{justify-self:start; font-size:1.5rem; line-height:1.2; font-weight:600; text-decoration:none; color:var(--ink); padding:0; position:absolute; top:0; left:0; min-height:2.75rem; display:flex; align-items:center;}
.lib{position:relative;}
.opening{display:grid; justify-items:center; gap:1rem; padding:4rem 1rem; color:var(--quiet);}
.title{grid-column:auto;}
.stage .naming input{font-size:1.375rem; font-weight:600; min-height:3rem; padding:0 .5rem; margin:0 -.5rem; width:calc(100% + 1rem); border-color:transparent; background:none;}
.stage .naming input:hover{border-color:var(--line);}
.stage .naming input:focus{border-color:var(--quiet);}
.beneath{display:flex; flex-wrap:wrap; justify-content:space-between; align-items:baseline; gap:0 1rem; min-height:1.5em;}
.stage{gap:.5rem;}
.saving{min-height:1.5em; font-size:.8125rem; color:var(--quiet);}
.saving:is([data-state=failed],[data-state=conflict]){color:var(--red);}
.saving[data-state=saved]{color:var(--safe);}
.meta{display:flex; flex-wrap:wrap; gap:0 .75rem; font-size:.9375rem; color:var(--quiet);}
.problem:empty{display:none;}
.view{display:grid; gap:.5rem; min-width:0;}
.strip,.lanes,.position{position:relative; min-width:0;}
.strip{border-radius:.5rem; overflow:hidden;}
.overview{display:block; height:2.75rem; cursor:pointer; touch-action:none;}
.window{position:absolute; inset:0 auto; min-width:4px; border:2px solid var(--focus); border-radius:.25rem; background:color-mix(in srgb,var(--focus) 14%,transparent); pointer-events:none;}
.wave{display:block; height:16rem; border-radius:.625rem; cursor:text; touch-action:pan-y;}
.playhead{position:absolute; inset:0 auto; left:-1px; width:2px; background:var(--focus); pointer-events:none;}
.position{border-radius:.625rem; overflow:hidden;}
.flags{position:absolute; inset:auto 0 0; height:30px; overflow:hidden; pointer-events:none;}
.flag{position:absolute; top:3px; min-width:12px; min-height:24px; height:24px; padding:0 .375rem; border-radius:0 .375rem .375rem 0; background:var(--safe); color:var(--paper); font-size:.75rem; overflow:hidden; white-space:nowrap; text-overflow:ellipsis; pointer-events:auto;}
.time{font-size:1.25rem; white-space:nowrap;}
.deck{display:grid; grid-template-columns:1fr auto 1fr; align-items:center; gap:.75rem;}
.transport,.tools,.formats{display:flex; align-items:center; gap:.5rem;}
.tools{justify-content:end;}
.transport .quiet,.tools .quiet{padding:0; width:2.75rem;}
.tools .quiet{font-size:1.125rem;}
.play.round{margin:0; width:auto; gap:0;}
.play i{width:4rem; height:4rem; border:0; background:var(--button); color:#fff;}
.play i::before{width:1.25rem; height:1.25rem; clip-path:polygon(15% 0,100% 50%,15% 100%);}
.play[data-playing=true] i::before{clip-path:polygon(10% 0,38% 0,38% 100%,62% 100%,62% 0,90% 0,90% 100%,62% 100%,62% 100%,38% 100%,10% 100%);}
.play span{position:absolute; width:1px; height:1px; overflow:hidden; clip-path:inset(50%);}
.pace select{width:auto;}
.markForm{display:grid; grid-template-columns:1fr auto; gap:.5rem;}
.marks,.lib ul.gaps{max-height:18rem; overflow:auto;}
.marks li,.lib ul.gaps li{display:grid; grid-template-columns:5.5rem 1fr auto; align-items:center; min-height:2.25rem; color:var(--ink);}
.marks .none,.lib ul.gaps .none{display:block; color:var(--quiet); font-size:.875rem;}
.jump{min-height:2.25rem; text-align:left; text-decoration:underline; color:var(--focus);}
.remove,.chip button{min-width:2.25rem; min-height:2.25rem; color:var(--quiet); font-size:1.125rem;}
.chip button{min-width:1.75rem; min-height:1.75rem; margin-right:-.5rem;}
.tagging,.noting{display:grid; gap:.5rem;}
.tagging .tags{flex-wrap:wrap; justify-content:start;}
.tagging .tags:empty{display:none;}
textarea{width:100%; padding:.5rem .75rem; border:1px solid var(--quiet); border-radius:.625rem; background:var(--paper); color:var(--ink); font:inherit; resize:vertical; min-height:7rem;}
.noting textarea{display:block; color:var(--ink); font-size:1rem; white-space:pre-wrap;}
.formats{flex-wrap:wrap;}
[aria-disabled=true]{opacity:.6;}
.receipt{min-height:0;}
.receipt dl,.keys dl{display:grid; grid-template-columns:auto 1fr; gap:.375rem 1rem; font-size:.875rem;}
.keys summary{cursor:pointer; min-height:2.75rem; display:flex; align-items:center; color:var(--quiet);}
.keys summary::before{content:"⌨"; margin-right:.5rem;}
.deleteThis{justify-self:start; color:var(--red);}

@container (max-width:46rem){
.lib{--row:6rem;}
.find{position:static; grid-template-columns:1fr 1fr; gap:.5rem; padding:.75rem;}
.find input{grid-column:1 / -1;}
.find select{width:100%; min-width:0;}
.row{grid-template-columns:2.25rem minmax(0,1fr) auto; grid-template-rows:1fr 1.75rem; gap:0 .5rem; padding:.5rem .75rem .5rem 0; align-items:center;}
.check{grid-row:1 / 3;}
.what{grid-area:1 / 2 / 2 / 4;}
.row canvas{grid-area:2 / 2; height:1.75rem;}
.row .length{grid-area:2 / 3;}
.row .tags{display:none;}
.deck{grid-template-columns:1fr; justify-items:center;}
.tools{flex-wrap:wrap; justify-content:center;}
.wave{height:13rem;}
.selection.open{display:grid; grid-template-columns:1fr 1fr;}
.selection .clear{order:-1; justify-self:end; padding:0;}
.selection p{order:-2;}
}
`);
