// Small helpers: elements, number formats, axes, marks, tables. No framework, no request.

const DATA = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";
const COLOURS = 10;
const SHAPES = ["circle", "square", "triangle", "diamond", "cross", "down", "plus"];

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  fill(element, attributes, children);
  return element;
}

function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  fill(element, attributes, children);
  return element;
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    // An attribute that is false is left out.
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children) if (child !== null && child !== undefined) element.append(child);
}

const colour = (number) => `var(--c${number % COLOURS})`;

// -- numbers ---------------------------------------------------------------------------------------------------------

function round(value, digits = 3) {
  if (value === null || value === undefined || !isFinite(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1000) return Math.round(value).toLocaleString("en");
  return String(Number(value.toPrecision(digits)));
}

function bytes(value) {
  if (value >= 1e6) return `${round(value / 1e6)} MB`;
  return value >= 1e4 ? `${round(value / 1e3)} kB` : `${round(value)} B`;
}

function rate(value) {
  if (value > 0.9995e9) return `${round(value / 1e9)} Gbit/s`;
  return value >= 1e6 ? `${round(value / 1e6)} Mbit/s` : `${round(value / 1e3)} kbit/s`;
}

const percent = (value) => (value === null ? "–" : `${(100 * value).toFixed(1)} %`);
const span = (values) => [Math.min(...values), Math.max(...values)];

// -- plots -----------------------------------------------------------------------------------------------------------

class Plot {
  // An svg with two axes. `x` and `y`: {range, log, title, format}.
  constructor(name, x, y, { height = 300, right = 14, bottom = 42 } = {}) {
    this.width = 580;
    this.height = height;
    this.left = 66;
    this.top = 10;
    this.right = this.width - right;
    this.bottom = height - bottom;
    this.svg = draw("svg", { viewBox: `0 0 ${this.width} ${height}`, role: "img", "aria-label": name });
    this.x = this.scale(x, this.left, this.right);
    this.y = this.scale(y, this.bottom, this.top);
    this.axis(x, true);
    this.axis(y, false);
  }

  scale({ range: [low, high], log }, from, to) {
    const f = log ? Math.log10 : (value) => value;
    const width = f(high) - f(low) || 1;
    return (value) => from + ((f(value) - f(low)) / width) * (to - from);
  }

  axis({ range, log, title, format = round, at = null }, horizontal) {
    const ticks = at ?? (log ? decades(range) : steps(range));
    for (const tick of ticks) {
      const place = horizontal ? this.x(tick) : this.y(tick);
      const line = horizontal
        ? { x1: place, x2: place, y1: this.top, y2: this.bottom }
        : { x1: this.left, x2: this.right, y1: place, y2: place };
      this.svg.append(draw("line", { class: "gridline", ...line }));
      const text = horizontal
        ? { x: place, y: this.bottom + 15, "text-anchor": "middle" }
        : { x: this.left - 6, y: place + 4, "text-anchor": "end" };
      this.svg.append(draw("text", text, format(tick)));
    }
    const edge = horizontal
      ? { x1: this.left, x2: this.right, y1: this.bottom, y2: this.bottom }
      : { x1: this.left, x2: this.left, y1: this.top, y2: this.bottom };
    this.svg.append(draw("line", { class: "axis", ...edge }));
    const middle = (this.top + this.bottom) / 2;
    const where = horizontal
      ? { x: (this.left + this.right) / 2, y: this.bottom + 34, "text-anchor": "middle" }
      : { transform: `translate(11 ${middle}) rotate(-90)`, "text-anchor": "middle" };
    this.svg.append(draw("text", where, title));
  }

  line(points, attributes) {
    const path = points.map(([x, y]) => `${this.x(x).toFixed(1)},${this.y(y).toFixed(1)}`).join(" ");
    this.svg.append(draw("polyline", { points: path, fill: "none", "stroke-width": 2, ...attributes }));
  }

  mark(x, y, shape, fillColour, tip, attributes = {}) {
    const path = outline(shape, this.x(x), this.y(y), 4.6);
    this.add(draw("path", { class: "mark", d: path, fill: fillColour, "fill-opacity": 0.85, ...attributes }), tip);
  }

  add(element, tip) {
    this.svg.append(element);
    if (tip) hover(element, tip);
  }

  text(x, y, text, attributes = {}) {
    this.svg.append(draw("text", { x, y, ...attributes }, text));
  }
}

function outline(shape, x, y, r) {
  const at = (dx, dy) => `${(x + dx * r).toFixed(1)} ${(y + dy * r).toFixed(1)}`;
  const corners = {
    square: [[-0.85, -0.85], [0.85, -0.85], [0.85, 0.85], [-0.85, 0.85]],
    triangle: [[0, -1.15], [1.05, 0.8], [-1.05, 0.8]],
    down: [[0, 1.15], [1.05, -0.8], [-1.05, -0.8]],
    diamond: [[0, -1.25], [1.25, 0], [0, 1.25], [-1.25, 0]],
    cross: [[-1, -0.6], [-0.6, -1], [0, -0.4], [0.6, -1], [1, -0.6], [0.4, 0], [1, 0.6], [0.6, 1], [0, 0.4], [-0.6, 1], [-1, 0.6], [-0.4, 0]],
    plus: [[-0.35, -1.1], [0.35, -1.1], [0.35, -0.35], [1.1, -0.35], [1.1, 0.35], [0.35, 0.35], [0.35, 1.1], [-0.35, 1.1], [-0.35, 0.35], [-1.1, 0.35], [-1.1, -0.35], [-0.35, -0.35]],
  }[shape];
  if (!corners) return `M${at(-1, 0)} a${r} ${r} 0 1 0 ${2 * r} 0 a${r} ${r} 0 1 0 ${-2 * r} 0Z`;
  return `M${corners.map(([dx, dy]) => at(dx, dy)).join("L")}Z`;
}

function decades([low, high]) {
  const wide = Math.log10(high / low) > 3.2;
  const ticks = [];
  for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e++)
    for (const m of wide ? [1] : [1, 2, 5]) ticks.push(m * 10 ** e);
  const inside = ticks.filter((tick) => tick >= low * 0.999 && tick <= high * 1.001);
  return inside.length > 1 ? inside : steps([low, high]);
}

