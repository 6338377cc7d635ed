/** The style sheet of the widget. The build removes its white space. */
export const STYLES = `
:host {
  --up: var(--harken-up, light-dark(#0a6b64, #62d6cb));
  --down: var(--harken-down, light-dark(#a83c08, #ffa67a));
  --accent: var(--harken-accent, light-dark(#4a3fcb, #aba3ff));
  --on: var(--harken-on-accent, light-dark(#fff, #16142a));
  --ink: var(--harken-ink, light-dark(#191a1f, #ededf2));
  --surface: var(--harken-surface, light-dark(#fff, #191a1f));
  --line: var(--harken-line, light-dark(#e3e3dd, #2c2d34));
  --radius: var(--harken-radius, 8px);
  --bad: light-dark(#ad1f1a, #ff948c);
  --quiet: color-mix(in srgb, var(--ink) 72%, var(--surface));
  --sunken: color-mix(in srgb, var(--ink) 7%, var(--surface));
  --control: color-mix(in srgb, var(--ink) 50%, var(--surface));
  display: block;
  min-height: 38px;
}
.root { all: initial; display: block; color: var(--ink); font-family: var(--harken-font, inherit); font-size: 14px;
  line-height: 20px; color-scheme: inherit; pointer-events: inherit; visibility: inherit }
:host([hidden]), [hidden] { display: none !important }
:host([theme=light]) { color-scheme: light }
:host([theme=dark]) { color-scheme: dark }
* { box-sizing: border-box }
button, textarea { font: inherit; color: inherit; margin: 0 }
button { border: 0; background: none; cursor: pointer }
[aria-disabled=true] { cursor: default }
[aria-disabled=true]:not([aria-pressed=true]) { opacity: .5 }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px }
.group { display: flex; flex-wrap: wrap; align-items: center; gap: 0 2px; margin: 0 -8px -6px }
.thumb { position: relative; display: flex; align-items: center; justify-content: center; gap: 6px; min-width: 44px;
  height: 44px; padding: 0 8px; color: var(--quiet); outline-offset: -4px; border-radius: calc(var(--radius) + 4px) }
.thumb::before { content: ""; position: absolute; inset: 6px; border-radius: var(--radius) }
.thumb:hover::before { background: var(--sunken) }
svg, .name { position: relative }
svg { display: block; width: 18px; height: 18px; fill: none; stroke: currentColor; stroke-width: 1.5;
  stroke-linecap: round; stroke-linejoin: round }
.down svg { rotate: 180deg }
.name { position: absolute !important; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%);
  white-space: nowrap }
[aria-pressed=true].thumb { --tone: var(--up); --soft: var(--up); color: var(--tone) }
[aria-pressed=true].down { --tone: var(--down); --soft: var(--harken-down, #df6c2b) }
[aria-pressed=true].thumb::before { background: color-mix(in srgb, var(--soft) 18%, var(--surface)) }
[aria-pressed=true] svg { fill: color-mix(in srgb, currentColor 28%, #0000) }
.wide .thumb { padding: 0 18px }
.wide .thumb::before { inset: 4px; border: 1px solid var(--control) }
.wide .name { position: relative !important; width: auto; height: auto; clip-path: none }
.card { border: 1px solid var(--line); border-radius: 14px; padding: 16px; text-align: center;
  background: var(--surface) }
.card .group { justify-content: center; margin: 4px 0 0 }
.card .panel, .card .reply { text-align: start }
.prompt { font-size: 15px; font-weight: 600 }
.status { margin-inline-start: 8px; font-size: 13px; color: var(--quiet) }
.failed { color: var(--bad) }
.links { margin-inline-start: 4px }
.link { min-height: 44px; padding: 0 4px; color: var(--accent); text-decoration: underline;
  text-underline-offset: 2px }
.panel { margin: 8px 0 0; padding: 12px; max-width: 480px; border: 1px solid var(--line);
  border-radius: calc(var(--radius) + 4px); background: var(--surface) }
.head { display: flex; justify-content: space-between; gap: 8px; margin-bottom: 8px }
.title { font-weight: 600 }
.close { display: grid; place-items: center; width: 44px; height: 44px; margin: -12px; color: var(--quiet) }
.reasons { display: flex; flex-wrap: wrap; gap: 6px; margin: 0 0 12px }
.reason { min-height: 32px; padding: 5px 12px; border: 1px solid var(--control); border-radius: 22px;
  font-size: 13px; overflow-wrap: anywhere }
.reason[aria-pressed=true] { background: var(--accent); border-color: var(--accent); color: var(--on) }
label { display: flex; justify-content: space-between; font-size: 13px; color: var(--quiet); margin-bottom: 4px }
textarea { display: block; width: 100%; min-height: 58px; max-height: 50vh; padding: 8px 10px; resize: vertical;
  border: 1px solid var(--control); border-radius: var(--radius); background: var(--surface); field-sizing: content }
[aria-invalid=true] { border-color: var(--bad); box-shadow: 0 0 0 1px var(--bad) }
.error { margin: 6px 0 0; font-size: 13px; color: var(--bad); overflow-wrap: anywhere }
.actions { display: flex; flex-wrap: wrap; align-items: center; gap: 8px; margin-top: 10px }
.actions .status { margin: 0 }
.send { display: inline-flex; align-items: center; gap: 8px; min-height: 36px; padding: 0 16px;
  border-radius: var(--radius); background: var(--accent); color: var(--on); font-weight: 600 }
.send[aria-disabled=true] { opacity: .75 }
.spin { width: 14px; height: 14px; border: 2px solid; border-top-color: #0000; border-radius: 50% }
.reply { margin-top: 6px; padding: 10px 12px; max-width: 480px; max-height: 40vh; overflow: auto;
  border-radius: var(--radius); background: var(--sunken); font-size: 13px; overflow-wrap: anywhere;
  white-space: pre-line; unicode-bidi: isolate }
.reply:empty { display: none }
@media (max-width: 720px), (pointer: coarse) {
  .reason, .send { min-height: 44px }
}
@media (prefers-reduced-motion: no-preference) {
  .panel { animation: open .18s ease-out }
  .spin { animation: spin 1s linear infinite }
}
@media (forced-colors: active) {
  .thumb::before, .reason { border: 1px solid ButtonBorder }
  [aria-pressed=true]::before, .reason[aria-pressed=true] { forced-color-adjust: none; background: Highlight;
    color: HighlightText }
  .thumb[aria-pressed=true] { forced-color-adjust: none; color: HighlightText }
}
@keyframes open {
  from { opacity: 0; translate: 0 -4px }
}
@keyframes spin {
  to { rotate: 1turn }
}
`;
