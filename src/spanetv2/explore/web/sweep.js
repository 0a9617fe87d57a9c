// @ts-check
/** Two questions asked of a network by many masks: how far it can see, and which band decides. */
import { LINES } from "./colours.js";
import { byId, make, percent } from "./dom.js";
import { lineChart } from "./chart.js";
import { drawMask, parseSteps } from "./mask.js";
import { softmax, topOf } from "./network.js";

const RADII = 16, RINGS = 16;
const CORNER = Math.SQRT2; // the largest |w| in units of pi

/**
 * Radii in units of pi: evenly to the corner, and those of the analysis.
 *
 * @param {number[]} analysis in radians a pixel
 */
export function sweepRadii(analysis) {
  const even = Array.from({ length: RADII }, (_, i) => ((i + 1) * CORNER) / RADII);
  const own = analysis.map((radius) => radius / Math.PI);
  return [0, ...new Set([...even, ...own].map((v) => Math.round(v * 1e4) / 1e4))].sort((a, b) => a - b);
}

export class Sweeps {
  /**
   * @param {import("./network.js").Network[]} networks
   * @param {{height: number, width: number}} size
   * @param {number[]} radii of the analysis
   * @param {(model: number) => Float32Array | null} switches
   * @param {(bands: {inner: number, outer: number, colour: string}[]) => void} showRings
   * @param {(steps: string) => void} use a mask
   */
  constructor(networks, size, radii, switches, showRings, use) {
    this.networks = networks;
    this.size = size;
    this.switches = switches;
    this.showRings = showRings;
    this.use = use;
    this.radii = sweepRadii(radii);
    this.run = 0;
    this.sweepButton = byId("sweep");
    this.bandButton = byId("band");
    this.sweepButton.addEventListener("click", () => this.start(this.sweepButton, () => this.sweep()));
    this.bandButton.addEventListener("click", () => this.start(this.bandButton, () => this.findBands()));
  }

  /** Stop what runs, and forget what was found: the image is another one. */
  clear() {
    this.run++;
    byId("sweep-charts").replaceChildren();
    byId("band-results").replaceChildren();
    byId("sweep-charts").dataset.state = byId("band-results").dataset.state = "";
    this.showRings([]);
  }

  /** @param {HTMLButtonElement} button @param {() => Promise<void>} work */
  async start(button, work) {
    const running = button.dataset.running === "yes";
    this.run++;
    if (running) return;
    const label = button.textContent;
    button.dataset.running = "yes";
    button.textContent = "Stop";
    try {
      await work();
    } catch (error) {
      if (error !== STOPPED) byId("sweep-status").textContent = `stopped: ${/** @type {Error} */ (error).message}`;
    } finally {
      button.dataset.running = "";
      button.textContent = label;
    }
  }

  /**
   * @param {number} model @param {string} steps @param {number} run
   * @returns {Promise<number[]>} probabilities
   */
  async ask(model, steps, run) {
    const { height, width } = this.size;
    const mask = drawMask(parseSteps(steps), height, width);
    const answer = await this.networks[model].ask({ mask, switches: this.switches(model) });
    if (run !== this.run) throw STOPPED;
    return softmax(answer.logits);
  }

  async sweep() {
    const run = this.run, place = byId("sweep-charts"), status = byId("sweep-status");
    place.replaceChildren();
    place.dataset.state = "running";
    const models = [...this.networks.keys()].filter((i) => this.networks[i].started);
    const total = models.length * 2 * this.radii.length;
    let count = 0;
    await Promise.all(models.map(async (model) => {
      const { title, classes } = this.networks[model].spec;
      const box = make("div", { class: "pair", "data-model": String(model) }, make("h3", {}, title));
      place.append(box);
      const whole = await this.ask(model, "", run), top = topOf(whole, 3);
      /** @type {Record<string, number[][]>} */
      const found = {};
      for (const kind of ["low", "high"]) {
        found[kind] = [];
        for (const radius of this.radii) {
          found[kind].push(await this.ask(model, `${kind}:${radius}`, run));
          status.textContent = `${++count} of ${total}`;
        }
      }
      const largest = Math.max(...Object.values(found).flat().flatMap((p) => top.map((c) => p[c])));
      const height = [0.02, 0.1, 0.5, 1].find((v) => v >= largest) ?? 1;
      for (const kind of ["low", "high"]) {
        const lines = top.map((c, i) => ({
          name: classes[c], colour: i,
          x: this.radii.map((r) => r * Math.PI), y: found[kind].map((p) => p[c]),
        }));
        box.append(lineChart({
          title: kind === "low" ? "low-pass: only |w| up to the radius" : "high-pass: only |w| above it",
          lines, xLabel: "cut-off radius (radians a pixel)", yLabel: "probability",
          xTicks: [[0, "0"], [Math.PI / 2, "\u03c0/2"], [Math.PI, "\u03c0"], [CORNER * Math.PI, "\u03c0\u221a2"]],
          yTicks: [[0, "0"], [height / 2, `${50 * height} %`], [height, `${100 * height} %`]],
        }));
      }
      box.dataset.values = JSON.stringify({ radii: this.radii, classes: top, ...found });
    }));
    status.textContent = "";
    place.dataset.state = "done";
  }

