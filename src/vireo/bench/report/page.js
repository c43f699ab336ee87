function drawControls() {
  const clips = data.clips.map((clip, i) => [i, clip.name]);
  fill(byId("clip"), clips.length > 1 ? [[AVERAGE, "average over clips"], ...clips] : clips, state.clip);
  fill(byId("detail-clip"), clips, state.detail);
  fill(byId("measure"), data.measures.map((m) => [m.name, m.title]), state.measure);
  fill(byId("anchor"), data.codecs.map((codec, i) => [i, codec.label]), state.anchor);
  byId("measure-note").textContent = measureOf(state.measure).explanation;
  choice(byId("rate"), Object.entries(RATES).map(([key, { title }]) => [key, title]), state.rate, (v) => set({ rate: v }));
  choice(byId("clock"), CLOCKS, state.clock, (v) => set({ clock: v }));
  choice(byId("split"), [["parts", "By part"], ["types", "By frame type"]], state.split, (v) => set({ split: v }));
  choice(byId("level"), data.levels[state.detail].map((level, i) => [i, `near ${rateText(level)}`]), state.level, (v) => set({ level: v }));
  drawChips();
}

/** A level's rate in the unit chosen. */
function rateText(level) {
  const example = data.points[level.points[0]];
  return RATES[state.rate].text({ bpp: level.bpp, kbps: (level.bpp * example.kbps) / example.bpp });
}

function makeChips() {
  const chips = data.codecs.map((codec, i) => {
    const chip = element("button", "", { type: "button" });
    chip.innerHTML = mark(i);
    chip.append(element("span", codec.label));
    chip.addEventListener("click", () => {
      const off = new Set(state.off);
      if (!off.delete(i)) off.add(i);
      set({ off });
    });
    chip.addEventListener("dblclick", () => {
      const others = [...data.codecs.keys()].filter((j) => j !== i);
      set({ off: new Set(others.every((j) => state.off.has(j)) ? [] : others) });
    });
    chip.title = "Click to switch, double-click for this codec alone";
    return chip;
  });
  const all = element("button", "", { type: "button", class: "plain" });
  all.addEventListener("click", () => {
    set({ off: state.off.size ? new Set() : new Set(data.codecs.keys()) });
  });
  byId("chips").replaceChildren(...chips, all);
}

function drawChips() {
  const chips = [...byId("chips").children];
  chips.pop().textContent = state.off.size ? "all" : "none";
  chips.forEach((chip, i) => chip.setAttribute("aria-pressed", String(!state.off.has(i))));
}

function set(changes) {
  Object.assign(state, changes);
  if (!data.levels[state.detail][state.level]) state.level = 0;
  drawAll();
}

function drawAll() {
  drawControls();
  drawCurves();
  drawTimes();
  drawMatrix();
  drawFrames();
  drawBytes();
  viewer.update();
}

byId("clip").addEventListener("change", (event) => {
  const clip = Number(event.target.value);
  set(clip === AVERAGE ? { clip } : { clip, detail: clip });
});
byId("detail-clip").addEventListener("change", (event) => {
  const detail = Number(event.target.value);
  set(state.clip === AVERAGE ? { detail } : { detail, clip: detail });
});
byId("measure").addEventListener("change", (event) => set({ measure: event.target.value }));
byId("anchor").addEventListener("change", (event) => set({ anchor: Number(event.target.value) }));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
addEventListener("resize", drawTimes); // its names are placed by pixels
followTips(byId("matrix"));
state.level = Math.floor(data.levels[state.detail].length / 2);
viewer.start();
makeChips();
drawAll();
