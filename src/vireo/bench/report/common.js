"use strict";

/** What the page shows (see page.py) and what the reader has chosen. */
const data = JSON.parse(document.getElementById("data").textContent);
const AVERAGE = -1;
const state = {
  clip: data.clips.length > 1 ? AVERAGE : 0,
  detail: 0,
  level: 0,
  measure: data.measure,
  rate: "bpp",
  anchor: data.anchor,
  clock: "encode cpu",
  split: "parts",
  off: new Set(),
};

const byId = (id) => document.getElementById(id);
const measureOf = (name) => data.measures.find((m) => m.name === name);
const shownCodecs = () => data.codecs.map((_, i) => i).filter((i) => !state.off.has(i));
const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
const plural = (n, noun) => `${n} ${noun}${n === 1 ? "" : "s"}`;

/** Points of each clip and codec, by rising rate. */
const pointsOf = (() => {
  const table = data.clips.map(() => data.codecs.map(() => []));
  data.points.forEach((point, index) => table[point.clip][point.codec].push({ ...point, index }));
  table.forEach((row) => row.forEach((points) => points.sort((a, b) => a.bpp - b.bpp)));
  return (clip, codec) => table[clip][codec];
})();

/** A number with a true minus sign and separators of thousands. */
function number(value, digits) {
  return value
    .toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits })
    .replace("-", "−");
}
const significant = (value, digits = 3) =>
  number(value, Math.max(0, digits - 1 - Math.floor(Math.log10(Math.abs(value) || 1))));
const signed = (value, digits) => (value > 0 ? "+" : "") + number(value, digits);
const quality = (value, measure) => {
  const { unit } = measureOf(measure);
  if (value === null) return "–";
  return number(value, value > 2 ? 2 : 4) + (unit ? ` ${unit}` : "");
};
function seconds(value) {
  if (value < 0.1) return `${significant(value * 1000, 2)} ms`;
  if (value < 120) return `${significant(value, 3)} s`;
  return value < 7200 ? `${number(value / 60, 1)} min` : `${number(value / 3600, 1)} h`;
}
const RATES = {
  bpp: { title: "bits per pixel", of: (p) => p.bpp, text: (p) => `${significant(p.bpp)} bpp` },
  kbps: { title: "kbit/s", of: (p) => p.kbps, text: (p) => `${significant(p.kbps)} kbit/s` },
};

/** A custom property of the style sheet, as it is in the reader's colour scheme. */
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// 8 colours by 7 shapes: 56 codecs before a pair repeats; lines of the same colour differ in dash.
const SHAPES = ["circle", "square", "diamond", "triangle-up", "cross", "triangle-down", "x"];
const PATHS = [
  "M7 6a4 4 0 1 0 8 0a4 4 0 1 0-8 0", "M7.5 2.5h7v7h-7z", "M11 1l5 5l-5 5l-5-5z",
  "M11 1.5l4.6 8h-9.2z", "M9.5 2h3v2.5h2.5v3h-2.5v2.5h-3v-2.5h-2.5v-3h2.5z",
  "M11 10.5l4.6-8h-9.2z", "M8.5 1.5l2.5 2.5l2.5-2.5l2 2l-2.5 2.5l2.5 2.5l-2 2l-2.5-2.5l-2.5 2.5l-2-2l2.5-2.5l-2.5-2.5z",
];
const DASHES = ["solid", "dash", "dot"];
const DASH_ARRAYS = ["none", "5 3", "1.5 2.5"];
function style(codec) {
  const dash = Math.floor(codec / 8) % DASHES.length;
  return {
    color: css(`--c${codec % 8}`),
    variable: `var(--c${codec % 8})`,
    symbol: SHAPES[codec % 7],
    path: PATHS[codec % 7],
    dash: DASHES[dash],
    dashArray: DASH_ARRAYS[dash],
  };
}
function mark(codec) {
  const s = style(codec);
  return `<svg viewBox="0 0 22 12" aria-hidden="true"><path d="M0 6h22" stroke="${s.variable}" ` +
    `stroke-width="2" stroke-dasharray="${s.dashArray}"/><path d="${s.path}" fill="${s.variable}"/></svg>`;
}

/** An element with text and attributes. */
function element(tag, text = "", attributes = {}) {
  const made = document.createElement(tag);
  made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

/** Fill a select with [value, text, disabled] and keep `value` chosen. */
function fill(select, options, value) {
  select.replaceChildren(
    ...options.map(([key, text, disabled]) => {
      const option = element("option", text, { value: key });
      option.disabled = Boolean(disabled);
      return option;
    }),
  );
  select.value = value;
}

/** A row of buttons of which one is pressed; those that are there stay, and keep the focus. */
function choice(root, options, value, choose) {
  while (root.children.length > options.length) root.lastChild.remove();
  options.forEach(([key, text], i) => {
    const button = root.children[i] ?? root.appendChild(element("button", "", { type: "button" }));
    button.textContent = text;
    button.dataset.value = key;
    button.setAttribute("aria-pressed", String(key === value));
    button.onclick = () => choose(key);
  });
}

/** Text beside the pointer, or the focused element, for what has `data-tip`. */
function followTips(root) {
  const tip = byId("tip");
  const show = (event) => {
    const target = event.target.closest("[data-tip]");
    tip.hidden = !target;
    if (!target) return;
    tip.textContent = target.dataset.tip;
    const box = target.getBoundingClientRect();
    const left = Math.min(box.left, innerWidth - tip.offsetWidth - 12);
    const below = box.bottom + 6 + tip.offsetHeight < innerHeight;
    tip.style.left = `${Math.max(8, left)}px`;
    tip.style.top = `${below ? box.bottom + 6 : box.top - tip.offsetHeight - 6}px`;
  };
  root.addEventListener("pointerover", show);
  root.addEventListener("focusin", show);
  for (const end of ["pointerleave", "focusout"]) root.addEventListener(end, () => (tip.hidden = true));
}
