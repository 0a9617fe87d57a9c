// @ts-check
/** The page: puts its parts together, and keeps picture, answers and address with the mask. */
import { AnswerCard } from "./answers.js";
import { PageError, fetchChecked, fromElement, isMeant } from "./bytes.js";
import { LINES } from "./colours.js";
import { byId, frame, make } from "./dom.js";
import { amplitudes, seenThrough, spectraOf } from "./filter.js";
import { Inside } from "./inside.js";
import { applyStep, drawMask } from "./mask.js";
import { Network } from "./network.js";
import { decodeImage, drawPicture, samplePixels } from "./pictures.js";
import { preprocess } from "./pillow.js";
import { pythonLines } from "./python.js";
import { SpectrumView } from "./spectrum.js";
import { State } from "./state.js";
import { Sweeps } from "./sweep.js";
import { TheoryPanel } from "./theorypanel.js";
import { Tools } from "./tools.js";

const SETTLE = 350; // milliseconds without a change, before blocks are looked into

class Lab {
  /** @param {any} data of the page @param {{sources: string[][], boot: string}} worker */
  constructor(data, worker) {
    this.data = data;
    this.state = new State();
    this.specs = data.models;
    const areas = this.specs.map((/** @type {any} */ s) => s.preprocessing.input_size[1] * s.preprocessing.input_size[2]);
    /** The network whose input is painted on: the largest. */
    this.main = this.specs[areas.indexOf(Math.max(...areas))];
    const [, height, width] = this.main.preprocessing.input_size;
    this.size = { height, width };
    this.mask = drawMask([], height, width);
    this.networks = this.specs.map((/** @type {any} */ spec) => new Network(spec, worker));
    this.cards = this.specs.map((/** @type {any} */ spec, /** @type {number} */ i) => new AnswerCard(spec, i));
    this.view = new SpectrumView(byId("spectrum"));
    this.inside = new Inside(this.specs, this.state, {
      switched: () => {
        this.ask();
        this.looked();
      },
      looked: () => this.looked(),
    });
    this.tools = new Tools(this.state, this.view, {
      changed: (final) => this.maskChanged(final),
      stamped: (step) => {
        applyStep(this.mask, step);
        this.redraw();
      },
    }, this.size, data.radii);
    this.sweeps = new Sweeps(this.networks, this.size, data.radii,
      (model) => this.state.switches(model, this.specs[model].rows),
      (rings) => {
        this.view.rings = rings;
        this.view.draw();
      },
      (steps) => {
        this.state.remember();
        this.state.fromMask(steps);
        this.maskChanged(true);
      });
    this.theory = new TheoryPanel(this.state, data.verdicts, () => this.state.toAddress());
    /** @type {any} */ this.picture = null;
    /** @type {import("./filter.js").Spectra | null} */ this.spectra = null;
    this.drawing = false;
    this.imageCount = 0;
    /** @type {ReturnType<typeof setTimeout> | undefined} */ this.settling = undefined;
    this.networks.forEach((network, i) => {
      network.onAnswer = (answer, question) => this.cards[i].show(answer, question.of ?? "");
      network.onError = (error) => this.cards[i].tell(error.message, true);
    });
  }

  async start() {
    this.listen();
    this.state.fromText(location.hash.slice(1));
    this.inside.build();
    this.theory.draw();
    const named = this.data.samples.find((/** @type {any} */ s) => s.name === this.state.image);
    if (this.state.image === "own image") {
      this.fault("This address was made with an image of its owner's: drop the same image here to see it.");
    }
    const steps = this.state.steps;
    await this.takeSample(named ?? this.data.samples[0]);
    this.state.steps = steps;
    this.maskChanged(true);
    await this.startNetworks();
  }

