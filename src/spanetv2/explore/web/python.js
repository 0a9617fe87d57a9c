// @ts-check
/** Lines of Python that compute what the page shows. */
import { formatSteps } from "./mask.js";

/**
 * @param {any} spec of a network
 * @param {number[]} size of the page's spectrum, height and width
 * @param {import("./mask.js").Step[]} steps
 * @param {string} image file name
 * @param {Record<string, string[]>} off name of a mixer -> "head 1", "filter 2", ...
 * @returns {string}
 */
export function pythonLines(spec, size, steps, image, off) {
  const [, height, width] = spec.preprocessing.input_size;
  const same = height === size[0] && width === size[1];
  const switched = Object.keys(off).length > 0;
  const lines = [
    "import torch",
    "from spanetv2.data.images import read_image",
    "from spanetv2.data.preprocessing import eval_transform",
    `from spanetv2.explore.mask import ${same ? "" : "crop_mask, "}draw_mask, filter_pixels`,
  ];
  if (switched) lines.push("from spanetv2.explore.switches import switch_off");
  lines.push(
    ...spec.python.split("\n"),
    "",
    `image = read_image(${JSON.stringify(image)})  # "Save image" on the page writes it`,
    "x = eval_transform(preprocessing)(image)[None]",
    `mask = draw_mask(${JSON.stringify(formatSteps(steps))}, (${size[0]}, ${size[1]}))`,
  );
  if (!same) lines.push(`mask = crop_mask(mask, (${height}, ${width}))  # the same cycles per image`);
  lines.push(
    `fill = torch.tensor([${spec.fill.join(", ")}])  # mean colour of the page's samples`,
    "mean, std = torch.tensor(preprocessing.mean), torch.tensor(preprocessing.std)",
    "filtered = filter_pixels(x, mask, (fill - mean) / std)",
  );
  if (switched) lines.push(`model = switch_off(model, (${height}, ${width}), ${JSON.stringify(off)})`);
  lines.push("with torch.no_grad():", "    logits = model(filtered)[0]", "print(logits.topk(min(5, len(logits))))");
  return `${lines.join("\n")}\n`;
}
