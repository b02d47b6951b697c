import { html } from './html.ts'

/** Light or dark, as the reader's system has it. */
export const style = html`
  :root { color-scheme: light dark; --page: #fbfbfd; --ink: #1c1f26; --soft: #636b7a; --line:
  #dde1e8; --card: #ffffff; --good: #1a7f4b; --bad: #c0322b; --fault: #8a3ffc; --healing: #d9c6fb;
  --accepted: #2266cc; --settled: #1a8f5a; --unsettled: #c26a10; } @media (prefers-color-scheme:
  dark) { :root { --page: #14161b; --ink: #e6e8ee; --soft: #9aa3b2; --line: #2d323c; --card:
  #1b1e25; --good: #4cc38a; --bad: #ff7369; --fault: #b48bff; --healing: #4a3a70; --accepted:
  #6aa5ff; --settled: #4cc38a; --unsettled: #f0a04b; } } body { margin: 2rem auto; max-width: 68rem;
  padding: 0 1rem; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif;
  } h1 { margin-bottom: 0; } h2 { margin-top: 2.5rem; } .verdict { font-size: 1.25rem; font-weight:
  600; margin-top: 0.25rem; } .verdict.good { color: var(--good); } .verdict.bad { color:
  var(--bad); } .counts { display: grid; grid-template-columns: repeat(auto-fill, minmax(10rem,
  1fr)); gap: 0.75rem; margin: 1rem 0; } .counts div { background: var(--card); border: 1px solid
  var(--line); border-radius: 8px; padding: 0.6rem 0.8rem; } .counts dd { margin: 0; font-size:
  1.3rem; font-weight: 600; font-variant-numeric: tabular-nums; } .counts dt { color: var(--soft);
  font-size: 0.85rem; } .statuses { display: flex; flex-wrap: wrap; gap: 0.25rem 1.5rem; list-style:
  none; padding: 0; } figure { margin: 0; background: var(--card); border: 1px solid var(--line);
  border-radius: 8px; padding: 0.75rem; overflow-x: auto; } svg { display: block; width: 100%;
  min-width: 40rem; height: auto; } svg text { fill: var(--soft); font: 12px system-ui, sans-serif;
  } svg .name { fill: var(--ink); } svg .text-accepted { fill: var(--accepted); font-weight: 600; }
  svg .text-settled { fill: var(--settled); font-weight: 600; } svg .grid { stroke: var(--line); }
  svg .mark { stroke: var(--fault); stroke-opacity: 0.35; stroke-dasharray: 2 3; } svg .fault {
  fill: var(--fault); } svg .fault.idle { fill: none; stroke: var(--fault); } svg .healing { fill:
  var(--healing); } svg .exit { fill: var(--soft); } svg .exit.bad { fill: var(--bad); } svg .line {
  fill: none; stroke-width: 1.75; stroke-linejoin: round; } svg .line.accepted { stroke:
  var(--accepted); } svg .line.settled { stroke: var(--settled); } svg .line.unsettled { stroke:
  var(--unsettled); } .wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; }
  th, td { text-align: left; padding: 0.4rem 0.7rem; border-bottom: 1px solid var(--line);
  vertical-align: top; } th { color: var(--soft); font-weight: 600; font-size: 0.85rem; } .number {
  text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; } tr.good .state {
  color: var(--good); } tr.bad .state { color: var(--bad); font-weight: 600; } tr.idle { color:
  var(--soft); } .violations { border-left: 3px solid var(--bad); padding-left: 1rem; margin-top:
  1.5rem; } .violations li { margin: 0.3rem 0; overflow-wrap: anywhere; }
`
