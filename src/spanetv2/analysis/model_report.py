"""The files of a model study: figures, a table per curve, one JSON file, and one HTML page."""

import math
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from spanetv2.analysis import figures
from spanetv2.analysis.arrays import NamedArray, write_csv
from spanetv2.analysis.corrupted import radial_power
from spanetv2.analysis.corruption_report import corruption_section
from spanetv2.analysis.model_study import ModelAnalysis
from spanetv2.analysis.response import M_EFF
from spanetv2.drawing import save_figure
from spanetv2.errors import UserError
from spanetv2.files import write_json, write_text
from spanetv2.page import (
    cards,
    details,
    document,
    figure,
    link,
    listing,
    paragraph,
    section,
    table,
)

__all__ = ["LAB", "write_report"]

LAB = "lab.html"
"""The page of ``spanetv2 explore`` beside the report."""

_save = partial(save_figure, dpi=130)


def write_report(
    analyses: Sequence[ModelAnalysis],
    folder: str | os.PathLike[str],
    *,
    about: Mapping[str, Any] | None = None,
    explore: str = "",
) -> Path:
    """Write everything about some models into a folder.

    Args:
        analyses: one per model, titles all different.
        folder: made if it is missing; files of the same names are replaced.
        about: settings and versions, for the JSON file and the end of the page.
        explore: command that writes ``LAB`` beside the page; named and linked where given.

    Returns:
        The page's path, ``folder/index.html``.

    Raises:
        UserError: no analyses, or two of one title.
    """
    titles = [analysis.title for analysis in analyses]
    if not titles or len(set(titles)) != len(titles):
        raise UserError(f"got analyses titled {titles}, expected at least one and none twice")
    out = Path(folder)
    _write_tables(analyses, out)
    about = dict(about or {})
    models = [_to_json(analysis) for analysis in analyses]
    write_json(out / "analysis.json", {"about": about, "models": models})
    parts = [_facts(analyses)]
    parts += _amplitudes(analyses, out)
    parts += _responses(analyses, out)
    parts += _bank(analyses, out)
    parts += _accuracies(analyses, out)
    parts += corruption_section(analyses, out)
    parts += _cams(analyses, out)
    parts.append(_gaps(analyses))
    if explore:
        parts.append(_explore(explore, (out / LAB).exists()))
    if about:
        rows = [[name, str(value)] for name, value in about.items()]
        parts.append(section("How this was made", details("settings", table(["", "value"], rows))))
    page = document(
        "How these models treat frequencies: " + ", ".join(titles),
        "\n".join(parts),
        lead="Frequencies are in radians per token (or per pixel, for images): 0 is flat, π the "
        "finest pattern that the grid can hold. Every curve is also in a CSV file beside this "
        "page, all of them in analysis.json.",
    )
    write_text(out / "index.html", page)
    return out / "index.html"


def _explore(command: str, made: bool) -> str:
    text = (
        "A page that runs these models in the browser: paint over the frequencies of an image of "
        "yours, and watch predictions and blocks follow. The command writes it beside this page; "
        "docs/explore.md is its guide."
    )
    parts = [paragraph(text), listing(command)]
    return section("Ask them yourself", *parts, *([link(LAB, "Open the page")] if made else []))


def _facts(analyses: Sequence[ModelAnalysis]) -> str:
    shown = []
    for a in analyses:
        if not a.measured:
            shown.append(cards({"model": a.title, "measured": "no; see the gaps below"}))
            continue
        facts = {
            "model": a.title,
            "parameters": f"{a.parameters / 1e6:.2f} M",
            "images": f"{a.images} of {a.image_size[0]} x {a.image_size[1]}",
            "token mixers": _count(r.kind for r in a.responses),
        }
        if a.accuracy is not None:
            facts[f"{a.score} on these images"] = f"{100 * a.accuracy:.1f} %"
        if a.bias is not None and a.bias.bias is not None:
            facts["shape bias"] = f"{100 * a.bias.bias:.1f} %"
        shown.append(cards(facts))
    return "\n".join(shown)


def _count(kinds: Any) -> str:
    kinds = list(kinds)
    names = dict.fromkeys(kinds)
    return ", ".join(f"{kinds.count(name)} {name}" for name in names) or "none"


def _amplitudes(analyses: Sequence[ModelAnalysis], out: Path) -> list[str]:
    if not any(a.amplitudes for a in analyses):
        return []
    path = _save(figures.amplitude_figure(analyses), out / "log_amplitude.png")
    text = (
        "Each curve is a block's output: log-amplitude of its Fourier transform along the "
        "diagonal, relative to frequency 0. Where the curves sink from block to block, the network "
        "throws fine detail away; where they rise, it makes it. A jump between stages is the "
        "coarser grid, on which the same wave is finer. The last panel follows the finest wave "
        "through the depth."
    )
    return [section("Relative log-amplitude by depth", figure(path, text, wide=True))]


