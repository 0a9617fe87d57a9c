// @ts-check
/** Colours that people with any kind of colour vision tell apart: scales for maps, lines for charts. */
import { cyclesOf } from "./fft.js";

/** Okabe and Ito's, without yellow, which is lost on white. */
export const LINES = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00"];
export const DASHES = ["", "7 4", "2 3", "9 3 2 3", "4 2", "1 2"];

// cividis, in eight steps
const CIVIDIS = [
  [0, 32, 77], [14, 58, 111], [69, 80, 107], [102, 105, 112],
  [132, 128, 121], [165, 156, 117], [205, 190, 98], [255, 234, 70],
];
// blue for less, orange for more
const AROUND = [[0, 60, 130], [86, 150, 210], [236, 236, 236], [240, 160, 80], [170, 70, 0]];

/**
 * @param {number[][]} stops @param {number} t in 0..1
 * @returns {number[]} red, green, blue
 */
function between(stops, t) {
  const place = Math.min(Math.max(t, 0), 1) * (stops.length - 1);
  const low = Math.min(Math.floor(place), stops.length - 2), part = place - low;
  return stops[low].map((value, i) => Math.round(value + part * (stops[low + 1][i] - value)));
}

/** @param {number} t in 0..1 */
export const scale = (t) => between(CIVIDIS, t);

/** @param {number} t in -1..1 */
export const around = (t) => between(AROUND, (t + 1) / 2);

/**
 * A grey value under the mask: removed waves turn dark blue, amplified ones orange.
 *
 * @param {number} grey 0..255 @param {number} factor of the mask
 * @returns {number[]} red, green, blue
 */
export function veiled(grey, factor) {
  if (factor === 1) return [grey, grey, grey];
  const away = Math.min(Math.max(1 - factor, 0), 1), more = Math.min(Math.max(factor - 1, 0), 1);
  return [
    grey * (1 - 0.82 * away) + 10 * away + more * (255 - grey) * 0.75,
    grey * (1 - 0.72 * away) + 34 * away - more * grey * 0.12,
    grey * (1 - 0.5 * away) + 72 * away - more * grey * 0.7,
  ];
}

/**
 * Draw a map of values, frequency 0 moved to the middle.
 *
 * @param {HTMLCanvasElement} canvas @param {ArrayLike<number>} values @param {number} height
 * @param {number} width @param {(value: number, place: number) => number[]} colour
 */
export function drawPlane(canvas, values, height, width, colour) {
  canvas.width = width;
  canvas.height = height;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const image = context.createImageData(width, height);
  const rows = cyclesOf(height), columns = cyclesOf(width);
  for (let p = 0, i = 0; p < height; p++) {
    for (let q = 0; q < width; q++, i++) {
      const x = columns[q] + Math.floor(width / 2), y = rows[p] + Math.floor(height / 2);
      const at = (y * width + x) * 4, shown = colour(values[i], i);
      image.data[at] = shown[0];
      image.data[at + 1] = shown[1];
      image.data[at + 2] = shown[2];
      image.data[at + 3] = 255;
    }
  }
  context.putImageData(image, 0, 0);
}
