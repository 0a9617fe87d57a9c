// @ts-check
/** The tools over the spectrum: what a drag, a slider or a button makes of the mask. */
import { byId, make } from "./dom.js";

const UNIT = 64; // sliders of radii go in steps of pi / 64

/**
 * @typedef {object} Slider
 * @property {string} name @property {string} label @property {number} min @property {number} max
 * @property {number} step @property {number} value @property {(v: number) => string} says
 */

export class Tools {
  /**
   * @param {import("./state.js").State} state
   * @param {import("./spectrum.js").SpectrumView} view
   * @param {{changed: (final: boolean) => void, stamped: (step: import("./mask.js").Step) => void}} listener
   * @param {{height: number, width: number}} size
   * @param {number[]} radii of the analysis, in radians a pixel
   */
  constructor(state, view, listener, size, radii) {
    this.state = state;
    this.view = view;
    this.listener = listener;
    this.size = size;
    this.chosen = "brush";
    /** @type {import("./mask.js").Step | null} the step that a drag or a slider is changing */
    this.current = null;
    const cycles = (/** @type {number} */ v) => ((v * Math.min(size.height, size.width)) / 2).toFixed(1);
    const says = (/** @type {number} */ v) => `${(v * Math.PI).toFixed(2)} rad a pixel, ${cycles(v)} cycles`;
    const angle = (/** @type {number} */ v) => `${v}\u00b0`;
    const radius = { min: 0, max: 92 / UNIT, step: 1 / UNIT, says };
    const places = (/** @type {number} */ v) => `${v} cycles around`;
    const brush = { name: "size", label: "size", min: 0, max: Math.max(8, Math.round(size.width / 8)), step: 1, says: places };
    /** @type {Record<string, {title: string, hint: string, sliders: Slider[]}>} */
    this.all = {
      low: { title: "Low-pass", hint: "keeps what is inside the radius", sliders: [{ name: "radius", label: "radius", ...radius, value: 0.25 }] },
      high: { title: "High-pass", hint: "keeps what is outside the radius", sliders: [{ name: "radius", label: "radius", ...radius, value: 0.125 }] },
      band: {
        title: "Band", hint: "keeps what is between two radii",
        sliders: [{ name: "inner", label: "from", ...radius, value: 0.125 }, { name: "outer", label: "to", ...radius, value: 0.5 }],
      },
      wedge: {
        title: "Wedge", hint: "keeps waves that run along an angle",
        sliders: [
          { name: "angle", label: "angle", min: 0, max: 179, step: 1, value: 0, says: angle },
          { name: "width", label: "width", min: 2, max: 180, step: 1, value: 40, says: angle },
        ],
      },
      brush: {
        title: "Brush", hint: "paints a strength: 0 removes, 2 doubles",
        sliders: [
          { name: "strength", label: "strength", min: 0, max: 2, step: 0.05, value: 0, says: (v) => `\u00d7 ${v.toFixed(2)}` },
          { ...brush, value: Math.max(1, Math.round(size.width / 28)) },
        ],
      },
      eraser: { title: "Eraser", hint: "brings frequencies back", sliders: [{ ...brush, value: Math.max(2, Math.round(size.width / 20)) }] },
    };
    this.build(radii);
    view.onStroke = (phase, place) => this.stroke(phase, place);
    this.choose("brush");
  }

  /** @param {number[]} radii */
  build(radii) {
    const group = byId("tools");
    for (const [name, { title, hint }] of Object.entries(this.all)) {
      group.append(make("button", {
        type: "button", "data-tool": name, title: hint, "aria-pressed": "false",
        onclick: () => this.choose(name),
      }, title));
    }
    const preset = byId("preset");
    for (const kind of ["low", "high"]) {
      const options = make("optgroup", { label: kind === "low" ? "keep |w| up to" : "keep |w| above" });
      for (const radius of radii) {
        const part = Math.round((radius / Math.PI) * 1e4) / 1e4;
        options.append(make("option", { value: `${kind}:${part}` }, `${kind}-pass ${radius.toFixed(2)} rad`));
      }
      preset.append(options);
    }
    preset.addEventListener("change", () => {
      if (!preset.value) return;
      const [kind, value] = preset.value.split(":");
      this.state.remember();
      this.state.steps = [{ kind, values: [Number(value)], places: [] }];
      preset.value = "";
      this.done();
    });
    byId("invert").addEventListener("click", () => this.push({ kind: "invert", values: [], places: [] }));
    byId("undo").addEventListener("click", () => this.undo());
    byId("reset").addEventListener("click", () => {
      this.state.remember();
      this.state.steps = [];
      this.done();
    });
  }

