// @ts-check
/** Images seen through masks: a transform per channel, a product, a transform back. */
import { fft2 } from "./fft.js";

/** @typedef {{channels: number, height: number, width: number, data: Float64Array}} Planes */
/** @typedef {{re: Float64Array, im: Float64Array}[]} Spectra */

/** @param {Planes} planes @returns {Spectra} one per channel */
export function spectraOf(planes) {
  const { channels, height, width, data } = planes;
  const size = height * width;
  const spectra = [];
  for (let c = 0; c < channels; c++) {
    const re = data.slice(c * size, (c + 1) * size), im = new Float64Array(size);
    fft2(re, im, height, width);
    spectra.push({ re, im });
  }
  return spectra;
}

/**
 * Filter an image. Of the mean colour `fill` as much is added as the mask takes from the image's
 * own mean, as the analysis does for high-pass images.
 *
 * @param {Spectra} spectra @param {import("./mask.js").Mask} mask @param {number[]} fill per channel
 * @returns {Planes}
 */
export function seenThrough(spectra, mask, fill) {
  const { height, width, data } = mask;
  const size = height * width;
  const result = { channels: spectra.length, height, width, data: new Float64Array(size * spectra.length) };
  spectra.forEach(({ re, im }, c) => {
    const outRe = new Float64Array(size), outIm = new Float64Array(size);
    for (let i = 0; i < size; i++) {
      outRe[i] = re[i] * data[i];
      outIm[i] = im[i] * data[i];
    }
    fft2(outRe, outIm, height, width, true);
    const added = (1 - data[0]) * fill[c];
    for (let i = 0; i < size; i++) result.data[c * size + i] = outRe[i] + added;
  });
  return result;
}

/**
 * Amplitude of every frequency, averaged over channels.
 *
 * @param {Spectra} spectra
 * @returns {Float64Array}
 */
export function amplitudes(spectra) {
  const found = new Float64Array(spectra[0].re.length);
  for (const { re, im } of spectra) {
    for (let i = 0; i < found.length; i++) found[i] += Math.hypot(re[i], im[i]) / spectra.length;
  }
  return found;
}
