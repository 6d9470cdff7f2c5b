#include "report/page_style.h"

namespace fptq::report {

const char* const kPageStyle = R"(
:root { color-scheme: light dark; --page: #ffffff; --ink: #1d2430; --soft: #565f6d; --line: #d9dde3;
  --panel: #f6f7f9; --bar: #0072b2; --base: #7d8794; --warn: #7a4d00; --warnbg: #fff6e0; --differ: #a33c00;
  --k0: #0072b2; --k1: #e69f00; --k2: #009e73; --k3: #cc79a7; --k4: #56b4e9; --hatch: #ffffff; --heat: 0, 114, 178; }
@media (prefers-color-scheme: dark) { :root { --page: #12161c; --ink: #e4e8ee; --soft: #a3adba;
  --line: #323a45; --panel: #1a2028; --bar: #56b4e9; --base: #8a94a1; --warn: #ffd27d; --warnbg: #33290f; --differ: #ffa06b;
  --k0: #56b4e9; --k1: #e69f00; --k2: #2fbf95; --k3: #d98cb6; --k4: #9cc9e8; --hatch: #12161c; --heat: 86, 180, 233; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0 auto; max-width: 80rem; padding: 2rem 1.25rem 4rem; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; overflow-wrap: break-word; }
.skip { position: absolute; left: -100rem; } .skip:focus { left: 1rem; top: .5rem; padding: .3rem .8rem; background: var(--page); }
a { color: var(--bar); } :focus-visible { outline: 3px solid var(--bar); outline-offset: 2px; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.75rem 0 .75rem; } h3 { font-size: 1rem; margin: 1.5rem 0 .5rem; overflow-wrap: anywhere; }
p { margin: .5rem 0; max-width: 48rem; } .soft { color: var(--soft); font-size: .9rem; }
.sentences { padding-left: 1.2rem; max-width: 52rem; } .sentences li { margin: .4rem 0; overflow-wrap: anywhere; }
.legend { color: var(--soft); font-size: .875rem; padding-left: 1.2rem; margin: .5rem 0; max-width: 48rem; }
.contents { display: flex; flex-wrap: wrap; gap: .3rem 1rem; padding: 0; margin: 1rem 0; list-style: none; font-size: .9rem; }
.scroll { overflow-x: auto; margin: .75rem 0; } .tall { max-height: 22rem; overflow-y: auto; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding: 0 0 .4rem; font-size: .875rem; }
caption span { display: inline-block; position: sticky; left: 0; max-width: min(46rem, calc(100vw - 2.5rem)); }
th, td { padding: .45rem .6rem; border-bottom: 1px solid var(--line); text-align: left; white-space: nowrap; }
thead th { color: var(--soft); font-weight: 600; border-bottom-width: 2px; vertical-align: bottom; }
tbody th { font-weight: 600; white-space: normal; overflow-wrap: anywhere; min-width: 12rem; max-width: 18rem; } .heat tbody th { min-width: 0; }
th.number, td.number { text-align: right; }
.main { margin-bottom: .25rem; } .main tbody tr:first-child { background: var(--panel); }
.main th, .main td { border-right: 1px solid var(--line); } .main th:last-child, .main td:last-child { border-right: 0; }
.verdicts td:last-child { white-space: normal; min-width: 16rem; }
.charts { display: grid; margin-top: 1.25rem; grid-template-columns: repeat(auto-fill, minmax(min(22.5rem, 100%), 1fr)); gap: 1rem; align-items: start; }
figure { margin: 0; padding: .9rem .9rem .75rem; background: var(--panel); border: 1px solid var(--line); border-radius: 8px; min-width: 0; }
figcaption { font-weight: 600; font-size: .95rem; margin-bottom: .6rem; }
svg { display: block; width: 100%; max-width: 29rem; height: auto; font-size: 14px; }
svg text { fill: var(--ink); } svg .tick { fill: var(--soft); font-size: 12.5px; } svg .value { font-variant-numeric: tabular-nums; }
.bar { fill: var(--bar); } .bar.baseline { fill: var(--base); }
.error { stroke: var(--ink); stroke-width: 1.5; } .axis { stroke: var(--soft); } .grid { stroke: var(--line); }
.range { stroke: var(--bar); stroke-width: 3; stroke-linecap: round; opacity: .45; } .mark { fill: var(--bar); stroke: var(--panel); }
.mark.baseline { fill: var(--base); } .dot { fill: var(--bar); opacity: .35; } .dot.baseline { fill: var(--base); }
.median { stroke: var(--ink); stroke-width: 2.5; } .box { fill: none; stroke: var(--ink); }
.k0 { fill: var(--k0); } .k1 { fill: var(--k1); } .k2 { fill: var(--k2); } .k3 { fill: var(--k3); } .k4 { fill: var(--k4); }
.part { stroke: var(--panel); } .hatch { stroke: var(--hatch); stroke-width: 1.3; fill: none; }
.heat td { text-align: right; border: 1px solid var(--page); print-color-adjust: exact; -webkit-print-color-adjust: exact; }
.heat0 { background: rgba(var(--heat), .04); } .heat1 { background: rgba(var(--heat), .14); } .heat2 { background: rgba(var(--heat), .24); }
.heat3 { background: rgba(var(--heat), .36); } .heat4 { background: rgba(var(--heat), .5); }
.worst { font-weight: 700; outline: 2px solid var(--ink); outline-offset: -2px; }
.texts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(18rem, 100%), 1fr)); gap: .75rem; margin: .5rem 0 1.5rem; }
.text { background: var(--panel); border: 1px solid var(--line); border-radius: 8px; padding: .7rem .9rem; min-width: 0; }
.text h4 { margin: 0 0 .3rem; font-size: .9rem; overflow-wrap: anywhere; } .text p { margin: .3rem 0; white-space: pre-wrap; overflow-wrap: anywhere; }
blockquote { margin: .3rem 0; padding: .1rem 0 .1rem .8rem; border-left: 3px solid var(--line); white-space: pre-wrap; overflow-wrap: anywhere; max-width: 48rem; }
mark { background: none; color: var(--differ); font-weight: 700; text-decoration: underline wavy; text-decoration-skip-ink: none; }
.warning { background: var(--warnbg); color: var(--warn); border-radius: 6px; padding: .5rem .9rem; margin: .5rem 0; max-width: none; overflow-wrap: anywhere; }
details { border: 1px solid var(--line); border-radius: 8px; padding: .6rem 1rem; margin: .6rem 0; }
summary { cursor: pointer; font-weight: 600; overflow-wrap: anywhere; }
.facts { width: 100%; table-layout: fixed; } .facts tbody th { font-weight: 400; max-width: none; color: var(--soft); vertical-align: top; width: 20rem; white-space: normal; overflow-wrap: anywhere; }
.facts td { white-space: pre-wrap; overflow-wrap: anywhere; font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: .85rem; }
@media (max-width: 40rem) { body { padding: 1rem .75rem 3rem; } figure { padding: .7rem .6rem .6rem; } tbody th { min-width: 8rem; } .facts, .facts tbody, .facts tr, .facts th, .facts td, .facts caption { display: block; width: auto; }
  .facts th { border: 0; padding-bottom: 0; } .facts td { padding-top: .1rem; } }
@media print { @page { size: A4 landscape; margin: 12mm; }
  :root { color-scheme: light; --page: #ffffff; --ink: #000000; --soft: #444444; --line: #bbbbbb; --panel: #ffffff; --bar: #0072b2; --base: #7d8794;
    --warn: #000000; --warnbg: #ffffff; --differ: #000000; --k0: #0072b2; --k1: #e69f00; --k2: #009e73; --k3: #cc79a7; --k4: #56b4e9; --hatch: #ffffff; --heat: 0, 114, 178; }
  html { font-size: 9pt; } body { max-width: none; padding: 0; font-size: 9pt; }
  h2 { margin-top: 1.5rem; } .warning { border: 1px solid var(--ink); } .skip, .contents { display: none; }
  .scroll, .tall { overflow: visible; max-height: none; } details::details-content { content-visibility: visible; display: block; }
  table { font-size: 7.5pt; } th, td { padding: .25rem .35rem; white-space: normal; overflow-wrap: break-word; } tbody th { min-width: 6rem; }
  thead { display: table-header-group; } tr, figure, .text, .warning { break-inside: avoid; } h2, h3, h4, blockquote, figcaption, caption { break-after: avoid; }
  .charts { grid-template-columns: repeat(3, 1fr); } svg, .bar, .dot, .part, .mark { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
)";

}  // namespace fptq::report