function steps([low, high]) {
  const raw = (high - low || 1) / 5;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * ([1, 2, 5, 10].find((m) => m * power >= raw) ?? 10);
  const ticks = [];
  for (let tick = Math.ceil(low / step - 1e-9) * step; tick <= high + step * 1e-6; tick += step) ticks.push(Number(tick.toPrecision(10)));
  return ticks;
}

const padded = ([low, high], share = 0.06) => [low - share * (high - low || 1), high + share * (high - low || 1)];
const stretched = ([low, high], factor = 1.3) => [low / factor, high * factor];

// -- around plots ----------------------------------------------------------------------------------------------------

const tip = document.getElementById("tip");

function hover(element, text) {
  const show = (event) => {
    tip.textContent = typeof text === "function" ? text(event) : text;
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.min(event.clientX + 14, innerWidth - box.width - 8)}px`;
    tip.style.top = `${event.clientY + 18 + box.height > innerHeight ? event.clientY - box.height - 10 : event.clientY + 18}px`;
  };
  element.addEventListener("pointermove", show);
  element.addEventListener("pointerenter", show);
  element.addEventListener("pointerleave", () => { tip.hidden = true; });
}

function legend(entries) {
  const box = make("div", { class: "legend" });
  for (const { name, shape = "circle", fill: ink } of entries) {
    const key = draw("svg", { viewBox: "0 0 12 12" }, draw("path", { d: outline(shape, 6, 6, 4.6), fill: ink }));
    box.append(make("span", {}, key, name));
  }
  return box;
}

function card(id, title, about, ...content) {
  return make("section", { id }, make("h2", {}, title), make("p", {}, about), ...content);
}

// Columns: {title, value(row), show(row), text}. A click on a title sorts by it.
function table(rows, columns, { sort = null, best = () => false } = {}) {
  const body = make("tbody");
  let order = sort, down = false;
  const render = () => {
    const sorted = [...rows];
    if (order !== null) {
      const { value } = columns[order];
      sorted.sort((a, b) => {
        const [x, y] = [value(a), value(b)];
        if (x === null || y === null) return (x === null) - (y === null);
        return (x < y ? -1 : x > y ? 1 : 0) * (down ? -1 : 1);
      });
    }
    body.replaceChildren(...sorted.map((row) => make("tr", { class: best(row) ? "best" : null },
      ...columns.map((c) => make("td", { class: c.text ? "text" : null }, (c.show ?? c.value)(row) ?? "–")))));
  };
  const heads = columns.map((c, i) => make("th", { class: c.text ? "text" : null, onclick: () => { down = order === i && !down; order = i; render(); } }, c.title));
  render();
  return make("div", { class: "scroll" }, make("table", {}, make("thead", {}, make("tr", {}, ...heads)), body));
}

// -- light and dark --------------------------------------------------------------------------------------------------

function themeButton() {
  const root = document.documentElement;
  const set = (theme) => { root.dataset.theme = theme; };
  set(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  return make("button", { id: "theme", onclick: () => set(root.dataset.theme === "dark" ? "light" : "dark") }, "light / dark");
}
