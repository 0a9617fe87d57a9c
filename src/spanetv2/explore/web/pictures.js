// @ts-check
/** Image files to pixels, and planes of values onto canvases. */
import { PageError } from "./bytes.js";

const LARGEST = 4096; // pixels a side; larger pictures are shrunk by the browser first

/** @typedef {{width: number, height: number, data: Uint8ClampedArray}} Picture RGBA, opaque */

/** @param {CanvasImageSource} source @param {number} width @param {number} height @returns {Picture} */
function pixelsOf(source, width, height) {
  const scale = Math.min(1, LARGEST / Math.max(width, height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { willReadFrequently: true }));
  context.fillStyle = "#ffffff"; // what is transparent is seen on white, as the package reads it
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  return { width: canvas.width, height: canvas.height, data };
}

/** @param {File} file @returns {Promise<Picture>} */
export async function decodeImage(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { colorSpaceConversion: "none", imageOrientation: "from-image" });
  } catch {
    throw new PageError(`${file.name} is no image that this browser can read: choose a PNG, JPEG, WebP or GIF file`);
  }
  const picture = pixelsOf(bitmap, bitmap.width, bitmap.height);
  bitmap.close();
  return picture;
}

/** @param {string} source address of a picture of the page's @returns {Promise<Picture>} */
export async function samplePixels(source) {
  const image = new Image();
  image.src = source;
  await image.decode();
  return pixelsOf(image, image.naturalWidth, image.naturalHeight);
}

/** @param {HTMLCanvasElement} canvas @param {import("./filter.js").Planes} planes values in 0..1 */
export function drawPicture(canvas, { channels, height, width, data }) {
  canvas.width = width;
  canvas.height = height;
  canvas.classList.toggle("small", Math.max(width, height) < 100);
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const image = context.createImageData(width, height), size = height * width;
  for (let i = 0; i < size; i++) {
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = 255 * data[(channels === 1 ? 0 : c) * size + i];
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}
