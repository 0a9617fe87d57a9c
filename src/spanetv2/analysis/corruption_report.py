"""The part of a model study's page on corruptions."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from spanetv2.analysis.corruption_figures import corrupted_figure, overlay_figure, spectrum_figure
from spanetv2.analysis.model_study import ModelAnalysis
from spanetv2.drawing import save_figure
from spanetv2.page import details, figure, section, table

__all__ = ["corruption_section"]

_save = partial(save_figure, dpi=130)

_COST = (
    "Score under 15 corruptions at 5 strengths, in the manner of ImageNet-C; thin lines: whole "
    "images. Fourteen follow the published definitions, frost is a formula of our own, and lengths "
    "scale with the images' side: these figures are ours, to be compared with each other and not "
    "with published ones (mCE)."
)
_SPECTRA = (
    "Where the corruptions live: power of what each adds to the images, per frequency, at "
    "strengths 1 (dark) to 5 (light). Noise is flat but for the mean that clipping moves; blurs "
    "take away what the images have beyond the lowest waves; fog, brightness and contrast are low."
)
_OVERLAY = (
    "{}: its sensitivity (the Fourier heat map, bright where one wave is enough to mislead it) "
    "under the corruptions of strength 3. White lines enclose half (thick) and 80 % (thin) of a "
    "corruption's power within these waves; above stands the share that lies within them at all. "
    "Bright inside the lines: the corruption hits where the network listens."
)


def corruption_section(analyses: Sequence[ModelAnalysis], out: Path) -> list[str]:
    """Draw the pictures into a folder; gives the section of the page, or none.

    Spectra are shown once: they are those of the images.
    """
    parts = []
    scored = [(a, a.corrupted) for a in analyses if a.corrupted is not None]
    if scored:
        path = _save(corrupted_figure(analyses), out / "corruptions.png")
        parts.append(figure(path, _COST, wide=True))
        kinds = [str(kind).replace("_", " ") for kind in scored[0][1].coords["corruption"]]
        rows = [
            [a.title, scores.values.mean(), *scores.values.mean(axis=1).tolist()]
            for a, scores in scored
        ]
        shown = table(["model", "mean", *kinds], rows)
        parts.append(details("Means over the strengths as a table", shown))
    spectra = [a for a in analyses if a.corruption_power is not None]
    if spectra:
        path = _save(spectrum_figure(spectra[0]), out / "corruption_spectra.png")
        parts.append(figure(path, _SPECTRA, wide=True))
    for number, a in enumerate(analyses):
        if a.corruption_power is not None and a.heat_map is not None:
            name = f"corruption_overlay{'' if number == 0 else f'_{number + 1}'}.png"
            path = _save(overlay_figure(a), out / name)
            parts.append(figure(path, _OVERLAY.format(a.title), wide=True))
    return [section("Corruptions", *parts)] if parts else []
