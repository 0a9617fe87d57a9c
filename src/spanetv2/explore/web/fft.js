// @ts-check
/**
 * Fourier transforms of any length, by mixed radix: a length's prime factors cost their size, so
 * 224 = 4 * 4 * 2 * 7 is fast and a large prime is slow but right.
 *
 * Complex arrays are pairs of real ones. A forward transform sums with exp(-i), as numpy's does; an
 * inverse one divides by the length.
 */

/** @typedef {{n: number, factors: number[], cos: Float64Array, sin: Float64Array}} Plan */

/** @type {Map<number, Plan>} */
const plans = new Map();

/** @param {number} n @returns {Plan} */
function planOf(n) {
  let plan = plans.get(n);
  if (plan) return plan;
  const factors = [];
  let rest = n;
  for (let p = 4; rest > 1; p = p === 4 ? 2 : p === 2 ? 3 : p + 2) {
    if (p > 4 && p * p > rest) p = rest;
    while (rest % p === 0) {
      factors.push(p);
      rest /= p;
    }
  }
  const cos = new Float64Array(n), sin = new Float64Array(n);
  for (let k = 0; k < n; k++) {
    cos[k] = Math.cos((2 * Math.PI * k) / n);
    sin[k] = -Math.sin((2 * Math.PI * k) / n);
  }
  plan = { n, factors, cos, sin };
  plans.set(n, plan);
  return plan;
}

/**
 * One level: transforms of every radix-th value, put together.
 *
 * @param {Plan} plan
 * @param {Float64Array} outRe @param {Float64Array} outIm @param {number} out first place to write
 * @param {Float64Array} inRe @param {Float64Array} inIm @param {number} start first place to read
 * @param {number} stride between the values read
 * @param {number} depth in the list of factors
 */
function combine(plan, outRe, outIm, out, inRe, inIm, start, stride, depth) {
  const radix = plan.factors[depth], n = plan.n, m = n / stride / radix;
  for (let r = 0; r < radix; r++) {
    if (m === 1) {
      outRe[out + r] = inRe[start + r * stride];
      outIm[out + r] = inIm[start + r * stride];
    } else {
      combine(plan, outRe, outIm, out + r * m, inRe, inIm, start + r * stride, stride * radix, depth + 1);
    }
  }
  const { cos, sin } = plan;
  if (radix === 2) {
    for (let j = 0, a = out, b = out + m; j < m; j++, a++, b++) {
      const c = cos[j * stride], s = sin[j * stride];
      const re = outRe[b] * c - outIm[b] * s, im = outRe[b] * s + outIm[b] * c;
      outRe[b] = outRe[a] - re; outIm[b] = outIm[a] - im;
      outRe[a] += re; outIm[a] += im;
    }
    return;
  }
  if (radix === 4) {
    for (let j = 0, k = out; j < m; j++, k++) {
      const t = j * stride, k1 = k + m, k2 = k1 + m, k3 = k2 + m;
      const c1 = cos[t], s1 = sin[t], c2 = cos[2 * t], s2 = sin[2 * t], c3 = cos[3 * t], s3 = sin[3 * t];
      const re1 = outRe[k1] * c1 - outIm[k1] * s1, im1 = outRe[k1] * s1 + outIm[k1] * c1;
      const re2 = outRe[k2] * c2 - outIm[k2] * s2, im2 = outRe[k2] * s2 + outIm[k2] * c2;
      const re3 = outRe[k3] * c3 - outIm[k3] * s3, im3 = outRe[k3] * s3 + outIm[k3] * c3;
      const aRe = outRe[k] + re2, aIm = outIm[k] + im2, bRe = outRe[k] - re2, bIm = outIm[k] - im2;
      const cRe = re1 + re3, cIm = im1 + im3, dRe = re1 - re3, dIm = im1 - im3;
      outRe[k] = aRe + cRe; outIm[k] = aIm + cIm;
      outRe[k1] = bRe + dIm; outIm[k1] = bIm - dRe;
      outRe[k2] = aRe - cRe; outIm[k2] = aIm - cIm;
      outRe[k3] = bRe - dIm; outIm[k3] = bIm + dRe;
    }
    return;
  }
  const re = new Float64Array(radix), im = new Float64Array(radix);
  for (let j = 0; j < m; j++) {
    for (let r = 0; r < radix; r++) {
      re[r] = outRe[out + j + r * m];
      im[r] = outIm[out + j + r * m];
    }
    for (let q = 0; q < radix; q++) {
      const k = j + q * m;
      let sumRe = 0, sumIm = 0;
      for (let r = 0, turn = 0; r < radix; r++) {
        sumRe += re[r] * cos[turn] - im[r] * sin[turn];
        sumIm += re[r] * sin[turn] + im[r] * cos[turn];
        turn = (turn + k * stride) % n;
      }
      outRe[out + k] = sumRe;
      outIm[out + k] = sumIm;
    }
  }
}

/**
 * Transform a field in place.
 *
 * @param {Float64Array} re row by row @param {Float64Array} im
 * @param {number} height @param {number} width
 * @param {boolean} [inverse]
 */
export function fft2(re, im, height, width, inverse = false) {
  if (inverse) {
    fft2(im, re, height, width); // exchanging the two parts turns the direction
    const scale = 1 / (height * width);
    for (let i = 0; i < re.length; i++) {
      re[i] *= scale;
      im[i] *= scale;
    }
    return;
  }
  const longest = Math.max(height, width);
  const aRe = new Float64Array(longest), aIm = new Float64Array(longest);
  const bRe = new Float64Array(longest), bIm = new Float64Array(longest);
  const across = planOf(width), down = planOf(height);
  if (width > 1) {
    for (let y = 0; y < height; y++) {
      combine(across, aRe, aIm, 0, re, im, y * width, 1, 0);
      re.set(aRe.subarray(0, width), y * width);
      im.set(aIm.subarray(0, width), y * width);
    }
  }
  if (height > 1) {
    for (let x = 0; x < width; x++) {
      for (let y = 0; y < height; y++) {
        bRe[y] = re[y * width + x];
        bIm[y] = im[y * width + x];
      }
      combine(down, aRe, aIm, 0, bRe, bIm, 0, 1, 0);
      for (let y = 0; y < height; y++) {
        re[y * width + x] = aRe[y];
        im[y * width + x] = aIm[y];
      }
    }
  }
}

/**
 * Cycles of every place along an axis, in the order of a transform: 0, 1, ..., -2, -1.
 *
 * @param {number} n
 * @returns {Int32Array}
 */
export function cyclesOf(n) {
  const cycles = new Int32Array(n);
  for (let k = 0; k < n; k++) cycles[k] = k < Math.ceil(n / 2) ? k : k - n;
  return cycles;
}
