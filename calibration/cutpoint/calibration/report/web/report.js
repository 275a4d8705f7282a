// One bundle. The costs are those of the policy: docs/adaptation.md.

const unique = (values) => [...new Set(values)];
const PLACES = unique(DATA.points.map((p) => p.place));
const CODECS = unique(DATA.points.map((p) => p.codec));
const PRECISIONS = unique(DATA.points.map((p) => p.precision));
const placeColour = (p) => colour(PLACES.indexOf(p.place));
const codecShape = (p) => SHAPES[CODECS.indexOf(p.codec) % SHAPES.length];
DATA.points.forEach((p, number) => { p.number = number; p.local = p.wire === 0; });

const state = {
  // The calibrating machine is no device: begin with one that was profiled, or an estimate.
  device: DATA.devices.length > 1 ? 1 : 0, scale: 1, rtt: 50, drop: 1, rate: 4e6, radio: "lte",
  places: new Set(PLACES), codecs: new Set(CODECS), precisions: new Set(PRECISIONS),
};

// -- costs -----------------------------------------------------------------------------------------------------------

const deviceMs = (p) => DATA.devices[state.device].ms[p.number] * state.scale;

// Milliseconds at an uplink of `up` bit/s.
function latency(p, up) {
  if (p.local) return deviceMs(p);
  const link = (p.wire * 8e3) / up + state.rtt + DATA.overhead_ms + (DATA.answer_bytes * 8e3) / (up * DATA.downlink);
  return deviceMs(p) + link + p.server_ms;
}

// Millijoule of the device.
function energy(p, up) {
  const compute = DATA.devices[state.device].mj[p.number] * state.scale;
  if (p.local) return compute;
  const [base, slope, downBase, downSlope] = DATA.radios[state.radio];
  const sent = p.wire * 8e-6 * ((base * 1e6) / up + slope);
  return compute + sent + DATA.answer_bytes * 8e-6 * ((downBase * 1e6) / (up * DATA.downlink) + downSlope);
}

const visible = () => DATA.points.filter((p) => state.places.has(p.place) && state.codecs.has(p.codec) && state.precisions.has(p.precision));
const accurate = () => visible().filter((p) => p.metric >= DATA.uncut - state.drop / 100 - 1e-9);

// The fastest point at each rate, from the highest rate to the lowest: [{point, high, low}].
function stretches(points) {
  if (!points.length) return [];
  const [first, last] = [1 / DATA.highest, 1 / DATA.lowest];
  const slope = (p) => (latency(p, DATA.lowest) - latency(p, DATA.highest)) / (last - first);
  const lines = points.map((p) => ({ point: p, slope: slope(p), start: latency(p, DATA.highest) - slope(p) * first }));
  const found = [];
  let at = first;
  let now = lines.reduce((a, b) => (b.start + b.slope * at < a.start + a.slope * at ? b : a));
  for (;;) {
    let next = null, nearest = Infinity;
    for (const line of lines) {
      if (line.slope >= now.slope - 1e-9) continue;
      const crossing = (line.start - now.start) / (now.slope - line.slope);
      if (crossing >= at && (crossing < nearest || (crossing === nearest && line.slope < next.slope))) [next, nearest] = [line, crossing];
    }
    found.push({ point: now.point, high: 1 / at, low: 1 / Math.min(nearest, last) });
    if (nearest >= last) return found;
    [now, at] = [next, nearest];
  }
}

// Those that no other beats in both; `x` is to be small, `y` large.
function pareto(points, x, y) {
  let best = -Infinity;
  return [...points].sort((a, b) => x(a) - x(b) || y(b) - y(a)).filter((p) => y(p) > best && ((best = y(p)), true));
}

function describe(p) {
  const lines = [p.label ? `${p.id} at ${p.label}` : p.id, `${DATA.metric} ${percent(p.metric)}`];
  if (!p.local) lines.push(`${bytes(p.bytes)} (95th percentile ${bytes(p.bytes_p95)})`);
  const memory = DATA.devices[state.device].memory[p.number];
  if (memory) lines.push(`${bytes(memory)} of memory on the device`);
  lines.push(`device ${round(deviceMs(p))} ms${p.local ? "" : `, server ${round(p.server_ms)} ms`}`);
  lines.push(`${round(latency(p, state.rate))} ms and ${round(energy(p, state.rate))} mJ at ${rate(state.rate)}`);
  return lines.join("\n");
}

