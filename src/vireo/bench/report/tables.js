/** The BD-rate of each codec (rows) against each (columns), on a clip or on average. */
function drawMatrix() {
  const comparison = data.bd_rates[state.measure];
  const averaged = state.clip === AVERAGE;
  const cells = averaged ? comparison.mean : comparison.clips[state.clip];
  const codecs = shownCodecs();
  const head = document.createElement("tr");
  head.append(element("th", "Codec ↓  Anchor →"), ...codecs.map((c) => element("th", data.codecs[c].label, { scope: "col" })));
  const rows = codecs.map((test) => {
    const row = document.createElement("tr");
    const name = element("th", "", { scope: "row", class: "mark" });
    name.innerHTML = mark(test);
    name.append(data.codecs[test].label);
    row.append(name, ...codecs.map((anchor) => matrixCell(cells, test, anchor, averaged)));
    return row;
  });
  const table = byId("matrix");
  table.classList.toggle("many", codecs.length > 9);
  const thead = document.createElement("thead"), tbody = document.createElement("tbody");
  thead.append(head);
  tbody.append(...rows);
  table.replaceChildren(thead, tbody);
  byId("matrix-about").textContent =
    `Per cent of bits at equal ${measureOf(state.measure).title}, ` +
    (averaged ? "mean over clips" : data.clips[state.clip].name) +
    "; negative needs fewer bits than the anchor of its column.";
}

function matrixCell(cells, test, anchor, averaged) {
  if (test === anchor) return element("td", "", { class: "self" });
  const cell = cells[test][anchor];
  const pair = `${data.codecs[test].label} against ${data.codecs[anchor].label}`;
  if (!cell || cell.value === null) {
    const reasons = !cell ? "not both have points" : averaged ? counted(cell.refusals) : cell.refusal;
    return element("td", "–", { class: "none", tabindex: "0", "data-tip": `${pair}\n${reasons}` });
  }
  const refused = averaged ? Object.values(cell.refusals).reduce((a, b) => a + b, 0) : 0;
  const detail = averaged
    ? `mean over ${plural(cell.clips, "clip")}` + (refused ? `\nleft out: ${counted(cell.refusals)}` : "")
    : `over ${number(100 * cell.overlap, 0)} % of the curves' range of quality`;
  const td = element("td", signed(cell.value, Math.abs(cell.value) < 99.95 ? 1 : 0), {
    tabindex: "0", "data-tip": `${pair}: ${signed(cell.value, 2)} %\n${detail}`,
  });
  if (refused) td.append(element("small", `${cell.clips}/${cell.clips + refused}`));
  const strength = Math.min(1, Math.abs(cell.value) / 60) ** 0.8 * 0.55;
  td.style.background = `rgba(var(--${cell.value < 0 ? "good" : "bad"}), ${strength.toFixed(3)})`;
  return td;
}

const counted = (refusals) =>
  Object.entries(refusals).map(([reason, count]) => `${reason} (${plural(count, "clip")})`).join("; ");
