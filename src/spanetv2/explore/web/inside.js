// @ts-check
/** The blocks of a network: their measured gains under the mask, their maps now, their switches. */
import { wordsFromBase64 } from "./bytes.js";
import { short } from "./chart.js";
import { around, drawPlane, scale, veiled } from "./colours.js";
import { byId, make } from "./dom.js";
import { cropMask } from "./mask.js";

const DECIBELS = 12; // the scale of changes ends here
const FACTS = /** @type {[string, string, string][]} */ ([
  ["dc_gain", "gain at 0", "what becomes of a flat area"],
  ["rms_gain", "rms gain off 0", "of all other waves"],
  ["lambda_c", "centroid", "0 low-pass, 1 flat, 2 high-pass"],
  ["m_eff", "M_eff", "tokens that one token really averages"],
  ["leakage", "leakage", "share of the power that leaves its frequency"],
]);

/** @param {{max: number, data: string}} packed @returns {Float64Array} */
function unpacked({ max, data }) {
  return Float64Array.from(wordsFromBase64(data), (word) => (word / 65535) * max);
}

export class Inside {
  /**
   * @param {any[]} specs of the networks
   * @param {import("./state.js").State} state
   * @param {{switched: () => void, looked: () => void}} listener
   */
  constructor(specs, state, listener) {
    this.specs = specs;
    this.state = state;
    this.listener = listener;
    /** @type {import("./mask.js").Mask | null} */ this.mask = null;
    /** @type {Record<string, Float64Array> | null} */ this.now = null;
    /** @type {Record<string, Float64Array> | null} */ this.whole = null;
    /** @type {Map<any, Float64Array>} */ this.kept = new Map();
    const choice = byId("inside-model");
    specs.forEach((spec, i) => choice.append(make("option", { value: i }, spec.title)));
    choice.closest("label").hidden = specs.length < 2;
    choice.addEventListener("change", () => {
      this.state.model = Number(choice.value);
      this.state.block = 0;
      this.forget();
      this.build();
      this.listener.looked();
    });
    byId("all-on").addEventListener("click", () => {
      this.state.off.clear();
      this.build();
      this.listener.switched();
    });
  }

  /** The maps are of another image or network. */
  forget() {
    this.now = this.whole = null;
  }

  get spec() {
    return this.specs[Math.min(this.state.model, this.specs.length - 1)];
  }

  /** @param {any} packed */
  values(packed) {
    let values = this.kept.get(packed);
    if (!values) this.kept.set(packed, (values = unpacked(packed)));
    return values;
  }

  /** Make the strip and the chosen block's part anew. */
  build() {
    byId("inside-model").value = String(this.state.model);
    const blocks = this.spec.blocks;
    this.state.block = Math.min(this.state.block, Math.max(blocks.length - 1, 0));
    const strip = byId("strip");
    this.thumbs = blocks.map((/** @type {any} */ block, /** @type {number} */ i) => {
      const gain = make("canvas", { "aria-hidden": "true" }), change = make("canvas", { "aria-hidden": "true" });
      const button = make("button", {
        type: "button", "aria-pressed": String(i === this.state.block), "data-block": i,
        "aria-label": `block ${i + 1}: stage ${block.stage}, ${block.kind}, ${block.grid.join(" by ")} tokens`,
        onclick: () => this.choose(i),
      }, gain, change, make("span", {}, `${i + 1} \u00b7 stage ${block.stage}`), make("small", {}, `${block.kind} ${block.grid.join("\u00d7")}`));
      return { button, gain, change };
    });
    strip.replaceChildren(...this.thumbs.map(({ button }) => button));
    byId("strip-empty").hidden = blocks.length > 0;
    byId("all-on").hidden = !this.spec.rows;
    this.buildBlock();
    this.draw();
  }

  /** @param {number} place */
  choose(place) {
    this.state.block = place;
    byId("strip").querySelectorAll("button").forEach((/** @type {Element} */ b, /** @type {number} */ i) =>
      b.setAttribute("aria-pressed", String(i === place)));
    this.buildBlock();
    this.draw();
    this.listener.looked();
  }

  buildBlock() {
    const block = this.spec.blocks[this.state.block];
    byId("block").hidden = !block;
    if (!block) return;
    byId("block-name").textContent = block.name;
    const facts = byId("block-facts");
    facts.replaceChildren(...FACTS.filter(([key]) => key in block.scalars).map(([key, name, title]) =>
      make("div", { title }, make("dt", {}, name), make("dd", {}, short(block.scalars[key])))));
    byId("gain-figure").hidden = !block.gain;
    byId("change-figure").hidden = !block.output;
    const heads = byId("heads");
    byId("heads-box").hidden = !block.heads.length;
    heads.replaceChildren(...block.heads.map((/** @type {any} */ head, /** @type {number} */ i) => this.headRow(block, head, i)));
  }