def _responses(analyses: Sequence[ModelAnalysis], out: Path) -> list[str]:
    parts = []
    if any(a.responses for a in analyses):
        path = _save(figures.response_figure(analyses), out / "mixer_response.png")
        text = (
            "Gain of every token mixer against frequency, from its Jacobian at real images: how "
            "strongly a wave in one channel comes out of the same channel. 0 dB is the root mean "
            "square over all waves, so a flat line passes everything alike, a falling one is "
            "low-pass. Means over rings up to π; the corners beyond are in the numbers only."
        )
        parts.append(figure(path, text, wide=True))
    if any(a.attention for a in analyses):
        path = _save(
            figures.response_figure(analyses, attention=True), out / "attention_response.png"
        )
        text = (
            "Gain of the frozen attention maps alone. Rows of a map are weights that sum to 1: the "
            "constant passes at 0 dB and no other wave passes better. Class tokens are left out; "
            "windowed attention is shown on the window's own grid."
        )
        parts.append(figure(path, text, wide=True))
    if any(a.responses for a in analyses):
        path = _save(figures.depth_figure(analyses), out / "mixers_by_depth.png")
        text = (
            "The same mixers as numbers. The centroid λc is the mean Laplacian eigenvalue of what "
            f"passes, from 0 (only the constant) over 1 (all alike) to 2. {M_EFF} Leakage is the "
            "share of the power that leaves its frequency, 0 for a convolution on a torus."
        )
        parts.append(figure(path, text, wide=True))
        parts.append(details("All mixers as a table", _mixer_table(analyses)))
    return [section("Frequency response of the token mixers", *parts)] if parts else []


_COLUMNS = ("mixer", "kind", "stage", "grid", "dc_gain", "rms_gain", "lambda_c", "hlr")
_COLUMNS += ("m_eff", "leakage", "row_sum")


def _mixer_table(analyses: Sequence[ModelAnalysis]) -> str:
    rows = []
    for a in analyses:
        for response in [*a.responses, *a.attention]:
            scalars = response.scalars()
            rows.append([a.title, *(scalars[name] for name in _COLUMNS)])
    return table(["model", *(name.replace("_", " ") for name in _COLUMNS)], rows)


def _bank(analyses: Sequence[ModelAnalysis], out: Path) -> list[str]:
    parts = []
    for number, a in enumerate(analyses):
        if not a.bank:
            continue
        name = "spam_bank.png" if number == 0 else f"spam_bank_{number + 1}.png"
        path = _save(figures.bank_figure(a.bank, a.title), out / name)
        text = (
            f"{a.title}: the four heads of each stage, root mean square over the head's channels, "
            "averaged over the blocks. Left the depthwise kernels, in the middle the gain of the "
            "spectral gate (0.5 before training), right their product."
        )
        parts.append(figure(path, text, wide=True))
    return [section("The filters of SPAM", *parts)] if parts else []


def _accuracies(analyses: Sequence[ModelAnalysis], out: Path) -> list[str]:
    parts = []
    if any(a.filtered is not None for a in analyses):
        path = _save(figures.filtered_figure(analyses), out / "filtered_accuracy.png")
        text = (
            "Accuracy (of segmenters mIoU, of detectors average precision) when only the "
            "frequencies up to R (left) or beyond R (right) are left "
            "in the image; the mean colour of all images is added back on the right. Thin lines: "
            "whole images."
        )
        parts.append(section("Accuracy under filtered input", figure(path, text, wide=True)))
    if any(a.heat_map is not None for a in analyses):
        path = _save(figures.heat_map_figure(analyses), out / "heat_map.png")
        text = (
            "Error rate (1 - score) when one wave is added to every image (root mean square 0.07 "
            "of the pixel range, random sign per image and channel). Dark is robust; the middle "
            "is frequency 0."
        )
        parts.append(section("Fourier heat map", figure(path, text)))
    results = [(a.title, a.bias) for a in analyses if a.bias is not None]
    if results:
        shown = [(title, result) for title, result in results if result.bias is not None]
        text = (
            "Images with the shape of one class and the texture of another. Points: share of shape "
            "decisions among those for either cue, per category of the shape; lines: over all."
        )
        header = ["model", "shape bias", "shape", "texture", "neither", "left out (same class)"]
        rows = [[t, r.bias, r.shape, r.texture, r.other, r.same] for t, r in results]
        picture = paragraph("No model decided for either cue of any image.")
        if shown:
            path = _save(figures.shape_bias_figure(shown), out / "shape_bias.png")
            picture = figure(path, text)
        parts.append(section("Cue-conflict shape bias", picture, table(header, rows)))
    return parts


