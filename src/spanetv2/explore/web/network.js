// @ts-check
/** A network in a worker of its own, as the page sees it. */
import { PageError } from "./bytes.js";

/** @typedef {{logits: number[], milliseconds: number, maps: Record<string, Float64Array> | null}} Answer */
/** @typedef {{mask: import("./mask.js").Mask, switches: Float32Array | null, maps?: boolean, of?: string}} Question */

export class Network {
  /**
   * @param {any} spec what the page knows of it
   * @param {{sources: string[][], boot: string}} code of the worker
   */
  constructor(spec, code) {
    this.spec = spec;
    /** @type {Map<number, {resolve: (value: any) => void, reject: (error: Error) => void}>} */
    this.waiting = new Map();
    this.count = 0;
    this.started = false;
    /** @type {Question | null} */ this.next = null;
    this.busy = false;
    /** @type {(answer: Answer, question: Question) => void} */ this.onAnswer = () => {};
    /** @type {(error: Error) => void} */ this.onError = () => {};
    this.worker = new Worker(URL.createObjectURL(new Blob([code.boot], { type: "text/javascript" })));
    this.ready = new Promise((resolve, reject) => {
      this.waiting.set(0, { resolve, reject });
    });
    this.ready.catch(() => {}); // whoever starts the network is told
    this.worker.addEventListener("message", ({ data }) => {
      const { id = 0, error = undefined, result = undefined } = data === "ready" ? {} : data;
      const waiting = this.waiting.get(id);
      this.waiting.delete(id);
      if (error !== undefined) waiting?.reject(new PageError(error));
      else waiting?.resolve(result);
    });
    this.worker.addEventListener("error", (event) => {
      for (const { reject } of this.waiting.values()) reject(new PageError(event.message || "its worker failed"));
      this.waiting.clear();
    });
    this.worker.postMessage(code.sources);
  }

  /**
   * @param {string} task @param {Record<string, any>} message
   * @param {Transferable[]} [transfer]
   * @returns {Promise<any>}
   */
  send(task, message, transfer = []) {
    const id = ++this.count;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.worker.postMessage({ id, task, ...message }, transfer);
    });
  }

  /** @param {ArrayBuffer} model @param {{module: ArrayBuffer, wasm: ArrayBuffer}} runtime */
  async start(model, runtime) {
    if (typeof WebAssembly !== "object") {
      throw new PageError("this browser has WebAssembly switched off, without which no network can run");
    }
    const { preprocessing, fill, blocks, rows } = this.spec;
    const spec = { preprocessing, fill, rows, blocks: blocks.map(({ output }) => ({ output })) };
    await this.ready;
    await this.send("start", { model, ...runtime, spec }, [model]);
    this.started = true;
  }

  /** @param {{width: number, height: number, data: Uint8ClampedArray}} picture */
  setImage(picture) {
    return this.send("image", { picture });
  }

  /** @param {Question} question @returns {Promise<Answer>} */
  ask(question) {
    const { mask, switches, maps = false } = question;
    return this.send("answer", { mask, switches, maps });
  }

  /**
   * Ask, and forget the question if a newer one comes before its turn.
   *
   * @param {Question} question
   */
  async askLatest(question) {
    this.next = question;
    if (this.busy || !this.started) return;
    this.busy = true;
    try {
      while (this.next) {
        const current = this.next;
        this.next = null;
        this.onAnswer(await this.ask(current), current);
      }
    } catch (error) {
      this.onError(/** @type {Error} */ (error));
    } finally {
      this.busy = false;
    }
  }

  /** Whether nothing is being asked. */
  get settled() {
    return !this.busy && !this.next;
  }
}

/** @param {number[]} logits @returns {number[]} probabilities */
export function softmax(logits) {
  const largest = Math.max(...logits);
  const powers = logits.map((value) => Math.exp(value - largest));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((value) => value / sum);
}

/** @param {number[]} values @param {number} count @returns {number[]} places of the largest */
export function topOf(values, count) {
  return [...values.keys()].sort((a, b) => values[b] - values[a]).slice(0, count);
}