  /** @param {string} name */
  choose(name) {
    this.chosen = name;
    this.current = null;
    for (const button of byId("tools").querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(button.dataset.tool === name));
    }
    const { hint, sliders } = this.all[name];
    const place = byId("sliders");
    place.replaceChildren(make("span", { class: "hint" }, `${this.all[name].title} ${hint}: drag on the spectrum${this.isBrush ? "" : ", or move the slider"}.`));
    for (const slider of sliders) {
      const { label, min, max, step, value, says } = slider;
      const output = make("output", {}, says(value));
      const input = make("input", { type: "range", min, max, step, value, "data-slider": slider.name, "aria-label": `${this.all[name].title}: ${label}` });
      input.addEventListener("input", () => {
        slider.value = Number(input.value);
        output.textContent = says(slider.value);
        input.setAttribute("aria-valuetext", output.textContent);
        if (this.view.cross) this.view.cross.size = this.brushSize;
        if (!this.isBrush) this.adjust(false);
      });
      input.addEventListener("change", () => {
        if (!this.isBrush) this.adjust(true);
      });
      place.append(make("label", {}, make("span", {}, label), input, output));
    }
  }

  get isBrush() {
    return this.chosen === "brush" || this.chosen === "eraser";
  }

  /** @param {string} name @returns {number} a slider's value */
  value(name) {
    return this.all[this.chosen].sliders.find((slider) => slider.name === name)?.value ?? 0;
  }

  get brushSize() {
    return this.isBrush ? this.value("size") : 0;
  }

  /** @param {string} name @param {number} value set from a drag */
  slide(name, value) {
    const slider = this.all[this.chosen].sliders.find((s) => s.name === name);
    const input = byId("sliders").querySelector(`[data-slider=${name}]`);
    if (!slider || !input) return;
    slider.value = Math.min(Math.max(Math.round(value / slider.step) * slider.step, slider.min), slider.max);
    input.value = String(slider.value);
    input.nextElementSibling.textContent = slider.says(slider.value);
  }

  /** @param {boolean} final the drag or slider has come to rest */
  adjust(final) {
    const values = this.all[this.chosen].sliders.map((slider) => slider.value);
    const last = this.state.steps.at(-1);
    if (this.current && last === this.current) this.current.values = values;
    else {
      this.state.remember();
      this.current = { kind: this.chosen, values, places: [] };
      this.state.steps.push(this.current);
    }
    this.listener.changed(final);
  }

  /** @param {import("./mask.js").Step} step */
  push(step) {
    this.state.remember();
    this.state.steps.push(step);
    this.done();
  }

  undo() {
    if (this.state.undo()) this.done();
  }

  done() {
    this.current = null;
    this.listener.changed(true);
  }

  /** @param {"start" | "move" | "end"} phase @param {import("./spectrum.js").Place} place */
  stroke(phase, place) {
    if (this.isBrush) return this.paint(phase, place);
    const radius = Math.hypot((2 * place.p) / this.size.height, (2 * place.q) / this.size.width);
    if (phase !== "end") {
      if (this.chosen === "wedge") {
        const turn = (Math.atan2(place.p / this.size.height, place.q / this.size.width) * 180) / Math.PI;
        this.slide("angle", ((Math.round(turn) % 180) + 180) % 180);
      } else if (this.chosen === "band") {
        if (phase === "start") this.from = radius;
        this.slide("inner", Math.min(this.from ?? 0, radius));
        this.slide("outer", Math.max(this.from ?? 0, radius));
      } else this.slide("radius", radius);
    }
    this.adjust(phase === "end");
  }

  /** @param {"start" | "move" | "end"} phase @param {import("./spectrum.js").Place} place */
  paint(phase, place) {
    if (phase === "end") {
      this.done();
      return;
    }
    const to = [place.p, place.q];
    if (phase === "start" || !this.current) {
      this.state.remember();
      const strength = this.chosen === "eraser" ? 1 : this.value("strength");
      this.current = { kind: "brush", values: [strength, this.value("size")], places: [to] };
      this.state.steps.push(this.current);
      this.listener.stamped({ ...this.current });
      return;
    }
    const added = pathBetween(/** @type {number[]} */ (this.current.places.at(-1)), to, Math.max(1, this.value("size") / 3));
    if (!added.length) return;
    this.current.places.push(...added);
    this.listener.stamped({ ...this.current, places: added });
  }
}

/**
 * Places on the way from one to another, without the first.
 *
 * @param {number[]} from @param {number[]} to @param {number} step
 * @returns {number[][]}
 */
function pathBetween(from, to, step) {
  const far = Math.hypot(to[0] - from[0], to[1] - from[1]), count = Math.ceil(far / step);
  const places = [];
  for (let i = 1; i <= count; i++) {
    places.push([0, 1].map((axis) => Math.round(from[axis] + ((to[axis] - from[axis]) * i) / count)));
  }
  return places;
}
