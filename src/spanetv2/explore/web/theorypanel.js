// @ts-check
/** Token mixers of one's own making: their simulated response beside the law. */
import { RADIANS, lineChart, short } from "./chart.js";
import { byId, make } from "./dom.js";
import * as theory from "./theory.js";

const N = 16, WIDTH = 32;
const DRAWS = { kernel: 200, attention: 2 };

/** @typedef {{name: string, label: string, min: number, max: number, step: number, value: number, for?: string[], says: (v: number) => string}} Slider */

const FAMILIES = {
  signed: "convolution, signed weights",
  softmaxed: "convolution, softmaxed weights",
  window: "window graph: mean of k \u00d7 k",
  attention: "attention in a window",
  global: "attention over all tokens",
};
/** Which of the study's statements speaks of a family. */
const VERDICTS = { signed: "high_pass", softmaxed: "high_pass", window: "large_kernels", attention: "connectivity", global: "differ" };

/** @type {Slider[]} */
const SLIDERS = [
  { name: "k", label: "window k", min: 3, max: 9, step: 2, value: 3, for: ["signed", "softmaxed", "window", "attention"], says: (v) => `${v} \u00d7 ${v} tokens` },
  { name: "mean", label: "mean of the weights", min: 0, max: 2, step: 0.1, value: 0, for: ["signed"], says: (v) => `${v.toFixed(1)} standard deviations` },
  { name: "tau", label: "logits' deviation \u03c4", min: 0.1, max: 2, step: 0.1, value: 1, for: ["softmaxed", "attention", "global"], says: (v) => v.toFixed(1) },
  { name: "residual", label: "shortcut: I + vC", min: -1, max: 1, step: 0.1, value: 0, says: (v) => (v ? `v = ${v.toFixed(1)}` : "off: C alone") },
  { name: "theta", label: "SRF gate \u03b8", min: -3, max: 3, step: 0.25, value: 0, for: ["signed", "softmaxed", "window"], says: (v) => (v ? `${short(v)} below \u03bb = 1, ${short(-v)} above` : "off") },
];

/**
 * What the sliders describe: the simulated response and the law of its power.
 *
 * @param {string} family @param {Record<string, number>} values of the sliders
 * @returns {{simulated: theory.Response, law: Float64Array}}
 */
export function simulate(family, { k, mean, tau, residual, theta }) {
  const rng = theory.random(7), M = k * k;
  const responses = [];
  let profile = new Float64Array(N * N), law = profile; // E phi, which is real, and E g^2
  if (family === "window") {
    responses.push(theory.kernelResponse(new Float64Array(M).fill(1 / M), k, N));
    profile = theory.boxResponse(k, N);
    law = profile.map((b) => b * b);
  } else if (family === "signed") {
    // PyTorch's default initialisation of depthwise convolutions, moved by its own deviation.
    const sigma = Math.sqrt(1 / (3 * M)), mu = mean * sigma;
    for (let i = 0; i < DRAWS.kernel; i++) {
      const weights = Float64Array.from({ length: M }, () => mu + (2 * rng.uniform() - 1) / k);
      responses.push(theory.kernelResponse(weights, k, N));
    }
    law = theory.randomKernelPower(k, mu, sigma * sigma, N);
    profile = theory.boxResponse(k, N).map((b) => M * mu * b);
  } else {
    const side = family === "global" ? 0 : k;
    for (let i = 0; i < (family === "softmaxed" ? DRAWS.kernel : DRAWS.attention); i++) {
      if (family === "softmaxed") {
        const powers = Float64Array.from({ length: M }, () => Math.exp(tau * rng.normal()));
        const sum = powers.reduce((a, b) => a + b, 0);
        responses.push(theory.kernelResponse(powers.map((p) => p / sum), k, N));
      } else {
        const draw = () => Float64Array.from({ length: N * N * WIDTH }, () => Math.sqrt(tau) * rng.normal());
        responses.push(theory.attentionResponse(draw(), draw(), WIDTH, N, side));
      }
    }
    const S = 1 / theory.scalarsOf(theory.averageResponse(responses)).mEff;
    law = theory.softmaxPower(S, side, N);
    profile = side ? theory.boxResponse(k, N) : new Float64Array(N * N).map((_, i) => (i ? 0 : 1));
  }
  let simulated = theory.averageResponse(responses);
  if (theta && family !== "attention" && family !== "global") {
    const filter = gateGain(theta);
    simulated = theory.filteredResponse(simulated, filter);
    law = law.map((power, i) => power * filter[i] ** 2);
    profile = profile.map((phi, i) => phi * filter[i]);
  }
  if (residual) {
    simulated = theory.residualResponse(simulated, residual);
    law = law.map((power, i) => 1 + 2 * residual * profile[i] + residual ** 2 * power);
  }
  return { simulated, law: law.map((power) => Math.max(power, 0)) };
}