// -- plots -----------------------------------------------------------------------------------------------------------

const keys = () => [
  ...PLACES.filter((place) => state.places.has(place)).map((place) => ({ name: place, fill: colour(PLACES.indexOf(place)) })),
  ...CODECS.filter((codec) => codec !== "none" && state.codecs.has(codec)).map((codec) => ({ name: codec, shape: SHAPES[CODECS.indexOf(codec) % SHAPES.length], fill: "var(--soft)" })),
];

function accuracyPlot() {
  const points = visible().filter((p) => !p.local && p.bytes > 0);
  const about = `One mark a point; the line joins those that no other beats. Dashed: the uncut model, ${percent(DATA.uncut)}.`;
  if (!points.length) return card("accuracy", "Accuracy and bytes", "No point that sends anything is selected.");
  const metrics = points.map((p) => p.metric);
  const top = Math.max(DATA.uncut, ...metrics);
  const low = Math.max(Math.min(...metrics), top - 0.3);
  const plot = new Plot("accuracy over bytes",
    { range: stretched(span(points.map((p) => p.bytes))), log: true, title: "payload", format: bytes },
    { range: padded([low, top]), title: DATA.metric, format: percent });
  plot.line([[...stretched(span(points.map((p) => p.bytes)))].map((x) => [x, DATA.uncut])].flat(), { stroke: "var(--soft)", "stroke-dasharray": "4 4", "stroke-width": 1 });
  const inside = points.filter((p) => p.metric >= low);
  plot.line(pareto(inside, (p) => p.bytes, (p) => p.metric).map((p) => [p.bytes, p.metric]), { stroke: "var(--soft)", "stroke-width": 1.2 });
  for (const p of inside) plot.mark(p.bytes, p.metric, codecShape(p), placeColour(p), () => describe(p), { "data-point": p.id });
  const cut = points.length - inside.length;
  return card("accuracy", "Accuracy and bytes", about + (cut ? ` ${cut} more points lie below.` : ""), plot.svg, legend(keys()));
}

function latencyPlot() {
  const points = accurate();
  const about = `The fastest point at each uplink rate within ${state.drop} % of the uncut model, and where another takes over.`;
  if (!points.length) return card("latency", "Latency and uplink rate", "No selected point is accurate enough.");
  const parts = stretches(points);
  const local = points.filter((p) => p.local);
  const alone = local.length ? Math.min(...local.map((p) => latency(p, 1e9))) : null;
  const every = parts.flatMap((s) => [latency(s.point, s.low), latency(s.point, s.high)]);
  const range = stretched(span(alone === null ? every : [...every, alone]), 1.5);
  if (range[1] / range[0] > 1e4) range[1] = range[0] * 1e4;
  const plot = new Plot("latency over uplink rate",
    { range: [DATA.lowest, DATA.highest], log: true, title: "uplink", format: rate },
    { range, log: true, title: "ms" });
  const clip = (value) => Math.min(Math.max(value, range[0]), range[1]);
  const curve = (p, low, high) => Array.from({ length: 41 }, (_, i) => { const up = high * (low / high) ** (i / 40); return [up, clip(latency(p, up))]; });
  for (const p of unique(parts.map((s) => s.point)))
    plot.line(curve(p, DATA.lowest, DATA.highest).filter(([, y]) => y < range[1]), { stroke: placeColour(p), "stroke-width": 1, "stroke-opacity": 0.35 });
  if (alone !== null) plot.line([[DATA.lowest, alone], [DATA.highest, alone]], { stroke: "var(--soft)", "stroke-dasharray": "4 4", "stroke-width": 1 });
  plot.line([[state.rate, range[0]], [state.rate, range[1]]], { stroke: "var(--accent)", "stroke-width": 1, "stroke-dasharray": "2 3" });
  for (const s of parts) {
    const element = draw("polyline", { points: curve(s.point, s.low, s.high).map(([x, y]) => `${plot.x(x)},${plot.y(y)}`).join(" "), fill: "none", stroke: placeColour(s.point), "stroke-width": 4, "stroke-linecap": "round", class: "stretch", "data-point": s.point.id });
    plot.add(element, () => `${describe(s.point)}\nfastest from ${rate(s.low)} to ${rate(s.high)}`);
  }
  parts.slice(0, -1).forEach((s, i) => plot.mark(s.low, clip(latency(s.point, s.low)), "circle", "var(--card)",
    () => `${rate(s.low)}\nabove: ${s.point.id}\nbelow: ${parts[i + 1].point.id}`, { stroke: "var(--ink)", "stroke-width": 1.6, "fill-opacity": 1, "data-switch": s.low }));
  const rows = table(parts, [
    { title: "from", value: (s) => s.low, show: (s) => rate(s.low) },
    { title: "to", value: (s) => s.high, show: (s) => rate(s.high) },
    { title: "fastest point", text: true, value: (s) => s.point.id },
    { title: "ms at the lower end", value: (s) => latency(s.point, s.low), show: (s) => round(latency(s.point, s.low)) },
  ]);
  return card("latency", "Latency and uplink rate", `${about} Dashed: the device alone.`, plot.svg, legend(unique(parts.map((s) => s.point.place)).map((name) => ({ name, fill: colour(PLACES.indexOf(name)) }))), rows);
}

