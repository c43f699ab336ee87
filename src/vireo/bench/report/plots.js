const CONFIG = {
  displaylogo: false,
  responsive: true,
  modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
  toImageButtonOptions: { format: "svg" },
};

function layout(extra) {
  const font = { family: getComputedStyle(document.body).fontFamily, size: 12.5, color: css("--ink") };
  return {
    font,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 62, r: 14, t: 14, b: 52 },
    showlegend: false,
    hoverlabel: { bgcolor: css("--raised"), bordercolor: css("--line"), font, align: "left" },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: css("--quiet"), activecolor: css("--ink") },
    ...extra,
  };
}
function axis(title, extra) {
  return {
    title: { text: title, standoff: 12, font: { size: 13, color: css("--quiet") } },
    gridcolor: css("--grid"),
    linecolor: css("--line"),
    tickcolor: css("--line"),
    zeroline: false,
    automargin: true,
    ...extra,
  };
}
function logAxis(title, values, extra) {
  const decades = Math.log10(Math.max(...values) / Math.min(...values));
  const ticks = decades > 0.8 ? { dtick: decades > 2.5 ? 1 : "D2" } : { nticks: 6 };
  return axis(title, { type: "log", ...ticks, tickformat: "~g",
    minor: { dtick: "D1", ticks: "outside", ticklen: 3, tickcolor: css("--line") }, ...extra });
}
const titled = ({ unit }, title) => title + (unit ? `, ${unit}` : "");
const allOf = (traces, name) => traces.flatMap((trace) => trace[name]);

function draw(id, traces, made, empty) {
  const root = byId(id);
  const message = root.querySelector(".empty");
  if (!traces.length) {
    Plotly.purge(root);
    root.replaceChildren(element("p", empty, { class: "empty" }));
    return;
  }
  if (message) message.remove();
  Plotly.react(root, traces, made, CONFIG);
}

function described(clip) {
  const { name, width, height, frames } = data.clips[clip];
  return `${name}: ${width}×${height}, ${plural(frames, "frame")}.`;
}

const measuredPoints = (clip, codec, measure) =>
  pointsOf(clip, codec).filter((point) => point.quality[measure] !== null);

/** Clips on which every codec shown has points. */
function commonClips(measure) {
  const clips = [...data.clips.keys()], codecs = shownCodecs();
  return clips.filter((clip) => codecs.every((codec) => measuredPoints(clip, codec, measure).length));
}

/** Mean rate and quality of each setting that every one of the clips has. */
function averagePoints(codec, clips, measure) {
  const [first, ...rest] = clips.map((clip) => measuredPoints(clip, codec, measure));
  const same = (first || []).map((p) => [p, ...rest.map((points) => points.find((q) => q.setting === p.setting))]);
  return same
    .filter((points) => points.every(Boolean))
    .map((points) => ({
      setting: points[0].setting,
      bpp: mean(points.map((p) => p.bpp)),
      kbps: mean(points.map((p) => p.kbps)),
      quality: { [measure]: mean(points.map((p) => p.quality[measure])) },
      bytes: mean(points.map((p) => p.size.video)),
      time: mean(points.map((p) => p.encode.wall)),
    }))
    .sort((a, b) => a.bpp - b.bpp);
}

function curvePoints(codec, clips) {
  if (state.clip === AVERAGE) return averagePoints(codec, clips, state.measure);
  return measuredPoints(state.clip, codec, state.measure)
    .map((p) => ({ ...p, bytes: p.size.video, time: p.encode.wall }));
}

function drawCurves() {
  const clips = commonClips(state.measure);
  const measure = measureOf(state.measure);
  const averaged = state.clip === AVERAGE;
  const traces = shownCodecs().map((codec) => {
    const points = curvePoints(codec, clips);
    const { color, symbol, dash } = style(codec);
    return {
      name: data.codecs[codec].label,
      x: points.map(RATES[state.rate].of),
      y: points.map((p) => p.quality[state.measure]),
      mode: "lines+markers",
      line: { color, dash, width: 2 },
      marker: { color, symbol, size: 8 },
      text: points.map((p) =>
        [
          `<b>${data.codecs[codec].label}</b>  ${p.setting}`,
          `${RATES.bpp.text(p)} · ${RATES.kbps.text(p)}`,
          quality(p.quality[state.measure], state.measure),
          `${number(p.bytes, 0)} bytes · encoded in ${seconds(p.time)}${averaged ? " (means)" : ""}`,
        ].join("<br>"),
      ),
      hovertemplate: "%{text}<extra></extra>",
    };
  }).filter((trace) => trace.x.length);
  byId("rd-about").textContent = averaged
    ? `Mean over the ${plural(clips.length, "clip")} that every codec shown has points on` +
      (clips.length < data.clips.length ? ` (of ${data.clips.length}).` : ".")
    : described(state.clip);
  draw("rd", traces, layout({
    hovermode: "closest",
    xaxis: logAxis(`Rate, ${RATES[state.rate].title}`, allOf(traces, "x")),
    yaxis: axis(titled(measure, measure.title)),
  }), averaged
    ? "No clip has points of every codec shown: switch codecs off, or choose a clip."
    : "No codec shown has points of this quality on this clip.");
}