/** @param {number} theta below lambda = 1, and -theta above @returns {Float64Array} */
function gateGain(theta) {
  const half = N / 2 + 1, lambda = theory.eigenvalues(N), gate = new Float64Array(N * half);
  for (let p = 0; p < N; p++) {
    for (let q = 0; q < half; q++) gate[p * half + q] = 1 / (1 + Math.exp(lambda[p * N + q] < 1 ? -theta : theta));
  }
  return theory.srfGain(gate, N);
}

export class TheoryPanel {
  /**
   * @param {import("./state.js").State} state
   * @param {Record<string, {statement: string, verdict: string}>} verdicts
   * @param {() => void} changed
   */
  constructor(state, verdicts, changed) {
    this.state = state;
    this.verdicts = verdicts;
    this.changed = changed;
    const family = byId("theory-family");
    for (const [name, title] of Object.entries(FAMILIES)) family.append(make("option", { value: name }, title));
    family.addEventListener("change", () => this.set("family", family.value));
    this.rows = SLIDERS.map((slider) => {
      const output = make("output"), input = make("input", { type: "range", min: slider.min, max: slider.max, step: slider.step, "data-theory": slider.name });
      input.addEventListener("input", () => this.set(slider.name, input.value));
      const label = make("label", {}, make("span", {}, slider.label), input, output);
      byId("theory-sliders").append(label);
      return { slider, input, output, label };
    });
  }

  /** @param {string} name @param {string} value */
  set(name, value) {
    this.state.theory[name] = value;
    this.draw();
    this.changed();
  }

  /** @returns {{family: keyof typeof FAMILIES, values: Record<string, number>}} */
  get chosen() {
    const asked = this.state.theory.family;
    const family = /** @type {keyof typeof FAMILIES} */ (asked in FAMILIES ? asked : "signed");
    /** @type {Record<string, number>} */
    const values = {};
    for (const { name, min, max, step, value } of SLIDERS) {
      const given = Number(this.state.theory[name] ?? value);
      const whole = min + Math.round(((Number.isFinite(given) ? given : value) - min) / step) * step;
      values[name] = Math.min(Math.max(Math.round(whole * 100) / 100, min), max);
    }
    return { family, values };
  }

  draw() {
    const { family, values } = this.chosen;
    byId("theory-family").value = family;
    for (const { slider, input, output, label } of this.rows) {
      input.value = String(values[slider.name]);
      output.textContent = slider.says(values[slider.name]);
      label.hidden = Boolean(slider.for && !slider.for.includes(family));
    }
    const { simulated, law } = simulate(family, values);
    const found = theory.radialProfile(simulated.gain.map((g) => g * g), N);
    const expected = theory.radialProfile(law, N);
    const root = (/** @type {number[]} */ v) => v.map(Math.sqrt);
    const top = Math.max(1, Math.ceil(Math.max(...root(found.mean), ...root(expected.mean)) * 2) / 2);
    byId("theory-chart").replaceChildren(lineChart({
      title: "Gain over frequency",
      lines: [
        { name: "the law", x: expected.radius, y: root(expected.mean), colour: 1, dashed: true },
        { name: "simulated", x: found.radius, y: root(found.mean), colour: 0, points: true },
      ],
      xLabel: "|w| (radians a token)", xTicks: RADIANS, yLabel: "gain",
      yTicks: [0, top / 2, top].map((v) => /** @type {[number, string]} */ ([v, short(v)])),
    }));
    const { dcGain, rmsGain, centroid, mEff } = theory.scalarsOf(simulated);
    const facts = [["gain at 0", dcGain], ["rms gain off 0", rmsGain], ["centroid", centroid]];
    const stochastic = family !== "signed" && !values.residual && !values.theta;
    if (stochastic) facts.push(["M_eff", mEff]);
    byId("theory-facts").replaceChildren(...facts.map(([name, value]) =>
      make("div", {}, make("dt", {}, String(name)), make("dd", {}, short(Number(value))))));
    const said = this.verdicts[values.residual < 0 ? "large_kernels" : VERDICTS[family]];
    byId("theory-verdict").replaceChildren(make("q", {}, said.statement), ` ${said.verdict}`);
  }
}
