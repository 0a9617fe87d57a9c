// @ts-check
/** Line charts as SVG, with axes, direct legends, and a table for screen readers. */
import { DASHES, LINES } from "./colours.js";

/**
 * @typedef {object} Line
 * @property {string} name @property {number[]} x @property {number[]} y
 * @property {number} [colour] place in the list of colours
 * @property {boolean} [dashed] @property {boolean} [points]
 */

/** @param {string} tag @param {Record<string, string | number>} attributes @param {string} [text] */
function svg(tag, attributes, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  if (text !== undefined) element.textContent = text;
  return element;
}

/**
 * @param {object} options
 * @param {string} options.title @param {Line[]} options.lines
 * @param {string} options.xLabel @param {[number, string][]} options.xTicks
 * @param {string} options.yLabel @param {[number, string][]} options.yTicks
 * @param {boolean} [options.legend]
 * @returns {HTMLElement}
 */
export function lineChart({ title, lines, xLabel, xTicks, yLabel, yTicks, legend = true }) {
  const width = 380, height = 240, left = 52, right = 12, top = 26, bottom = 44;
  const xs = xTicks.map(([v]) => v), ys = yTicks.map(([v]) => v);
  const [x0, x1] = [Math.min(...xs), Math.max(...xs)], [y0, y1] = [Math.min(...ys), Math.max(...ys)];
  const px = (/** @type {number} */ v) => left + ((v - x0) / (x1 - x0)) * (width - left - right);
  const py = (/** @type {number} */ v) => height - bottom - ((v - y0) / (y1 - y0)) * (height - top - bottom);
  const figure = document.createElement("figure");
  figure.className = "chart";
  const spoken = `${title}. ${lines.map((l) => `${l.name}: from ${short(l.y[0])} to ${short(l.y.at(-1) ?? 0)}`).join("; ")}`;
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": spoken });
  root.append(svg("text", { x: left, y: 15, class: "title" }, title));
  for (const [value, text] of yTicks) {
    root.append(svg("line", { x1: left, x2: width - right, y1: py(value), y2: py(value), class: "grid" }));
    root.append(svg("text", { x: left - 6, y: py(value) + 4, "text-anchor": "end" }, text));
  }
  for (const [value, text] of xTicks) {
    root.append(svg("line", { x1: px(value), x2: px(value), y1: height - bottom, y2: height - bottom + 4, class: "tick" }));
    root.append(svg("text", { x: px(value), y: height - bottom + 17, "text-anchor": "middle" }, text));
  }
  root.append(svg("text", { x: (left + width - right) / 2, y: height - 8, "text-anchor": "middle" }, xLabel));
  const middle = (top + height - bottom) / 2;
  root.append(svg("text", { x: 13, y: middle, "text-anchor": "middle", transform: `rotate(-90 13 ${middle})` }, yLabel));
  lines.forEach((line, i) => {
    const colour = LINES[(line.colour ?? i) % LINES.length];
    const places = line.x.map((x, k) => [px(x), py(Math.min(Math.max(line.y[k], y0), y1))]);
    if (line.points) {
      for (const [x, y] of places) root.append(svg("circle", { cx: x, cy: y, r: 3, fill: colour }));
    } else {
      root.append(svg("polyline", {
        points: places.map((p) => p.map((v) => v.toFixed(1)).join(",")).join(" "),
        fill: "none", stroke: colour, "stroke-width": 2,
        "stroke-dasharray": line.dashed ? "6 4" : DASHES[(line.colour ?? i) % DASHES.length],
      }));
    }
  });
  figure.append(root);
  if (legend) figure.append(legendOf(lines));
  return figure;
}

/** @param {Line[]} lines */
function legendOf(lines) {
  const caption = document.createElement("figcaption");
  caption.className = "legend";
  lines.forEach((line, i) => {
    const item = document.createElement("span"), colour = LINES[(line.colour ?? i) % LINES.length];
    const mark = svg("svg", { viewBox: "0 0 26 10", width: 26, height: 10, "aria-hidden": "true" });
    if (line.points) mark.append(svg("circle", { cx: 13, cy: 5, r: 3, fill: colour }));
    else {
      const dash = line.dashed ? "6 4" : DASHES[(line.colour ?? i) % DASHES.length];
      mark.append(svg("line", { x1: 1, x2: 25, y1: 5, y2: 5, stroke: colour, "stroke-width": 2, "stroke-dasharray": dash }));
    }
    item.append(mark, ` ${line.name}`);
    caption.append(item);
  });
  return caption;
}

/** @param {number} value @returns {string} */
export function short(value) {
  if (!Number.isFinite(value)) return "\u2013";
  return String(Number(value.toPrecision(3)));
}

/** Ticks in radians: 0, a quarter of pi, ... */
export const RADIANS = /** @type {[number, string][]} */ ([
  [0, "0"], [Math.PI / 4, "\u03c0/4"], [Math.PI / 2, "\u03c0/2"], [(3 * Math.PI) / 4, "3\u03c0/4"], [Math.PI, "\u03c0"],
]);
