// @ts-check
/**
 * What the reader has set, in the page's address: the image, the mask's steps, the block looked
 * into, what is switched off, and the theory's sliders. Whoever gets the address sees the same.
 */
import { formatSteps, parseSteps } from "./mask.js";

/** @typedef {import("./mask.js").Step} Step */

export class State {
  constructor() {
    /** @type {string} */ this.image = "";
    /** @type {Step[]} */ this.steps = [];
    this.model = 0;
    this.block = 0;
    /** @type {Set<string>} of "model.row.kind.head", kind h or f */ this.off = new Set();
    /** @type {Record<string, string>} */ this.theory = {};
    /** @type {string[]} */ this.past = [];
  }

  /** @returns {string} for the address */
  toText() {
    const parts = new URLSearchParams();
    parts.set("image", this.image);
    if (this.steps.length) parts.set("mask", formatSteps(this.steps));
    if (this.model || this.block) parts.set("block", `${this.model}.${this.block}`);
    if (this.off.size) parts.set("off", [...this.off].sort().join(","));
    for (const [name, value] of Object.entries(this.theory)) parts.set(`theory-${name}`, value);
    // Colons, semicolons and commas may stand in an address as they are, and read better so.
    return parts.toString().replace(/%3A/g, ":").replace(/%3B/g, ";").replace(/%2C/g, ",");
  }

  /** @param {string} text from an address */
  fromText(text) {
    const parts = new URLSearchParams(text);
    this.image = parts.get("image") ?? "";
    this.steps = parseSteps(parts.get("mask") ?? "");
    const [model, block] = (parts.get("block") ?? "0.0").split(".").map(Number);
    this.model = model || 0;
    this.block = block || 0;
    this.off = new Set((parts.get("off") ?? "").split(",").filter((part) => /^\d+\.\d+\.[hf]\.\d$/.test(part)));
    this.theory = {};
    for (const [name, value] of parts) {
      if (name.startsWith("theory-")) this.theory[name.slice(7)] = value;
    }
  }

  /** Keep the mask as it is now, for undo. Called before it changes. */
  remember() {
    this.past.push(formatSteps(this.steps));
  }

  /** @param {string} text of steps */
  fromMask(text) {
    this.steps = parseSteps(text);
  }

  /** @returns {boolean} whether there was something to undo */
  undo() {
    const last = this.past.pop();
    if (last === undefined) return false;
    this.steps = parseSteps(last);
    return true;
  }

  /**
   * Factors of a network's heads and filters.
   *
   * @param {number} model @param {number} rows
   * @returns {Float32Array | null} rows * 2 * 4, null for a network without switches
   */
  switches(model, rows) {
    if (!rows) return null;
    const values = new Float32Array(rows * 8).fill(1);
    for (const text of this.off) {
      const [m, row, kind, head] = text.split(".");
      const place = Number(row) * 8 + (kind === "f" ? 4 : 0) + Number(head);
      if (Number(m) === model && place < values.length) values[place] = 0;
    }
    return values;
  }

  /** Write the address; on a page from a disk, where some browsers refuse, it stays as it was. */
  toAddress() {
    try {
      history.replaceState(null, "", `#${this.toText()}`);
    } catch {
      // the state only cannot be copied from the address bar
    }
  }
}