function energyPlot() {
  const points = accurate();
  const about = `At ${rate(state.rate)} (${state.radio}), within ${state.drop} %: energy of the device, radio included, and latency.`;
  if (!points.length) return card("energy", "Energy and latency", "No selected point is accurate enough.");
  const x = (p) => latency(p, state.rate), y = (p) => energy(p, state.rate);
  const plot = new Plot("energy over latency",
    { range: stretched(span(points.map(x)), 1.2), log: true, title: "ms" },
    { range: stretched(span(points.map(y)), 1.2), log: true, title: "mJ" });
  plot.line(pareto(points, x, (p) => -y(p)).map((p) => [x(p), y(p)]), { stroke: "var(--soft)", "stroke-width": 1.2 });
  for (const p of points) plot.mark(x(p), y(p), codecShape(p), placeColour(p), () => describe(p), { "data-point": p.id });
  return card("energy", "Energy and latency", about, plot.svg, legend(keys()));
}

function cutsPlot() {
  const cuts = DATA.cuts;
  if (!cuts.length) return null;
  const about = "Bytes that would cross each boundary, uncompressed (bars, left axis, logarithmic), and the time of the device up to it (line, right). Filled: kept. Green: natural bottlenecks, fewer numbers than the input has.";
  const plot = new Plot("bytes and time of every cut",
    { range: [-0.5, cuts.length - 0.5], title: "boundaries in the order of computation", at: [] },
    { range: stretched(span(cuts.map((c) => c.bytes || 1)), 1.6), log: true, title: "bytes", format: bytes }, { right: 58, height: 320 });
  const width = Math.max(1, Math.min(26, ((plot.right - plot.left) / cuts.length) * 0.72));
  cuts.forEach((c, i) => {
    const top = plot.y(Math.max(c.bytes, 1)), ink = c.bottleneck ? "var(--c2)" : "var(--c8)";
    const bar = draw("rect", { class: "mark cut", x: plot.x(i) - width / 2, y: top, width, height: Math.max(1, plot.bottom - top), rx: 1, fill: ink, "fill-opacity": c.kept ? 0.95 : 0.35, "data-cut": c.label });
    const ms = [["measured", c.measured_ms], ["predicted", c.predicted_ms]].filter(([, value]) => value !== null).map(([name, value]) => `${name} ${round(value)} ms`);
    plot.add(bar, [c.label, bytes(c.bytes), !c.macs ? null : `${round(c.macs / 1e6)} MMAC`, ...ms, c.bottleneck ? "a natural bottleneck" : null, c.kept ? "kept" : "not kept", c.reason || null].filter(Boolean).join("\n"));
  });
  const times = cuts.flatMap((c) => [c.measured_ms, c.predicted_ms]).filter((value) => value !== null);
  if (times.length) {
    const right = plot.scale({ range: [0, Math.max(...times) * 1.1] }, plot.bottom, plot.top);
    for (const tick of steps([0, Math.max(...times) * 1.1])) plot.text(plot.right + 6, right(tick) + 4, round(tick));
    plot.text(0, 0, "ms", { transform: `translate(${plot.width - 12} ${(plot.top + plot.bottom) / 2}) rotate(-90)`, "text-anchor": "middle" });
    const known = (key) => cuts.map((c, i) => [i, c[key]]).filter(([, value]) => value !== null);
    const path = (key, attributes) => plot.svg.append(draw("polyline", { points: known(key).map(([i, value]) => `${plot.x(i)},${right(value)}`).join(" "), fill: "none", "stroke-width": 1.6, ...attributes }));
    path("predicted_ms", { stroke: "var(--c1)", "stroke-dasharray": "4 3" });
    path("measured_ms", { stroke: "var(--c3)" });
    for (const [i, value] of known("measured_ms")) plot.add(draw("circle", { class: "mark", cx: plot.x(i), cy: right(value), r: 3.4, fill: "var(--c3)" }), `${cuts[i].label}\n${round(value)} ms measured`);
  }
  return card("cuts", "Where one could cut", about, plot.svg, legend([
    { name: "natural bottleneck", shape: "square", fill: "var(--c2)" }, { name: "no bottleneck", shape: "square", fill: "var(--c8)" },
    { name: "measured ms", fill: "var(--c3)" }, { name: "predicted ms", fill: "var(--c1)" }]));
}