  listen() {
    byId("samples").addEventListener("click", (/** @type {any} */ event) => {
      const button = event.target.closest("button");
      if (button) this.guard(() => this.takeSample(this.data.samples[Number(button.dataset.sample)]));
    });
    byId("file").addEventListener("change", () => this.takeFiles(byId("file").files));
    const stop = (/** @type {DragEvent} */ event) => event.preventDefault();
    document.addEventListener("dragover", stop);
    document.addEventListener("drop", (event) => {
      stop(event);
      if (event.dataTransfer?.files.length) this.takeFiles(event.dataTransfer.files);
    });
    document.addEventListener("paste", (event) => {
      if (event.clipboardData?.files.length) this.takeFiles(event.clipboardData.files);
    });
    document.addEventListener("keydown", (event) => {
      if ((event.ctrlKey || event.metaKey) && event.key === "z" && !(event.target instanceof HTMLTextAreaElement)) {
        event.preventDefault();
        this.tools.undo();
      }
    });
    globalThis.addEventListener("hashchange", (event) => {
      // the address of the event: answers that came since may have written the state before over it
      const text = new URL(/** @type {HashChangeEvent} */ (event).newURL).hash.slice(1);
      this.guard(() => this.followAddress(text));
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.view.draw());
    byId("copy").addEventListener("click", () => this.showPython());
    byId("copy-again").addEventListener("click", () => this.copyPython());
    byId("python-model").addEventListener("change", () => this.showPython());
    byId("save").addEventListener("click", () => this.saveImage());
    for (const link of document.querySelectorAll("a.guide")) {
      link.addEventListener("click", (event) => {
        event.preventDefault(); // the address belongs to the state
        const place = byId(/** @type {HTMLAnchorElement} */ (link).hash.slice(1));
        byId("guide").open = true;
        place.scrollIntoView();
        place.focus();
      });
    }
  }

  /** @param {string} text of the address */
  async followAddress(text) {
    if (text === this.state.toText()) return;
    const before = this.state.image;
    this.state.fromText(text);
    const steps = this.state.steps;
    const named = this.data.samples.find((/** @type {any} */ s) => s.name === this.state.image);
    if (named && named.name !== before) await this.takeSample(named);
    this.state.steps = steps;
    this.inside.build();
    this.theory.draw();
    this.maskChanged(true);
  }

  /** @param {() => unknown} work */
  async guard(work) {
    try {
      await work();
    } catch (error) {
      this.fault(/** @type {Error} */ (error).message);
    }
  }

  /** @param {string} text said on the page; "" takes it away */
  fault(text) {
    byId("fault").textContent = text;
    byId("fault").hidden = !text;
  }

  // networks ------------------------------------------------------------------------------------

  async startNetworks() {
    /** @type {{module: ArrayBuffer, wasm: ArrayBuffer}} */
    let runtime;
    this.cards.forEach((card) => card.tell("loading ONNX Runtime \u2026"));
    try {
      runtime = await this.loadRuntime();
    } catch (error) {
      this.fault(/** @type {Error} */ (error).message);
      this.cards.forEach((card) => card.tell("no answer without ONNX Runtime", true));
      return;
    }
    this.runtime = runtime;
    await Promise.all(this.networks.map((/** @type {Network} */ _, /** @type {number} */ i) => this.startNetwork(i)));
  }

  async loadRuntime() {
    const { embedded, module, wasm } = this.data.runtime;
    if (embedded) return { module: await fromElement("ort"), wasm: await fromElement("wasm") };
    try {
      const [first, second] = await Promise.all([module, wasm].map(({ url, integrity }) => fetchChecked(url, integrity)));
      return { module: first, wasm: second };
    } catch (error) {
      throw new PageError(
        `ONNX Runtime could not be fetched from ${new URL(module.url).host}, or is not what this page expects ` +
        `(${/** @type {Error} */ (error).message}). Connect to the network, or make the page with --offline.`,
      );
    }
  }

  /** @param {number} i @param {ArrayBuffer} [chosen] by the reader */
  async startNetwork(i, chosen) {
    const spec = this.specs[i], card = this.cards[i], network = this.networks[i];
    card.tell(`loading ${(spec.bytes / 1e6).toFixed(0) || "<1"} MB \u2026`);
    /** @type {ArrayBuffer} */
    let model;
    try {
      model = chosen ?? (spec.embedded ? await fromElement(spec.embedded) : await fetchChecked(encodeURIComponent(spec.file), spec.integrity));
    } catch (error) {
      if (!spec.file) return this.fault(/** @type {Error} */ (error).message);
      card.tell(`waiting for ${spec.file}`, true);
      byId("wanted-names").append(make("li", { "data-file": spec.file }, spec.file));
      byId("wanted").hidden = false;
      return;
    }
    try {
      card.tell("starting \u2026");
      const { module, wasm } = /** @type {any} */ (this.runtime);
      await network.start(model, { module, wasm });
      if (this.picture) await network.setImage(this.picture);
      card.tell("computing \u2026");
      this.cards[i].setWhole((await network.ask({ mask: this.blank(), switches: null })).logits);
      this.ask();
    } catch (error) {
      card.tell(`this browser cannot run it: ${/** @type {Error} */ (error).message}`, true);
    }
  }

  blank() {
    return drawMask([], this.size.height, this.size.width);
  }

  // pictures ------------------------------------------------------------------------------------

  /** @param {any} sample */
  async takeSample(sample) {
    await this.takePicture(await samplePixels(sample.source), sample.name);
    byId("label").textContent = sample.label && sample.label !== sample.name ? `${sample.name}: ${sample.label}` : sample.name;
  }

  /** @param {FileList} files */
  takeFiles(files) {
    return this.guard(async () => {
      this.fault("");
      for (const file of files) {
        if (/\.onnx$/i.test(file.name)) await this.takeModel(file);
        else {
          await this.takePicture(await decodeImage(file), "own image");
          byId("label").textContent = file.name;
          this.fileName = file.name;
        }
      }
      byId("file").value = "";
    });
  }

  /** @param {File} file */
  async takeModel(file) {
    const data = await file.arrayBuffer();
    for (const [i, spec] of this.specs.entries()) {
      if (this.networks[i].started || spec.bytes !== data.byteLength || !(await isMeant(data, spec.integrity))) continue;
      byId("wanted-names").querySelector(`[data-file="${CSS.escape(spec.file)}"]`)?.remove();
      byId("wanted").hidden = !byId("wanted-names").children.length;
      if (!this.runtime) throw new PageError("ONNX Runtime is not there, so no network can run");
      return this.startNetwork(i, data);
    }
    throw new PageError(`${file.name} is none of the networks that this page waits for`);
  }

  /** @param {any} picture RGBA @param {string} name */
  async takePicture(picture, name) {
    const count = ++this.imageCount;
    this.picture = picture;
    this.state.image = name;
    const planes = preprocess(picture, this.main.preprocessing);
    this.spectra = spectraOf(planes);
    drawPicture(byId("original"), planes);
    this.view.setImage(amplitudes(this.spectra), this.size.height, this.size.width);
    byId("samples").querySelectorAll("button").forEach((/** @type {HTMLElement} */ button) =>
      button.setAttribute("aria-pressed", String(this.data.samples[Number(button.dataset.sample)].name === name)));
    this.sweeps.clear();
    this.inside.forget();
    this.cards.forEach((card) => card.setWhole(null));
    this.maskChanged(true);
    await Promise.all(this.networks.map(async (/** @type {Network} */ network, /** @type {number} */ i) => {
      if (!network.started) return;
      await network.setImage(picture);
      const answer = await network.ask({ mask: this.blank(), switches: null });
      if (count === this.imageCount) this.cards[i].setWhole(answer.logits);
      this.ask();
    }));
  }

  saveImage() {
    const canvas = make("canvas"), { width, height, data } = this.picture;
    canvas.width = width;
    canvas.height = height;
    canvas.getContext("2d").putImageData(new ImageData(data, width, height), 0, 0);
    make("a", { href: canvas.toDataURL("image/png"), download: this.imageFile() }).click();
  }

  imageFile() {
    return `${this.state.image.replace(/[^\w-]+/g, "_")}.png`;
  }

  // the mask ------------------------------------------------------------------------------------

  /** @param {boolean} final */
  maskChanged(final) {
    this.mask = drawMask(this.state.steps, this.size.height, this.size.width);
    this.redraw();
    byId("undo").disabled = !this.state.past.length;
    if (final) this.state.toAddress();
  }

  /** Draw picture and spectrum with the next frame, and ask the networks. */
  async redraw() {
    if (this.drawing) return;
    this.drawing = true;
    await frame();
    this.drawing = false;
    const started = performance.now();
    this.view.mask = this.mask;
    this.view.draw();
    if (this.spectra) drawPicture(byId("filtered"), seenThrough(this.spectra, this.mask, this.main.fill));
    byId("filtered").dataset.milliseconds = (performance.now() - started).toFixed(1);
    this.inside.mask = this.mask;
    this.inside.draw();
    this.ask();
  }

  ask() {
    if (!this.picture) return;
    const { mask } = this, of = this.state.toText();
    this.networks.forEach((/** @type {Network} */ network, /** @type {number} */ i) =>
      network.askLatest({ mask, switches: this.state.switches(i, this.specs[i].rows), of }));
    this.looked();
  }

  /** Look into the blocks once nothing has changed for a while. */
  looked() {
    this.state.toAddress();
    clearTimeout(this.settling);
    this.settling = setTimeout(() => this.guard(() => this.lookInside()), SETTLE);
  }

  async lookInside() {
    const model = this.inside.specs.indexOf(this.inside.spec), network = this.networks[model];
    if (!network.started || !this.picture || !this.inside.spec.blocks.length) return;
    const count = this.imageCount, mask = this.mask;
    this.inside.whole ??= (await network.ask({ mask: this.blank(), switches: null, maps: true })).maps;
    const { maps } = await network.ask({ mask, switches: this.state.switches(model, this.specs[model].rows), maps: true });
    if (count !== this.imageCount || this.inside.specs.indexOf(this.inside.spec) !== model) return;
    this.inside.now = maps;
    this.inside.draw();
  }

  // Python --------------------------------------------------------------------------------------

  showPython() {
    const model = Number(byId("python-model").value || 0);
    const own = this.state.image === "own image";
    byId("python-text").value = pythonLines(this.specs[model], [this.size.height, this.size.width],
      this.state.steps, own ? (this.fileName ?? "image.png") : this.imageFile(), this.inside.offByName(model));
    if (!byId("python").open) byId("python").showModal();
    this.copyPython();
  }

  async copyPython() {
    const text = byId("python-text");
    try {
      await navigator.clipboard.writeText(text.value);
      byId("python-note").textContent = "Copied.";
    } catch {
      text.select();
      byId("python-note").textContent = "This browser does not let the page copy: the text is selected, copy it.";
    }
  }
}

/** @param {{sources: string[][], boot: string}} worker code of the networks' workers */
export async function startPage(worker) {
  const data = JSON.parse(byId("data").textContent);
  data.models.forEach((/** @type {any} */ spec, /** @type {number} */ i) => {
    byId("python-model").append(make("option", { value: i }, spec.title));
    byId(`answer-${i}`).style.setProperty("--line-colour", LINES[[1, 4, 3][i]]);
  });
  const lab = new Lab(data, worker);
  await lab.guard(() => lab.start());
}