const CLOCKS = [["encode cpu", "Encode, CPU"], ["encode wall", "Encode, wall"], ["decode cpu", "Decode, CPU"], ["decode wall", "Decode, wall"]];

function drawTimes() {
  const comparison = data.bd_rates[state.measure];
  const anchor = state.anchor;
  const traces = [];
  for (const codec of shownCodecs()) {
    const cell = codec === anchor ? null : comparison.mean[codec][anchor];
    const own = codec === anchor;
    if (!own && (!cell || cell.value === null || cell.times[state.clock] === null)) continue;
    const { color, symbol } = style(codec);
    const ratio = own ? 1 : cell.times[state.clock];
    const value = own ? 0 : cell.value;
    const label = data.codecs[codec].label;
    traces.push({
      name: label, x: [ratio], y: [value], mode: "markers",
      marker: { color, symbol, size: own ? 13 : 12, line: { width: own ? 2 : 0, color: css("--ink") } },
      text: [own ? `<b>${label}</b><br>the anchor` :
        `<b>${label}</b><br>${signed(value, 1)} % bits · ${significant(ratio)} × time<br>over ${plural(cell.clips, "clip")}`],
      hovertemplate: "%{text}<extra></extra>",
    });
  }
  byId("time-about").textContent =
    `Both against ${data.codecs[anchor].label}, over the clips with a BD-rate; down and left is better.`;
  const ratios = allOf(traces, "x");
  const xRange = padded(ratios.map(Math.log10), 0.08), yRange = padded(allOf(traces, "y"), 0.1);
  const root = byId("time");
  const box = { width: root.clientWidth - 90, height: root.clientHeight - 70 };
  const what = state.clock.startsWith("encode") ? "Encoding" : "Decoding";
  draw("time", traces, layout({
    hovermode: "closest",
    xaxis: logAxis(`${what} time, × the anchor's`, ratios, { range: xRange }),
    yaxis: axis("BD-rate, %", { range: yRange, zeroline: true, zerolinecolor: css("--line") }),
    annotations: pointNames(traces, xRange, yRange, box),
  }), "No codec shown has a BD-rate against this anchor.");
}

/** Names beside points, where there is room for them; `box` is the plot's size in pixels. */
function pointNames(traces, xRange, yRange, box) {
  const points = traces.map((trace) => ({
    trace,
    x: ((Math.log10(trace.x[0]) - xRange[0]) / (xRange[1] - xRange[0])) * box.width,
    y: ((yRange[1] - trace.y[0]) / (yRange[1] - yRange[0])) * box.height,
  }));
  const taken = points.map(({ x, y }) => [x - 8, y - 8, x + 8, y + 8]);
  const free = ([l, t, r, b]) =>
    l >= 0 && t >= 0 && r <= box.width && b <= box.height &&
    taken.every(([L, T, R, B]) => r <= L || R <= l || b <= T || B <= t);
  const names = [];
  for (const { trace, x, y } of points) {
    const wide = textWidth(trace.name) + 4;
    for (const [anchor, dx, dy] of [
      ["left", 11, 0], ["right", -11, 0], ["center", 0, -16], ["center", 0, 16],
      ["left", 8, -14], ["left", 8, 14], ["right", -8, -14], ["right", -8, 14],
    ]) {
      const left = x + dx - { left: 0, right: wide, center: wide / 2 }[anchor];
      const place = [left, y + dy - 8, left + wide, y + dy + 8];
      if (!free(place)) continue;
      taken.push(place);
      names.push({
        x: Math.log10(trace.x[0]), y: trace.y[0], text: trace.name, showarrow: false,
        xanchor: anchor, xshift: dx, yshift: -dy, font: { size: 12, color: css("--ink") },
        borderpad: 0, captureevents: false,
      });
      break;
    }
  }
  return names;
}

