// @ts-check
/**
 * The spectrum of the image, with the mask over it: where the reader paints. It draws, and tells
 * where the pointer or the keyboard's cross goes; what a stroke means is the tools' business.
 */
import { drawPlane, veiled } from "./colours.js";

const LEFT = 46, TOP = 34, RIGHT = 8, BOTTOM = 40;

/** @typedef {{p: number, q: number}} Place cycles an image, down and to the right */

export class SpectrumView {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    this.plane = document.createElement("canvas");
    this.height = this.width = 1;
    /** @type {Float32Array} */ this.levels = new Float32Array(1);
    /** @type {import("./mask.js").Mask | null} */ this.mask = null;
    /** @type {{inner: number, outer: number, colour: string}[]} in units of pi */ this.rings = [];
    /** @type {Place & {size: number} | null} */ this.cross = null;
    /** @type {(phase: "start" | "move" | "end", place: Place) => void} */ this.onStroke = () => {};
    this.last = { p: 0, q: 0 };
    this.painting = false;
    canvas.addEventListener("pointerdown", (event) => this.pointer(event, "start"));
    canvas.addEventListener("pointermove", (event) => this.painting && this.pointer(event, "move"));
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, (event) => this.painting && this.pointer(/** @type {PointerEvent} */ (event), "end"));
    }
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("blur", () => {
      this.cross = null;
      this.draw();
    });
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  /**
   * @param {Float64Array} amplitudes zero first @param {number} height @param {number} width
   */
  setImage(amplitudes, height, width) {
    this.height = height;
    this.width = width;
    const logs = amplitudes.map((a) => Math.log10(a + 1e-3));
    const sorted = Float64Array.from(logs).sort();
    const low = sorted[Math.floor(sorted.length * 0.02)], high = sorted[sorted.length - 1];
    this.levels = Float32Array.from(logs, (v) => Math.min(Math.max((v - low) / (high - low || 1), 0), 1));
    this.canvas.dataset.size = `${height}x${width}`;
  }

  /** @param {PointerEvent} event @param {"start" | "move" | "end"} phase */
  pointer(event, phase) {
    if (phase === "start") {
      if (event.button !== 0) return;
      this.painting = true;
      try {
        this.canvas.setPointerCapture(event.pointerId);
      } catch {
        // a pointer that is gone already
      }
    }
    if (phase === "end") this.painting = false;
    else this.last = this.placeOf(event);
    this.onStroke(phase, this.last);
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    const move = moves[/** @type {keyof typeof moves} */ (event.key)];
    const at = this.cross ?? { p: 0, q: 0, size: 0 };
    if (move) {
      const far = event.shiftKey ? 8 : 1;
      this.cross = { ...this.clamped({ p: at.p + move[0] * far, q: at.q + move[1] * far }), size: at.size };
      this.draw();
    } else if (event.key === " " || event.key === "Enter") {
      this.onStroke("start", at);
      this.onStroke("end", at);
    } else return;
    this.canvas.dataset.cross = `${this.cross?.p ?? 0}.${this.cross?.q ?? 0}`;
    event.preventDefault();
  }

  /** @param {Place} place @returns {Place} within the plane */
  clamped({ p, q }) {
    const fit = (/** @type {number} */ v, /** @type {number} */ n) =>
      Math.min(Math.max(v, -Math.floor(n / 2)), Math.ceil(n / 2) - 1);
    return { p: fit(p, this.height), q: fit(q, this.width) };
  }

  /** Size of a cell in CSS pixels. */
  get cell() {
    const room = Math.min(this.canvas.clientWidth - LEFT - RIGHT, this.canvas.clientHeight - TOP - BOTTOM);
    return Math.max(room, 10) / Math.max(this.width, this.height);
  }

  /** @param {MouseEvent} event @returns {Place} */
  placeOf(event) {
    const box = this.canvas.getBoundingClientRect();
    return this.clamped({
      q: Math.floor((event.clientX - box.left - LEFT) / this.cell) - Math.floor(this.width / 2),
      p: Math.floor((event.clientY - box.top - TOP) / this.cell) - Math.floor(this.height / 2),
    });
  }

  /** @param {Place} place @returns {[number, number]} middle of its cell, in CSS pixels */
  pointOf({ p, q }) {
    return [
      LEFT + (q + Math.floor(this.width / 2) + 0.5) * this.cell,
      TOP + (p + Math.floor(this.height / 2) + 0.5) * this.cell,
    ];
  }

  draw() {
    const { canvas, context } = this, ratio = globalThis.devicePixelRatio || 1;
    const [w, h] = [canvas.clientWidth, canvas.clientHeight];
    if (!w || !h) return;
    canvas.width = Math.round(w * ratio);
    canvas.height = Math.round(h * ratio);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, w, h);
    this.drawPlane();
    const wide = this.width * this.cell, tall = this.height * this.cell;
    context.imageSmoothingEnabled = this.cell * ratio < 1;
    context.drawImage(this.plane, LEFT, TOP, wide, tall);
    this.drawRings();
    this.drawAxes(wide, tall);
    if (this.cross && document.activeElement === canvas) this.drawCross();
  }

  drawPlane() {
    const { plane, width, height, levels, mask } = this;
    drawPlane(plane, levels, height, width, (level, i) => veiled(30 + 225 * level ** 1.2, mask ? mask.data[i] : 1));
  }

  drawRings() {
    const { context, cell, width, height } = this;
    const [x, y] = this.pointOf({ p: 0, q: 0 });
    context.save();
    context.beginPath();
    context.rect(LEFT, TOP, width * cell, height * cell);
    context.clip();
    for (const { inner, outer, colour } of this.rings) {
      context.strokeStyle = colour;
      context.lineWidth = 2.5;
      context.setLineDash([7, 4]);
      for (const radius of [inner, outer]) {
        if (!radius) continue;
        context.beginPath();
        context.ellipse(x, y, (radius * width * cell) / 2, (radius * height * cell) / 2, 0, 0, 2 * Math.PI);
        context.stroke();
      }
    }
    context.restore();
  }

  /** @param {number} wide @param {number} tall of the plane in CSS pixels */
  drawAxes(wide, tall) {
    const { context, cell, width, height } = this;
    const style = getComputedStyle(this.canvas);
    context.fillStyle = context.strokeStyle = style.color;
    context.font = `12px ${style.fontFamily}`;
    context.lineWidth = 1;
    context.strokeRect(LEFT + 0.5, TOP + 0.5, wide, tall);
    const [x, y] = this.pointOf({ p: 0, q: 0 });
    for (const part of [-1, -0.5, 0, 0.5, 1]) {
      const cycles = String(Math.round((part * width) / 2));
      const text = part ? `${part < 0 ? "\u2212" : ""}\u03c0${Math.abs(part) === 1 ? "" : "/2"}` : "0";
      const at = x + (part * width * cell) / 2, down = y + (part * height * cell) / 2;
      context.textAlign = "center";
      context.fillText(cycles.replace("-", "\u2212"), at, TOP + tall + 15);
      context.fillText(text, at, TOP - 6);
      context.textAlign = "right";
      context.fillText(String(Math.round((part * height) / 2)).replace("-", "\u2212"), LEFT - 6, down + (part === 1 ? -1 : 4));
    }
    context.textAlign = "center";
    context.fillText("cycles an image", LEFT + wide / 2, TOP + tall + 32);
    context.fillText("radians a pixel", LEFT + wide / 2, TOP - 21);
  }

  drawCross() {
    const { context, cell, cross } = this;
    if (!cross) return;
    const [x, y] = this.pointOf(cross);
    const arm = Math.max(8, (cross.size + 0.5) * cell);
    for (const [colour, wide] of /** @type {[string, number][]} */ ([["#000000", 4], ["#ffffff", 2]])) {
      context.strokeStyle = colour;
      context.lineWidth = wide;
      context.setLineDash([]);
      context.beginPath();
      context.moveTo(x - arm, y);
      context.lineTo(x + arm, y);
      context.moveTo(x, y - arm);
      context.lineTo(x, y + arm);
      context.stroke();
    }
  }
}
