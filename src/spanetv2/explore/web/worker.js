// @ts-check
/** A worker runs one network: it keeps the image's spectrum, and answers for masks. */
import { cropMask } from "./mask.js";
import { amplitudes, seenThrough, spectraOf } from "./filter.js";
import { fft2 } from "./fft.js";
import { preprocess } from "./pillow.js";

const MOST_CHANNELS = 64; // of a block's map, for its spectrum

/** @type {any} */ let ort;
/** @type {any} */ let session;
/** @type {any} */ let spec;
/** @type {import("./filter.js").Spectra | null} */ let spectra = null;

/** @param {{module: ArrayBuffer, wasm: ArrayBuffer, model: ArrayBuffer, spec: any}} message */
async function start({ module, wasm, model, spec: given }) {
  spec = given;
  const address = URL.createObjectURL(new Blob([module], { type: "text/javascript" }));
  ort = await import(address);
  URL.revokeObjectURL(address);
  ort.env.wasm.wasmBinary = wasm;
  ort.env.wasm.numThreads = 1; // threads need headers that a file has not
  session = await ort.InferenceSession.create(new Uint8Array(model), {
    executionProviders: ["wasm"],
    graphOptimizationLevel: "all",
  });
  return {};
}

/** @param {{picture: any}} message */
function setImage({ picture }) {
  spectra = spectraOf(preprocess(picture, spec.preprocessing));
  return {};
}

/** @param {{mask: import("./mask.js").Mask, switches: Float32Array | null, maps: boolean}} message */
async function answer({ mask, switches, maps }) {
  if (!spectra) throw new Error("no image yet");
  const [channels, height, width] = spec.preprocessing.input_size;
  const { mean, std } = spec.preprocessing;
  const seen = seenThrough(spectra, cropMask(mask, height, width), spec.fill);
  const input = new Float32Array(seen.data.length), size = height * width;
  for (let c = 0, i = 0; c < channels; c++) {
    for (let k = 0; k < size; k++, i++) input[i] = (seen.data[i] - mean[c]) / std[c];
  }
  const started = performance.now();
  /** @type {Record<string, any>} */
  const feeds = { images: new ort.Tensor("float32", input, [1, channels, height, width]) };
  if (spec.rows) {
    const all = switches ?? new Float32Array(spec.rows * 8).fill(1);
    feeds.switches = new ort.Tensor("float32", all, [spec.rows, 2, 4]);
  }
  const names = maps ? spec.blocks.map((/** @type {any} */ b) => b.output).filter(Boolean) : [];
  const results = await session.run(feeds, ["logits", ...names]);
  const milliseconds = performance.now() - started;
  /** @type {Record<string, Float64Array>} */
  const found = {};
  for (const name of names) found[name] = mapSpectrum(results[name]);
  return { logits: Array.from(results.logits.data), milliseconds, maps: maps ? found : null };
}

/** @param {any} tensor (1, C, H, W) @returns {Float64Array} mean amplitude per frequency */
function mapSpectrum(tensor) {
  const [, channels, height, width] = tensor.dims;
  const size = height * width, step = Math.max(1, Math.floor(channels / MOST_CHANNELS));
  const parts = [];
  for (let c = 0; c < channels; c += step) {
    const re = Float64Array.from(tensor.data.subarray(c * size, (c + 1) * size));
    const im = new Float64Array(size);
    fft2(re, im, height, width);
    parts.push({ re, im });
  }
  return amplitudes(parts);
}

/** @type {Record<string, (message: any) => any>} */
const TASKS = { start, image: setImage, answer };

let line = Promise.resolve();
self.addEventListener("message", ({ data }) => {
  // One after the other: the runtime takes no second run before the first has ended.
  line = line.then(async () => {
    try {
      self.postMessage({ id: data.id, result: await TASKS[data.task](data) });
    } catch (error) {
      self.postMessage({ id: data.id, error: String(error?.message ?? error) });
    }
  });
});