const textWidth = (() => {
  const context = document.createElement("canvas").getContext("2d");
  return (text) => {
    context.font = `12px ${getComputedStyle(document.body).fontFamily}`;
    return context.measureText(text).width;
  };
})();

/** A range around values, with some of its length to spare on both sides. */
function padded(values, spare) {
  const low = Math.min(...values), high = Math.max(...values);
  const margin = (high - low || 1) * spare;
  return [low - margin, high + margin];
}

/** Points at the chosen rate of the chosen clip, of the codecs shown. */
function levelPoints() {
  const level = data.levels[state.detail][state.level];
  return level ? level.points.filter((i) => !state.off.has(data.points[i].codec)) : [];
}

function drawFrames() {
  const points = levelPoints();
  const measure = measureOf(state.measure);
  const traces = points.flatMap((index) => {
    const { codec, setting } = data.points[index];
    const details = data.details[index];
    const { color, symbol, dash } = style(codec);
    const bits = details.bytes.map((size) => 8 * size);
    const common = {
      name: data.codecs[codec].label, x: [...bits.keys()], mode: "lines+markers",
      line: { color, dash, width: 1.5 }, marker: { color, symbol, size: 5 },
      customdata: details.types,
      hovertemplate: `<b>${data.codecs[codec].label}</b>  ${setting}<br>frame %{x}, %{customdata}: %{text}<extra></extra>`,
    };
    return [
      {
        ...common, y: details.quality[state.measure], yaxis: "y2",
        text: details.quality[state.measure].map((value) => quality(value, state.measure)),
      },
      { ...common, y: bits, text: bits.map((value) => `${number(value, 0)} bits`) },
    ];
  });
  byId("frames").style.height = `${Math.max(440, bytesHeight(points) + 60)}px`;
  byId("frames-about").textContent = "Quality of each frame by itself, and the bits of its coded frame, in display order.";
  draw("frames", traces, layout({
    hovermode: "closest",
    xaxis: axis("Frame", { anchor: "y", tickformat: "d" }),
    yaxis: logAxis("Bits", allOf(traces.filter((t) => !t.yaxis), "y"), { domain: [0, 0.47], tickformat: "~s" }),
    yaxis2: axis(titled(measure, measure.title.replace(/ \(.*\)$/, "")), { domain: [0.53, 1] }),
  }), "No codec shown has points on this clip.");
}

const CONTAINER = "container", REMARKS = "encoder's remarks";
const NEUTRAL = {
  "coded video": "--whole", "outside frames": "--outside", [CONTAINER]: "--rest", [REMARKS]: "--rest2",
};

const bytesHeight = (points) => 70 + Math.max(3, points.length) * 36;

function drawBytes() {
  const points = levelPoints().slice().reverse();
  const rows = points.map((index) => {
    const { size } = data.points[index];
    const details = data.details[index];
    const own = state.split === "parts" ? details.parts : details.by_type;
    return { ...own, [CONTAINER]: size.container, [REMARKS]: size.remarks };
  });
  const names = [...new Set(rows.flatMap(Object.keys))].filter((n) => n !== CONTAINER && n !== REMARKS);
  const labels = points.map((i) => data.codecs[data.points[i].codec].label);
  const settings = points.map((i) => data.points[i].setting);
  const counted = names.filter((name) => !(name in NEUTRAL));
  const property = (name) => NEUTRAL[name] ?? `--p${counted.indexOf(name) % 10}`;
  const traces = [...names, CONTAINER, REMARKS]
    .map((name) => ({
      type: "bar", orientation: "h", name, text: settings, textposition: "none",
      y: labels, x: rows.map((row) => (row[name] || 0) / 1000),
      marker: { color: css(property(name)), line: { width: 1, color: css("--ground") } },
      hovertemplate: `<b>%{y}</b>  %{text}<br>${name}: %{x:,.3~f} kB<extra></extra>`,
    }))
    .filter((trace) => trace.x.some((x) => x > 0));
  byId("bytes-legend").replaceChildren(
    ...traces.map(({ name }) => {
      const item = element("span", name);
      const swatch = element("i");
      swatch.style.background = `var(${property(name)})`;
      item.prepend(swatch);
      return item;
    }),
  );
  byId("bytes").style.height = `${bytesHeight(points)}px`;
  draw("bytes", points.length ? traces : [], layout({
    barmode: "stack",
    bargap: 0.35,
    xaxis: axis("kB"),
    yaxis: axis("", { ticksuffix: "  ", showgrid: false }),
  }), "No codec shown has points on this clip.");
}