def _cams(analyses: Sequence[ModelAnalysis], out: Path) -> list[str]:
    parts = []
    for number, a in enumerate(analyses):
        if a.cams is None:
            continue
        name = "activation_maps.png" if number == 0 else f"activation_maps_{number + 1}.png"
        path = _save(figures.activation_sheet(a.cams, a.title), out / name)
        text = (
            f"{a.title}: what speaks for the predicted class (bright), read at {a.cams.block}. The "
            "name is the prediction; where it is wrong, the right class stands below it."
        )
        parts.append(figure(path, text, wide=True))
    return [section("Class activation maps", *parts)] if parts else []


def _gaps(analyses: Sequence[ModelAnalysis]) -> str:
    rows = [[a.title, gap.part, gap.reason] for a in analyses for gap in a.gaps]
    if not rows:
        return section("Gaps", paragraph("Every part could be made for every model."))
    return section(
        "Gaps",
        paragraph("These parts could not be made; they are missing above."),
        table(["model", "part", "why"], rows),
    )


def _write_tables(analyses: Sequence[ModelAnalysis], out: Path) -> None:
    amplitudes = {
        (a.title, block.block, str(block.depth)): block.curve
        for a in analyses
        for block in a.amplitudes
    }
    responses = {
        (a.title, r.name, r.kind): r.radial()
        for a in analyses
        for r in [*a.responses, *a.attention]
    }
    bank = {(a.title, b.name): b.curves for a in analyses for b in a.bank}
    single = {
        "filtered_accuracy.csv": {(a.title,): a.filtered for a in analyses if a.filtered},
        "heat_map.csv": {(a.title,): a.heat_map for a in analyses if a.heat_map},
        "corruptions.csv": {(a.title,): a.corrupted for a in analyses if a.corrupted},
        "corruption_spectra.csv": {
            (a.title,): radial_power(a.corruption_power) for a in analyses if a.corruption_power
        },
        "shape_bias.csv": {(a.title,): a.bias.per_category for a in analyses if a.bias},
    }
    if amplitudes:
        write_csv(out / "log_amplitude.csv", amplitudes, keys=["model", "block", "depth"])
    if responses:
        write_csv(out / "mixer_response.csv", responses, keys=["model", "mixer", "kind"])
    if bank:
        write_csv(out / "spam_bank.csv", bank, keys=["model", "mixer"], value="gain")
    for name, arrays in single.items():
        if arrays:
            write_csv(out / name, arrays, keys=["model"])
    out.mkdir(parents=True, exist_ok=True)


def _to_json(a: ModelAnalysis) -> dict[str, Any]:
    def scalars(response: Any) -> dict[str, Any]:
        plain = response.scalars()
        clean = {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in plain.items()}
        return {**clean, "radial": response.radial().to_dict()}

    def optional(array: NamedArray | None) -> dict[str, Any] | None:
        return None if array is None else array.to_dict()

    bias = a.bias
    return {
        "model": a.title,
        "parameters": a.parameters,
        "image_size": list(a.image_size),
        "images": a.images,
        "score": a.score,
        "top1": a.accuracy if a.score == "top-1" else None,
        "accuracy": a.accuracy,
        "log_amplitude": [
            {"block": b.block, "depth": b.depth, "stage": b.stage, "curve": b.curve.to_dict()}
            for b in a.amplitudes
        ],
        "jacobian": [scalars(r) for r in a.responses],
        "attention_maps": [scalars(r) for r in a.attention],
        "spam_bank": [
            {"mixer": b.name, "stage": b.stage, "curves": b.curves.to_dict()} for b in a.bank
        ],
        "filtered_accuracy": optional(a.filtered),
        "heat_map": optional(a.heat_map),
        "corruptions": optional(a.corrupted),
        "corruption_spectra": optional(a.corruption_power and radial_power(a.corruption_power)),
        "shape_bias": None
        if bias is None
        else {
            "bias": bias.bias,
            "shape": bias.shape,
            "texture": bias.texture,
            "other": bias.other,
            "same": bias.same,
            "per_category": bias.per_category.to_dict(),
        },
        "gaps": [{"part": gap.part, "reason": gap.reason} for gap in a.gaps],
    }
