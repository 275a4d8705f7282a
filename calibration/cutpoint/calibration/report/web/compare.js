// Two bundles side by side.

const PAIR = [DATA.a, DATA.b];
const INKS = [colour(0), colour(1)];
const title = (i) => `${"AB"[i]}: ${PAIR[i].name}`;

function front(points) {
  let best = -Infinity;
  return points.filter((p) => p.wire > 0).sort((a, b) => a.bytes - b.bytes || b.metric - a.metric).filter((p) => p.metric > best && ((best = p.metric), true));
}

function accuracyPlot() {
  const every = PAIR.flatMap((view) => view.points.filter((p) => p.wire > 0));
  if (!every.length) return card("accuracy", "Accuracy and bytes", "No point sends anything.");
  const top = Math.max(...every.map((p) => p.metric), ...PAIR.map((view) => view.uncut));
  const low = Math.max(Math.min(...every.map((p) => p.metric)), top - 0.3);
  const range = stretched(span(every.map((p) => p.bytes)));
  const plot = new Plot("accuracy over bytes of both", { range, log: true, title: "payload", format: bytes }, { range: padded([low, top]), title: PAIR[0].metric, format: percent }, { height: 360 });
  PAIR.forEach((view, i) => {
    plot.line([[range[0], view.uncut], [range[1], view.uncut]], { stroke: INKS[i], "stroke-dasharray": "4 4", "stroke-width": 1 });
    plot.line(front(view.points).filter((p) => p.metric >= low).map((p) => [p.bytes, p.metric]), { stroke: INKS[i], "stroke-width": 2 });
    for (const p of view.points)
      if (p.wire > 0 && p.metric >= low) plot.mark(p.bytes, p.metric, SHAPES[i], INKS[i], `${title(i)}\n${p.id}\n${percent(p.metric)}, ${bytes(p.bytes)}`, { "data-bundle": "AB"[i], "fill-opacity": 0.55 });
  });
  return card("accuracy", "Accuracy and bytes", "Lines: the points that no other of the same bundle beats. Dashed: the uncut models.", plot.svg, legend(PAIR.map((_, i) => ({ name: title(i), shape: SHAPES[i], fill: INKS[i] }))));
}

const kind = (id, value) => (value === null ? "–" : `${bytes(value)} · ${id}`);
const ratio = (row) => (row.a_bytes && row.b_bytes ? row.b_bytes / row.a_bytes : null);

document.getElementById("main").append(
  make("header", {}, make("div", {}, make("h1", {}, `${title(0)} and ${title(1)}`),
    make("p", {}, `The fronts dominate ${percent(DATA.a_volume)} (A) and ${percent(DATA.b_volume)} (B) of the plane of ${PAIR[0].metric} and log bytes that both span.`)), themeButton()),
  make("div", { class: "grid" },
    accuracyPlot(),
    card("equal", "Bytes at equal accuracy", "The fewest bytes at which each bundle reaches a metric.", table(DATA.equal, [
      { title: "given up", value: (row) => row.drop, show: (row) => percent(row.drop) },
      { title: PAIR[0].metric, value: (row) => row.metric, show: (row) => percent(row.metric) },
      { title: "A", text: true, value: (row) => row.a_bytes, show: (row) => kind(row.a_point, row.a_bytes) },
      { title: "B", text: true, value: (row) => row.b_bytes, show: (row) => kind(row.b_point, row.b_bytes) },
      { title: "B / A", value: ratio, show: (row) => round(ratio(row)) },
    ])),
    ...["only_a", "only_b"].map((key, i) => DATA[key].length > 0 && card(key, `On the front of ${"AB"[i]} only (${DATA[key].length})`, "Points that the other bundle does not have.", table(DATA[key].map((id) => PAIR[i].points.find((p) => p.id === id)), [
      { title: "point", value: (p) => p.id }, { title: "metric", value: (p) => p.metric, show: (p) => percent(p.metric) }, { title: "bytes", value: (p) => p.bytes, show: (p) => bytes(p.bytes) }]))).filter(Boolean)));
