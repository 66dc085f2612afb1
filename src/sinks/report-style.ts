/** The page's style: one file, no font and no script from anywhere; light and dark by the reader's choice, and on paper. */
export const REPORT_STYLE = `
:root {
  color-scheme: light dark;
  --paper: #ffffff; --ink: #1d1d1f; --soft: #5c5c62; --line: #d9d9de; --band: #f5f5f7; --link: #1a5fb4;
  --good: #1d6f42; --better: #14557f; --bad: #a3341b; --none: #5c5c62;
  --plot-paper: transparent; --plot-ink: #333333; --plot-faint: #7d7d7d; --plot-grid: #e5e5e5;
  --plot-blue: #2f6fb3; --plot-orange: #c8641b; --plot-green: #2b8a5f; --plot-purple: #8a5aa8;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #17181a; --ink: #e8e8ea; --soft: #a7a7ad; --line: #3a3b3f; --band: #222327; --link: #8ab8f0;
    --good: #6fcf97; --better: #7cc0ec; --bad: #f2937a; --none: #a7a7ad;
    --plot-ink: #d5d5d8; --plot-faint: #9a9aa0; --plot-grid: #33343a;
    --plot-blue: #6aa9ea; --plot-orange: #f0995a; --plot-green: #5fc79a; --plot-purple: #c39be0;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 1rem; max-width: 82rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: break-word;
}
h1 { font-size: 1.6rem; line-height: 1.2; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 0.5rem; padding-top: 0.5rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 0 0 0.5rem; }
p, li { max-width: 46rem; }
a { color: var(--link); }
.date, .caption { color: var(--soft); font-size: 0.9rem; }
nav ul { display: flex; flex-wrap: wrap; gap: 0.25rem 1rem; padding: 0; list-style: none; }
figure { margin: 0 0 2.5rem; min-width: 0; }
@media (min-width: 68rem) {
  /* Picture and words at the left, the numbers beside them. */
  figure { display: grid; grid-template-columns: minmax(0, 40rem) minmax(0, 1fr); column-gap: 2rem; grid-template-rows: auto auto 1fr; }
  figure h3 { grid-column: 1 / -1; }
  figure .picture, figcaption { grid-column: 1; }
  figure .numbers { grid-column: 2; grid-row: 2 / 4; }
}
.scroll { overflow-x: auto; max-width: 100%; }
.scroll:focus-visible { outline: 2px solid var(--link); }
/* On a phone a picture scrolls in its own size: its text would shrink beyond reading. */
.picture svg { display: block; }
@media (min-width: 46rem) { .picture svg { max-width: 100%; height: auto; } }
table { border-collapse: collapse; font-size: 0.85rem; margin: 0.5rem 0; }
section > .scroll table { min-width: 48rem; }
caption { text-align: left; color: var(--soft); padding: 0.25rem 0; }
th, td { text-align: left; padding: 0.2rem 0.6rem 0.2rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td:first-child { white-space: nowrap; }
tr:target td { background: var(--band); }
code, pre { font: 0.85rem/1.45 ui-monospace, monospace; }
td code { white-space: nowrap; }
pre { background: var(--band); padding: 0.75rem; overflow-x: auto; max-width: 100%; }
.verdict { font-weight: 600; white-space: nowrap; }
.reproduced { color: var(--good); } .exceeded { color: var(--better); }
.not-reproduced { color: var(--bad); } .not-measurable-here { color: var(--none); font-weight: 400; }
@media print {
  :root { color-scheme: light; --paper: #ffffff; --ink: #000000; --soft: #444444; --line: #bbbbbb; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  nav { display: none; }
  figure { display: block; }
  figure .picture, tr { break-inside: avoid; }
  td:first-child { white-space: normal; }
  h2, h3 { break-after: avoid; }
  .scroll { overflow: visible; }
  .picture svg { max-width: 100%; height: auto; }
  td code { white-space: normal; }
  section > .scroll table { min-width: 0; }
  table { font-size: 8pt; }
}
`;
