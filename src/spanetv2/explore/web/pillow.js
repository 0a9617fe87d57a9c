// @ts-check
/**
 * From a picture's pixels to a network's input, bit for bit as Pillow and timm do it: grey values,
 * resampling in fixed point, the crop of the middle. Rows are resampled before columns; Pillow 13
 * does columns first for some tall images, where a few pixels then differ by a rounding.
 */

/** @typedef {{width: number, height: number, channels: number, data: Uint8ClampedArray}} Pixels */
/**
 * @typedef {object} Geometry
 * @property {number[]} input_size channels, height, width
 * @property {number[]} resize height and width before the crop
 * @property {string} interpolation
 * @property {string} crop_mode center, squash or border
 * @property {number[]} mean @property {number[]} std per channel, of values in 0..1
 */

const BITS = 22;

/** @type {Record<string, {support: number, at: (x: number) => number}>} */
const FILTERS = {
  box: { support: 0.5, at: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  bilinear: { support: 1, at: (x) => Math.max(1 - Math.abs(x), 0) },
  hamming: {
    support: 1,
    at: (x) => {
      const t = Math.abs(x);
      if (t === 0) return 1;
      return t >= 1 ? 0 : sinc(t) * (0.54 + 0.46 * Math.cos(t * Math.PI));
    },
  },
  bicubic: {
    support: 2,
    at: (x) => {
      const a = -0.5, t = Math.abs(x);
      if (t < 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
      return t < 2 ? (((t - 5) * t + 8) * t - 4) * a : 0;
    },
  },
  lanczos: { support: 3, at: (x) => (Math.abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

/** @param {number} x */
function sinc(x) {
  return x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI);
}

/**
 * @param {number} from @param {number} to sides in pixels
 * @param {{support: number, at: (x: number) => number}} filter
 * @returns {{first: number, weights: Float64Array}[]} per pixel of the result, in units of 2^-22
 */
function weightsOf(from, to, filter) {
  const scale = from / to, wide = Math.max(scale, 1), support = filter.support * wide;
  const found = [];
  for (let i = 0; i < to; i++) {
    const centre = (i + 0.5) * scale;
    const first = Math.max(Math.trunc(centre - support + 0.5), 0);
    const last = Math.min(Math.trunc(centre + support + 0.5), from);
    const weights = new Float64Array(last - first);
    let sum = 0;
    for (let k = 0; k < weights.length; k++) {
      weights[k] = filter.at((k + first - centre + 0.5) * (1 / wide));
      sum += weights[k];
    }
    for (let k = 0; k < weights.length; k++) {
      const w = (sum === 0 ? weights[k] : weights[k] / sum) * 2 ** BITS;
      weights[k] = Math.trunc(w < 0 ? w - 0.5 : w + 0.5);
    }
    found.push({ first, weights });
  }
  return found;
}

/**
 * Resize, as `Image.resize` does.
 *
 * @param {Pixels} image @param {number} height @param {number} width @param {string} interpolation
 * @returns {Pixels}
 */
export function resize(image, height, width, interpolation) {
  if (interpolation === "nearest") return nearest(image, height, width);
  const filter = FILTERS[interpolation] ?? FILTERS.bicubic;
  const { channels } = image;
  let current = image;
  if (width !== current.width) {
    const plan = weightsOf(current.width, width, filter);
    const data = new Uint8ClampedArray(width * current.height * channels);
    for (let y = 0, out = 0; y < current.height; y++) {
      for (const { first, weights } of plan) {
        for (let c = 0; c < channels; c++, out++) {
          let sum = 2 ** (BITS - 1), at = (y * current.width + first) * channels + c;
          for (let k = 0; k < weights.length; k++, at += channels) sum += current.data[at] * weights[k];
          data[out] = Math.floor(sum / 2 ** BITS);
        }
      }
    }
    current = { width, height: current.height, channels, data };
  }
  if (height !== current.height) {
    const data = new Uint8ClampedArray(width * height * channels), row = width * channels;
    weightsOf(current.height, height, filter).forEach(({ first, weights }, y) => {
      for (let x = 0; x < row; x++) {
        let sum = 2 ** (BITS - 1);
        for (let k = 0; k < weights.length; k++) sum += current.data[(first + k) * row + x] * weights[k];
        data[y * row + x] = Math.floor(sum / 2 ** BITS);
      }
    });
    current = { width, height, channels, data };
  }
  return current;
}

/** @param {Pixels} image @param {number} height @param {number} width @returns {Pixels} */
function nearest(image, height, width) {
  const { channels } = image;
  const data = new Uint8ClampedArray(width * height * channels);
  for (let y = 0, out = 0; y < height; y++) {
    const row = Math.floor(((y + 0.5) * image.height) / height) * image.width;
    for (let x = 0; x < width; x++) {
      const from = (row + Math.floor(((x + 0.5) * image.width) / width)) * channels;
      for (let c = 0; c < channels; c++, out++) data[out] = image.data[from + c];
    }
  }
  return { width, height, channels, data };
}

/**
 * @param {{width: number, height: number, data: Uint8ClampedArray}} picture RGBA, opaque
 * @param {number} channels 1 or 3
 * @returns {Pixels}
 */
export function toChannels({ width, height, data }, channels) {
  const result = new Uint8ClampedArray(width * height * channels);
  for (let i = 0, from = 0; i < width * height; i++, from += 4) {
    const [r, g, b] = [data[from], data[from + 1], data[from + 2]];
    if (channels === 1) {
      result[i] = (r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16;
    } else {
      result[3 * i] = r;
      result[3 * i + 1] = g;
      result[3 * i + 2] = b;
    }
  }
  return { width, height, channels, data: result };
}

/** @param {number} x to the nearest whole number, halves to the even one @returns {number} */
function rounded(x) {
  const low = Math.floor(x);
  if (x - low !== 0.5) return Math.round(x);
  return low % 2 === 0 ? low : low + 1;
}

/**
 * Cut or pad to a size around the middle.
 *
 * @param {Pixels} image @param {number} height @param {number} width @param {number[]} fill 0..255
 * @returns {Pixels}
 */
function centred(image, height, width, fill) {
  const { channels } = image;
  const offset = (/** @type {number} */ own, /** @type {number} */ wanted) =>
    own >= wanted ? rounded((own - wanted) / 2) : -Math.floor((wanted - own) / 2);
  const top = offset(image.height, height), left = offset(image.width, width);
  const data = new Uint8ClampedArray(width * height * channels);
  for (let y = 0, out = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const row = y + top, column = x + left;
      const inside = row >= 0 && column >= 0 && row < image.height && column < image.width;
      const from = (row * image.width + column) * channels;
      for (let c = 0; c < channels; c++, out++) data[out] = inside ? image.data[from + c] : fill[c];
    }
  }
  return { width, height, channels, data };
}

/**
 * The input of a network before its normalisation.
 *
 * @param {{width: number, height: number, data: Uint8ClampedArray}} picture RGBA, opaque
 * @param {Geometry} geometry
 * @returns {import("./filter.js").Planes} values in 0..1
 */
export function preprocess(picture, geometry) {
  const [channels, height, width] = geometry.input_size;
  const [tall, wide] = geometry.resize;
  let image = toChannels(picture, channels);
  const black = new Array(channels).fill(0);
  if (geometry.crop_mode === "squash") {
    image = resize(image, tall, wide, geometry.interpolation);
  } else {
    const longest = 32 * Math.min(image.width, image.height);
    if (Math.max(image.width, image.height) > longest) {
      const left = Math.floor((image.width - longest) / 2), top = Math.floor((image.height - longest) / 2);
      if (image.width > image.height) image = cut(image, 0, left, image.height, longest);
      else image = cut(image, top, 0, longest, image.width);
    }
    const [h, w] = resizedSides(image, geometry);
    image = resize(image, h, w, geometry.interpolation);
  }
  const pad = geometry.crop_mode === "border" ? geometry.mean.map((m) => rounded(255 * m)) : black;
  image = centred(image, height, width, pad);
  const size = height * width, data = new Float64Array(size * channels);
  for (let i = 0; i < size; i++) {
    for (let c = 0; c < channels; c++) data[c * size + i] = image.data[i * channels + c] / 255;
  }
  return { channels, height, width, data };
}

/** @param {Pixels} image @param {Geometry} geometry @returns {number[]} height and width */
function resizedSides(image, geometry) {
  const [tall, wide] = geometry.resize, { width, height } = image;
  if (geometry.crop_mode !== "border" && tall === wide) {
    const other = (/** @type {number} */ long, /** @type {number} */ short) => Math.trunc((tall * long) / short);
    return width <= height ? [other(height, width), tall] : [tall, other(width, height)];
  }
  const ratios = [height / tall, width / wide];
  const ratio = geometry.crop_mode === "border" ? Math.max(...ratios) : Math.min(...ratios);
  return [rounded(height / ratio), rounded(width / ratio)];
}

/**
 * @param {Pixels} image @param {number} top @param {number} left @param {number} height
 * @param {number} width
 * @returns {Pixels}
 */
function cut(image, top, left, height, width) {
  const { channels } = image, data = new Uint8ClampedArray(width * height * channels);
  for (let y = 0; y < height; y++) {
    const from = ((y + top) * image.width + left) * channels;
    data.set(image.data.subarray(from, from + width * channels), y * width * channels);
  }
  return { width, height, channels, data };
}
