// @ts-check
/**
 * Token mixers as operators on an n x n torus, and the laws they obey: what spanetv2.theory
 * computes, for the page. Fields and responses are arrays of n * n values, frequency 0 first;
 * frequencies are in radians per token.
 */
import { cyclesOf, fft2 } from "./fft.js";

/** @typedef {{n: number, phiRe: Float64Array, phiIm: Float64Array, gain: Float64Array}} Response */

/** @param {number} n @returns {Float64Array} frequencies along an axis */
export function frequencies(n) {
  return Float64Array.from(cyclesOf(n), (c) => (2 * Math.PI * c) / n);
}

/** @param {number} n @returns {Float64Array} eigenvalues of the Laplacian, 0 to 2 */
export function eigenvalues(n) {
  const w = frequencies(n), found = new Float64Array(n * n);
  for (let y = 0, i = 0; y < n; y++) {
    for (let x = 0; x < n; x++, i++) found[i] = 1 - (Math.cos(w[y]) + Math.cos(w[x])) / 2;
  }
  return found;
}

/**
 * Transform a kernel over offsets, summing with exp(+i w d).
 *
 * @param {Float64Array} weights k * k, the offset 0 in the middle @param {number} k odd
 * @param {number} n
 */
function spectrumOf(weights, k, n) {
  const re = new Float64Array(n * n), im = new Float64Array(n * n), r = (k - 1) / 2;
  for (let dy = -r, i = 0; dy <= r; dy++) {
    for (let dx = -r; dx <= r; dx++, i++) {
      re[((dy + n) % n) * n + ((dx + n) % n)] += weights[i];
    }
  }
  fft2(re, im, n, n);
  for (let i = 0; i < im.length; i++) im[i] = -im[i];
  return { re, im };
}

/**
 * Response of a convolution.
 *
 * @param {Float64Array} weights k * k @param {number} k odd, at most n @param {number} n
 * @returns {Response}
 */
export function kernelResponse(weights, k, n) {
  const { re, im } = spectrumOf(weights, k, n);
  return { n, phiRe: re, phiIm: im, gain: re.map((value, i) => Math.hypot(value, im[i])) };
}

/**
 * Response of softmax attention.
 *
 * @param {Float64Array} queries n * n * width @param {Float64Array} keys likewise
 * @param {number} width of a head @param {number} n
 * @param {number} [window] side, odd; 0 for all tokens
 * @returns {Response}
 */
export function attentionResponse(queries, keys, width, n, window = 0) {
  const N = n * n, scale = width ** -0.5, r = (window - 1) / 2;
  const phiRe = new Float64Array(N), phiIm = new Float64Array(N), power = new Float64Array(N);
  const re = new Float64Array(N), im = new Float64Array(N);
  const offsets = [];
  for (let dy = 0; dy < n; dy++) {
    for (let dx = 0; dx < n; dx++) {
      const far = Math.max(Math.min(dy, n - dy), Math.min(dx, n - dx));
      if (!window || far <= r) offsets.push([dy, dx]);
    }
  }
  const logits = new Float64Array(offsets.length);
  for (let y = 0; y < n; y++) {
    for (let x = 0; x < n; x++) {
      const q = (y * n + x) * width;
      let largest = -Infinity, sum = 0;
      offsets.forEach(([dy, dx], i) => {
        const k = (((y + dy) % n) * n + ((x + dx) % n)) * width;
        let product = 0;
        for (let d = 0; d < width; d++) product += queries[q + d] * keys[k + d];
        logits[i] = product * scale;
        largest = Math.max(largest, logits[i]);
      });
      for (let i = 0; i < logits.length; i++) sum += logits[i] = Math.exp(logits[i] - largest);
      re.fill(0);
      im.fill(0);
      offsets.forEach(([dy, dx], i) => (re[dy * n + dx] = logits[i] / sum));
      fft2(re, im, n, n);
      for (let i = 0; i < N; i++) {
        phiRe[i] += re[i] / N;
        phiIm[i] -= im[i] / N;
        power[i] += (re[i] * re[i] + im[i] * im[i]) / N;
      }
    }
  }
  return { n, phiRe, phiIm, gain: power.map(Math.sqrt) };
}

/**
 * Response of I + value C from that of C.
 *
 * @param {Response} response @param {number} value
 * @returns {Response}
 */
export function residualResponse({ n, phiRe, phiIm, gain }, value) {
  return {
    n,
    phiRe: phiRe.map((re) => 1 + value * re),
    phiIm: phiIm.map((im) => value * im),
    gain: gain.map((g, i) => Math.sqrt(Math.max(1 + 2 * value * phiRe[i] + (value * g) ** 2, 0))),
  };
}

/**
 * The gain that a gate on the half spectrum has on every wave.
 *
 * @param {Float64Array} gate n * (n / 2 + 1) @param {number} n
 * @returns {Float64Array}
 */