  /** @param {any} block @param {any} head @param {number} place */
  headRow(block, head, place) {
    const row = make("tr", {}, make("th", { scope: "row" }, head.name));
    for (const part of ["kernel", "gate", "product"]) {
      const values = this.values(head[part]), [h, w] = block.grid;
      const least = Math.min(...values), most = head[part].max, range = `${short(least)} to ${short(most)}`;
      const canvas = make("canvas", { role: "img", "aria-label": `${part} of head ${head.name}, ${range}` });
      drawPlane(canvas, values, h, w, (v) => scale((v - least) / (most - least || 1)));
      row.append(make("td", {}, canvas, make("small", {}, range)));
    }
    if (block.row !== null) {
      for (const [kind, name] of [["h", "head"], ["f", "filter"]]) {
        const key = `${this.state.model}.${block.row}.${kind}.${place}`;
        const box = make("input", { type: "checkbox", "data-switch": key, "aria-label": `${name} ${head.name} acts` });
        box.checked = !this.state.off.has(key);
        box.addEventListener("change", () => {
          if (box.checked) this.state.off.delete(key);
          else this.state.off.add(key);
          this.listener.switched();
          this.markOff();
        });
        row.append(make("td", { class: "switch" }, make("label", {}, box, ` ${name}`)));
      }
    }
    return row;
  }

  /** Mark the blocks in which something is switched off. */
  markOff() {
    this.spec.blocks.forEach((/** @type {any} */ block, /** @type {number} */ i) => {
      const own = [...this.state.off].some((key) => key.startsWith(`${this.state.model}.${block.row}.`));
      this.thumbs?.[i].button.classList.toggle("partly-off", block.row !== null && own);
    });
  }

  /** Draw what depends on the mask and the maps. */
  draw() {
    this.spec.blocks.forEach((/** @type {any} */ block, /** @type {number} */ i) => {
      const thumb = this.thumbs?.[i];
      if (!thumb) return;
      this.drawGain(thumb.gain, block);
      this.drawChange(thumb.change, block);
    });
    this.markOff();
    const block = this.spec.blocks[this.state.block];
    if (!block) return;
    this.drawGain(byId("gain-map"), block);
    const known = this.drawChange(byId("change-map"), block);
    byId("change-note").textContent = known
      ? `amplitudes of its output against the whole image, ${"\u2212"}${DECIBELS} dB blue to +${DECIBELS} dB orange`
      : "paint, and its output is compared with the whole image's";
    if (block.gain) byId("gain-note").textContent = `black 0, white ${short(block.gain.max)}; blue is what the mask takes away`;
  }

  /** @param {HTMLCanvasElement} canvas @param {any} block */
  drawGain(canvas, block) {
    canvas.hidden = !block.gain;
    if (!block.gain) return;
    const [h, w] = block.grid, values = this.values(block.gain), largest = block.gain.max;
    const mask = this.mask ? cropMask(this.mask, h, w).data : null;
    drawPlane(canvas, values, h, w, (v, i) => veiled(20 + (235 * v) / largest, mask ? mask[i] : 1));
  }

  /** @param {HTMLCanvasElement} canvas @param {any} block @returns {boolean} whether it is known */
  drawChange(canvas, block) {
    const now = this.now?.[block.output], whole = this.whole?.[block.output];
    canvas.hidden = !now || !whole;
    if (!now || !whole) return false;
    const [h, w] = block.grid, floor = 1e-6 * Math.max(...whole);
    drawPlane(canvas, now, h, w, (v, i) => around((20 * Math.log10((v + floor) / (whole[i] + floor))) / DECIBELS));
    return true;
  }

  /** @returns {Record<string, string[]>} what is switched off in the model, for Python */
  offByName(/** @type {number} */ model) {
    /** @type {Record<string, string[]>} */
    const off = {};
    for (const key of [...this.state.off].sort()) {
      const [m, row, kind, head] = key.split(".");
      const block = this.specs[model].blocks.find((/** @type {any} */ b) => b.row === Number(row));
      if (Number(m) !== model || !block) continue;
      (off[block.name] ??= []).push(`${kind === "h" ? "head" : "filter"} ${Number(head) + 1}`);
    }
    return off;
  }
}