  async findBands() {
    const run = this.run, place = byId("band-results"), status = byId("sweep-status");
    place.replaceChildren();
    place.dataset.state = "running";
    /** @type {{inner: number, outer: number, colour: string}[]} */
    const rings = [];
    const models = [...this.networks.keys()].filter((i) => this.networks[i].started);
    await Promise.all(models.map(async (model) => {
      const spec = this.networks[model].spec;
      const found = await narrowestBand(
        (steps) => this.ask(model, steps, run),
        2 / Math.min(this.size.height, this.size.width),
        (text) => (status.textContent = `${spec.title}: ${text}`),
      );
      const line = make("p", { "data-model": String(model) });
      if (!found) line.append(`${spec.title}: no band decides alone; the answer stays whatever ring is removed.`);
      else {
        const { inner, outer, before, after, was, is } = found;
        const colour = LINES[[1, 4, 3][model]];
        rings.push({ inner, outer, colour });
        const rad = (/** @type {number} */ v) => (v * Math.PI).toFixed(2);
        line.dataset.band = JSON.stringify(found);
        line.append(
          make("span", { class: "swatch", style: `background:${colour}` }),
          `${spec.title}: without ${rad(inner)} to ${rad(outer)} rad a pixel, ${spec.classes[was]} (${percent(before)}) becomes ${spec.classes[is]} (${percent(after)}). `,
          make("button", { type: "button", onclick: () => this.use(`band:${inner}:${outer};invert`) }, "Remove this band"),
        );
      }
      place.append(line);
      this.showRings(rings);
    }));
    status.textContent = "";
    place.dataset.state = "done";
  }
}

const STOPPED = new Error("stopped");

/**
 * The narrowest band whose removal changes the answer: rings of a sixteenth of the plane, then
 * neighbours together, the narrowest first; what is found is trimmed to a cycle at either side.
 *
 * @param {(steps: string) => Promise<number[]>} ask probabilities under a mask
 * @param {number} cycle in units of pi
 * @param {(text: string) => void} tell
 * @returns {Promise<{inner: number, outer: number, was: number, is: number, before: number, after: number} | null>}
 */
export async function narrowestBand(ask, cycle, tell) {
  const whole = await ask(""), was = topOf(whole, 1)[0];
  const round = (/** @type {number} */ v) => Math.round(v * 1e4) / 1e4;
  const edges = Array.from({ length: RINGS + 1 }, (_, i) => round((i * CORNER) / RINGS));
  const without = async (/** @type {number} */ inner, /** @type {number} */ outer) => {
    const shares = await ask(`band:${inner}:${outer};invert`), is = topOf(shares, 1)[0];
    return { inner, outer, was, is, before: whole[was], after: shares[is], left: shares[was] };
  };
  for (let width = 1; width <= RINGS; width++) {
    let best = null;
    for (let start = 0; start + width <= RINGS; start++) {
      tell(`bands of ${width} of ${RINGS} rings`);
      const tried = await without(edges[start], edges[start + width]);
      if (tried.is !== was && (!best || tried.left < best.left)) best = tried;
    }
    if (!best) continue;
    for (let step = CORNER / RINGS / 2; step >= cycle; step /= 2) {
      for (const [inner, outer] of [[best.inner + step, best.outer], [best.inner, best.outer - step]]) {
        if (outer - inner < cycle) continue;
        tell("trimming");
        const tried = await without(round(inner), round(outer));
        if (tried.is !== was) {
          best = tried;
          break;
        }
      }
    }
    return best;
  }
  return null;
}
