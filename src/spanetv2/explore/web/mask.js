// @ts-check
/**
 * Masks over frequencies from a line of steps; spanetv2.explore.mask draws the same in Python and
 * says what the steps are.
 */
import { cyclesOf } from "./fft.js";

const EDGE = 1e-9; // the rounding of a frequency must not decide whether a wave is kept

/** @typedef {{kind: string, values: number[], places: number[][]}} Step */
/** @typedef {{height: number, width: number, data: Float32Array}} Mask */

/** @type {Record<string, number>} */
const ARGUMENTS = { low: 1, high: 1, band: 2, wedge: 2, brush: 3, invert: 0 };

/**
 * @param {string} text
 * @returns {Step[]} of a line; steps that are none are left out
 */
export function parseSteps(text) {
  const steps = [];
  for (const part of text.split(";")) {
    const [kind, ...texts] = part.split(":");
    if (!(kind in ARGUMENTS) || texts.length !== ARGUMENTS[kind]) continue;
    /** @type {number[][]} */
    let places = [];
    if (kind === "brush") places = String(texts.pop()).split(",").map((p) => p.split(".").map(Number));
    const values = texts.map(Number);
    const good = (/** @type {number} */ v) => v >= 0 && v <= 360;
    if (!values.every(good) || !places.every((p) => p.length === 2 && p.every(Number.isInteger))) continue;
    steps.push({ kind, values, places });
  }
  return steps;
}

/** @param {Step[]} steps @returns {string} */
export function formatSteps(steps) {
  return steps.map(({ kind, values, places }) => {
    const parts = [kind, ...values.map((v) => String(Math.round(v * 1e4) / 1e4))];
    if (kind === "brush") parts.push(places.map((p) => p.join(".")).join(","));
    return parts.join(":");
  }).join(";");
}

/**
 * Draw a mask: the factor of every frequency, zero first.
 *
 * @param {Step[]} steps @param {number} height @param {number} width of the image in pixels
 * @returns {Mask}
 */
export function drawMask(steps, height, width) {
  const data = new Float32Array(height * width).fill(1);
  const mask = { height, width, data };
  for (const step of steps) applyStep(mask, step);
  return mask;
}

/** @param {Mask} mask changed in place @param {Step} step */
export function applyStep(mask, step) {
  const { height, width, data } = mask;
  const rows = cyclesOf(height), columns = cyclesOf(width);
  const [a, b] = step.values;
  if (step.kind === "invert") {
    for (let i = 0; i < data.length; i++) data[i] = Math.max(1 - data[i], 0);
    return;
  }
  if (step.kind === "brush") {
    for (const [p, q] of step.places) {
      stamp(mask, p, q, b, a);
      stamp(mask, -p, -q, b, a);
    }
    return;
  }
  for (let y = 0, i = 0; y < height; y++) {
    const wy = (2 * Math.PI * rows[y]) / height;
    for (let x = 0; x < width; x++, i++) {
      const wx = (2 * Math.PI * columns[x]) / width;
      const radius = Math.hypot(wy, wx);
      let keep = true;
      if (step.kind === "low") keep = radius <= a * Math.PI + EDGE;
      else if (step.kind === "high") keep = radius > a * Math.PI + EDGE;
      else if (step.kind === "band") keep = radius > a * Math.PI + EDGE && radius <= b * Math.PI + EDGE;
      else if (step.kind === "wedge" && radius > 0) {
        const turn = (Math.atan2(wy, wx) * 180) / Math.PI - a + 90;
        keep = Math.abs((((turn % 180) + 180) % 180) - 90) <= b / 2 + EDGE;
      }
      if (!keep) data[i] = 0;
    }
  }
}

/**
 * @param {Mask} mask @param {number} p cycles down @param {number} q cycles to the right
 * @param {number} brush radius in cycles @param {number} strength
 */
function stamp(mask, p, q, brush, strength) {
  const { height, width, data } = mask;
  const reach = Math.floor(brush + EDGE);
  const top = -Math.floor(height / 2), left = -Math.floor(width / 2);
  for (let y = Math.max(p - reach, top); y <= Math.min(p + reach, top + height - 1); y++) {
    for (let x = Math.max(q - reach, left); x <= Math.min(q + reach, left + width - 1); x++) {
      if (Math.hypot(y - p, x - q) > brush + EDGE) continue;
      data[((y + height) % height) * width + ((x + width) % width)] = strength;
    }
  }
}

/**
 * The mask of an image of another size: the same factor at the same cycles per image.
 *
 * @param {Mask} mask @param {number} height @param {number} width
 * @returns {Mask}
 */
export function cropMask(mask, height, width) {
  if (height === mask.height && width === mask.width) return mask;
  const data = new Float32Array(height * width);
  const place = (/** @type {number} */ cycles, /** @type {number} */ own) => {
    const low = -Math.floor(own / 2), high = Math.floor((own - 1) / 2);
    return (Math.min(Math.max(cycles, low), high) + own) % own;
  };
  const rows = Array.from(cyclesOf(height), (c) => place(c, mask.height));
  const columns = Array.from(cyclesOf(width), (c) => place(c, mask.width));
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) data[i] = mask.data[rows[y] * mask.width + columns[x]];
  }
  return { height, width, data };
}