// Curves whose names differ in a number only share a plot: one for each level.
function lossPlots() {
  return DATA.losses.map(({ name, series }) => {
    const groups = new Map();
    for (const [title, values] of Object.entries(series)) {
      const known = values.map((value, i) => [i, value]).filter(([, value]) => value !== null && isFinite(value));
      const stem = title.replace(/[\d ]+$/, "") || title;
      if (known.length > 1) groups.set(stem, [...(groups.get(stem) ?? []), { title, known }]);
    }
    const plots = [...groups].map(([stem, curves]) => {
      const range = span(curves.flatMap(({ known }) => known.map(([, value]) => value)));
      const log = range[0] > 0 && range[1] / range[0] > 20;
      const plot = new Plot(`${name}: ${stem}`, { range: [0, Math.max(...curves.map(({ known }) => known.at(-1)[0]))], title: "recorded step" },
        { range: log ? stretched(range, 1.1) : padded(range), log, title: stem }, { height: 200 });
      curves.forEach(({ title, known }, i) => {
        const points = known.map(([x, y]) => `${plot.x(x).toFixed(1)},${plot.y(y).toFixed(1)}`).join(" ");
        plot.add(draw("polyline", { class: "loss", points, fill: "none", stroke: colour(i), "stroke-width": 1.4 }), `${title}: ${round(known[0][1])} → ${round(known.at(-1)[1])}`);
      });
      return plot.svg;
    });
    return card(`loss-${name}`, `Training of ${name}`, "What was recorded while the codec was trained; a line for each level.", ...plots);
  });
}

// -- tables ----------------------------------------------------------------------------------------------------------

function pointTable() {
  const points = visible();
  const number = (title, value, show) => ({ title, value, show: (p) => show(value(p)) });
  const best = new Set(stretches(accurate()).map((s) => s.point));
  return card("points", `Points (${points.length} of ${DATA.points.length})`, "A click on a title sorts. Bold: the fastest at some rate.", table(points, [
    { title: "point", value: (p) => p.id },
    number(DATA.metric, (p) => p.metric, percent),
    number("bytes", (p) => p.bytes, bytes),
    number("95th percentile", (p) => p.bytes_p95, bytes),
    number("device ms", deviceMs, round),
    number("memory", (p) => DATA.devices[state.device].memory[p.number] ?? null, (value) => (value === null ? "–" : bytes(value))),
    number("server ms", (p) => p.server_ms, round),
    number(`ms at ${rate(state.rate)}`, (p) => latency(p, state.rate), round),
    number(`mJ at ${rate(state.rate)}`, (p) => energy(p, state.rate), round),
  ], { best: (p) => best.has(p) }));
}

