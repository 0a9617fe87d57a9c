// @ts-check
/** What each network says: its classes' probabilities, now and for the whole image. */
import { byId, make, percent } from "./dom.js";
import { softmax, topOf } from "./network.js";

const SHOWN = 5;

export class AnswerCard {
  /** @param {any} spec @param {number} number */
  constructor(spec, number) {
    this.spec = spec;
    this.root = byId(`answer-${number}`);
    this.status = byId(`status-${number}`);
    this.bars = byId(`bars-${number}`);
    this.said = byId(`said-${number}`);
    /** @type {number[] | null} */ this.logits = null;
    /** @type {number[] | null} of the whole image */ this.whole = null;
    /** @type {ReturnType<typeof setTimeout> | undefined} */ this.timer = undefined;
  }

  /** @param {string} text @param {boolean} [fault] */
  tell(text, fault = false) {
    this.status.textContent = text;
    this.status.classList.toggle("fault", fault);
  }

  /** @param {number[] | null} logits of the whole image */
  setWhole(logits) {
    this.whole = logits;
    this.draw();
  }

  /** @param {import("./network.js").Answer} answer @param {string} of the state as it was asked */
  show(answer, of) {
    this.logits = answer.logits;
    this.root.dataset.logits = JSON.stringify(answer.logits);
    this.root.dataset.of = of;
    this.tell(`answers in ${Math.round(answer.milliseconds)} ms`);
    this.draw();
  }

  draw() {
    if (!this.logits) return;
    const now = softmax(this.logits), before = this.whole ? softmax(this.whole) : null;
    const top = topOf(now, SHOWN);
    const rows = top.map((place, rank) => {
      const share = now[place], name = this.spec.classes[place];
      const bar = make("span", { class: "bar" }, make("i", { style: `width:${(100 * share).toFixed(2)}%` }));
      if (before) bar.append(make("b", { style: `left:${(100 * before[place]).toFixed(2)}%`, title: `whole image: ${percent(before[place])}` }));
      const row = make("li", { class: rank === 0 ? "first" : "" }, make("span", { class: "name", title: name }, name), bar, make("span", { class: "value" }, percent(share)));
      return row;
    });
    this.bars.replaceChildren(...rows);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.speak(now, before, top[0]), 250);
  }

  /** @param {number[]} now @param {number[] | null} before @param {number} best */
  speak(now, before, best) {
    const name = this.spec.classes[best];
    let text = `${name}, ${percent(now[best])}`;
    if (before) {
      const was = topOf(before, 1)[0];
      text += was === best
        ? ` (the whole image: ${percent(before[best])})`
        : `; the whole image is ${this.spec.classes[was]}, ${percent(before[was])}`;
      this.root.classList.toggle("changed", was !== best);
    }
    if (this.said.textContent !== text) this.said.textContent = text;
  }
}