export function srfGain(gate, n) {
  const half = Math.floor(n / 2) + 1, gain = new Float64Array(n * n);
  for (let p = 0; p < n; p++) {
    const mirror = (n - p) % n;
    for (let q = 0; q < n; q++) {
      const own = q === 0 || 2 * q === n;
      if (own) gain[p * n + q] = (gate[p * half + q] + gate[mirror * half + q]) / 2;
      else gain[p * n + q] = q < half ? gate[p * half + q] : gate[mirror * half + n - q];
    }
  }
  return gain;
}

/**
 * Response of a filter behind a mixer whose response is phi = H (a convolution): the product.
 *
 * @param {Response} response @param {Float64Array} filter
 * @returns {Response}
 */
export function filteredResponse({ n, phiRe, phiIm, gain }, filter) {
  const times = (/** @type {number} */ v, /** @type {number} */ i) => v * filter[i];
  return { n, phiRe: phiRe.map(times), phiIm: phiIm.map(times), gain: gain.map(times) };
}

/**
 * Mean profile and root mean square gain of several responses.
 *
 * @param {Response[]} responses
 * @returns {Response}
 */
export function averageResponse(responses) {
  const { n } = responses[0], count = responses.length;
  const mean = { n, phiRe: new Float64Array(n * n), phiIm: new Float64Array(n * n), gain: new Float64Array(n * n) };
  for (const { phiRe, phiIm, gain } of responses) {
    for (let i = 0; i < n * n; i++) {
      mean.phiRe[i] += phiRe[i] / count;
      mean.phiIm[i] += phiIm[i] / count;
      mean.gain[i] += gain[i] ** 2 / count;
    }
  }
  mean.gain = mean.gain.map(Math.sqrt);
  return mean;
}

/**
 * Scalars of a response, as spanetv2.theory has them.
 *
 * @param {Response} response
 */
export function scalarsOf({ n, gain }) {
  const lambda = eigenvalues(n);
  let total = 0, weighted = 0;
  gain.forEach((g, i) => {
    total += g * g;
    weighted += lambda[i] * g * g;
  });
  const others = (total - gain[0] ** 2) / (n * n - 1);
  return { dcGain: gain[0], rmsGain: Math.sqrt(others), centroid: weighted / total, mEff: (n * n) / total };
}

/** @param {number} k @param {number} w @returns {number} D(w) of a mean over k tokens */
function dirichlet(k, w) {
  let sum = 1;
  for (let j = 1; j <= (k - 1) / 2; j++) sum += 2 * Math.cos(j * w);
  return sum / k;
}

/** @param {number} k @param {number} n @returns {Float64Array} B_k(w), the window's mean */
export function boxResponse(k, n) {
  const w = frequencies(n), found = new Float64Array(n * n);
  for (let y = 0, i = 0; y < n; y++) {
    for (let x = 0; x < n; x++, i++) found[i] = dirichlet(k, w[y]) * dirichlet(k, w[x]);
  }
  return found;
}

/**
 * Law: E|phi|^2 of a kernel of independent weights.
 *
 * @param {number} k @param {number} mean @param {number} variance @param {number} n
 * @returns {Float64Array}
 */
export function randomKernelPower(k, mean, variance, n) {
  return boxResponse(k, n).map((b) => k * k * variance + (k * k * mean * b) ** 2);
}

/**
 * Law: E g^2 of softmax mixers in a window, from S, the mean sum of a row's squared weights.
 *
 * @param {number} S @param {number} k side of the window; n * n tokens for 0
 * @param {number} n
 * @returns {Float64Array}
 */
export function softmaxPower(S, k, n) {
  if (!k) {
    // All tokens: the window's mean passes the constant alone, and the law is the exact one.
    const other = (n * n * S - 1) / (n * n - 1);
    return new Float64Array(n * n).fill(other).map((v, i) => (i ? v : 1));
  }
  const M = k * k;
  return boxResponse(k, n).map((b) => S + ((1 - S) * (M * b * b - 1)) / (M - 1));
}

/**
 * Average over rings of equal |w|, up to pi.
 *
 * @param {Float64Array} values n * n @param {number} n @param {number} [bins]
 * @returns {{radius: number[], mean: number[]}}
 */
export function radialProfile(values, n, bins = Math.floor(n / 2)) {
  const w = frequencies(n);
  const sums = new Float64Array(bins + 1), radii = new Float64Array(bins + 1), counts = new Float64Array(bins + 1);
  for (let y = 0, i = 0; y < n; y++) {
    for (let x = 0; x < n; x++, i++) {
      const radius = Math.hypot(w[y], w[x]);
      if (radius > Math.PI * (1 + 1e-9)) continue; // corners, which diagonal waves alone reach
      const ring = Math.round((radius / Math.PI) * bins);
      sums[ring] += values[i];
      radii[ring] += radius;
      counts[ring]++;
    }
  }
  const rings = [...counts.keys()].filter((ring) => counts[ring]);
  return { radius: rings.map((r) => radii[r] / counts[r]), mean: rings.map((r) => sums[r] / counts[r]) };
}

/**
 * Random numbers from a seed, the same in every browser.
 *
 * @param {number} seed
 * @returns {{uniform: () => number, normal: () => number}}
 */
export function random(seed) {
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const normal = () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
  return { uniform, normal };
}