function trialTable() {
  if (!DATA.trials.length) return null;
  return card("trials", `Rejected (${DATA.trials.length})`, "What was tried and not kept, and why.", table(DATA.trials, [
    { title: "trial", value: (t) => t.id },
    { title: DATA.metric, value: (t) => t.metric, show: (t) => percent(t.metric) },
    { title: "bytes", value: (t) => t.bytes, show: (t) => (t.bytes === null ? "–" : bytes(t.bytes)) },
    { title: "dropped at", text: true, value: (t) => t.stage },
    { title: "reason", text: true, value: (t) => t.reason },
  ]));
}

function searchTable() {
  const rows = [...Object.entries(DATA.search), ...DATA.notes.map((note) => ["note", note])];
  return rows.length ? card("search", "The search", "What was asked for, and what it took.", table(rows, [{ title: "", value: ([key]) => key }, { title: "", text: true, value: ([, value]) => value }])) : null;
}

// -- the page --------------------------------------------------------------------------------------------------------

function chips(name, values, chosen) {
  if (values.length < 2) return null;
  const box = make("span", { class: "set" }, name);
  for (const value of values) {
    const chip = make("button", { class: "chip", "data-filter": `${name}:${value}`, "aria-pressed": "true", onclick: () => {
      if (chosen.has(value)) chosen.delete(value); else chosen.add(value);
      chip.setAttribute("aria-pressed", chosen.has(value));
      render();
    } }, value);
    box.append(chip);
  }
  return box;
}

function field(title, key, attributes, parse = Number) {
  const input = make("input", { type: "number", id: key, value: state[key], ...attributes, oninput: () => {
    const value = parse(input.value);
    if (isFinite(value) && value >= Number(attributes.min ?? -Infinity)) { state[key] = value; render(); }
  } });
  return make("label", {}, title, input);
}

function choice(title, key, options, parse = (value) => value) {
  const select = make("select", { id: key, onchange: () => { state[key] = parse(select.value); render(); } },
    ...options.map(([value, name]) => make("option", { value, selected: value === state[key] }, name)));
  return make("label", {}, title, select);
}

function rateSlider() {
  const shown = make("span", {}, rate(state.rate));
  const slider = make("input", { type: "range", id: "rate", min: Math.log10(DATA.lowest), max: Math.log10(DATA.highest), step: 0.01, value: Math.log10(state.rate), oninput: () => {
    state.rate = 10 ** Number(slider.value);
    shown.textContent = rate(state.rate);
    render();
  } });
  return make("label", {}, "uplink", slider, shown);
}

const plots = make("div", { class: "grid" });

function render() {
  tip.hidden = true;
  deviceAbout.textContent = state.device ? DATA.devices[state.device].about : "";
  const wide = (section) => { section?.classList.add("wide"); return section; };
  plots.replaceChildren(...[accuracyPlot(), latencyPlot(), cutsPlot(), energyPlot(), ...lossPlots(), wide(pointTable()), wide(trialTable()), wide(searchTable())].filter(Boolean));
}

const deviceAbout = make("span", {});
const devices = DATA.devices.map((d, i) => [i, d.estimate ? `${d.name} (estimate)` : d.name]);
const hash = DATA.hash ? ` · bundle ${DATA.hash.slice(0, 12)}` : "";
document.getElementById("main").append(
  make("header", {},
    make("div", {}, make("h1", {}, DATA.name), make("p", {}, `${DATA.metric} of the uncut model ${percent(DATA.uncut)} on ${DATA.samples} samples · ${DATA.points.length} points · measured on ${DATA.measured_on || "an unnamed machine"} · ${DATA.created_by}${hash}`)),
    themeButton()),
  make("section", { class: "controls" },
    choice("device", "device", devices, Number), deviceAbout, field("times slower", "scale", { min: 0.01, step: "any" }),
    field("accuracy drop %", "drop", { min: 0, step: 0.5 }), field("round trip ms", "rtt", { min: 0, step: 5 }),
    rateSlider(), choice("radio", "radio", Object.keys(DATA.radios).map((name) => [name, name])),
    chips("cut", PLACES, state.places), chips("codec", CODECS, state.codecs), chips("precision", PRECISIONS, state.precisions)),
  plots);
render();
