"""All questions asked of one model: what the command ``spanetv2 analyze model`` runs.

Shape suffixes: B images, C channels, H and W in pixels.
"""

import contextlib
import copy
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spanetv2.analysis.activation_maps import class_activation_maps, map_to_explain
from spanetv2.analysis.arrays import Gap, NamedArray
from spanetv2.analysis.attention_maps import attention_map_response
from spanetv2.analysis.corrupted import corrupted_scores, corruption_power
from spanetv2.analysis.corruptions import CORRUPTIONS, STRENGTHS
from spanetv2.analysis.cue_conflict import CueImage, ShapeBias, category_map, shape_bias
from spanetv2.analysis.filtered import DEFAULT_RADII, filtered_score
from spanetv2.analysis.heat_map import wave_errors
from spanetv2.analysis.jacobian import jacobian_response
from spanetv2.analysis.log_amplitude import BlockAmplitude, relative_log_amplitude
from spanetv2.analysis.mixer_call import MixerCall
from spanetv2.analysis.mixers import token_mixers
from spanetv2.analysis.network import (
    feed,
    first_line,
    logits_of,
    measuring,
    single_precision,
    unwrapped,
)
from spanetv2.analysis.response import MixerResponse
from spanetv2.analysis.score import Score, top1_score
from spanetv2.analysis.spam_bank import SpamBank, bank_of
from spanetv2.errors import UserError
from spanetv2.mixers import SPAM
from spanetv2.models.costs import count_parameters

__all__ = [
    "NETWORK",
    "ActivationMaps",
    "ModelAnalysis",
    "ModelInput",
    "StudyOptions",
    "analyze_model",
]

NETWORK = "the network"
"""The part that is a gap where nothing could be measured."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelInput:
    """A model and the images in the form that it takes."""

    title: str
    """What the report calls it."""
    model: nn.Module
    """On its device; it is measured in evaluation mode and left as it was."""
    images: Tensor
    """(B, C, H, W), normalised; brought to the model's precision where they enter it."""
    mean: Sequence[float]
    """Subtracted from pixel values in 0..1, per channel."""
    std: Sequence[float]
    """Divided by, per channel."""
    targets: Tensor | None = None
    """(B,) labels as indices of the model's outputs; None if there are none."""
    score: Score | None = None
    """How good its predictions are, where they are not classes of whole images."""
    no_labels: str = "the images have no labels; give a folder with one sub-folder per class"
    """Why there are none."""
    classes: Sequence[str] | None = None
    """Names of the outputs."""
    cue_images: Sequence[CueImage] = ()
    """Images of the cue-conflict test."""
    load: Callable[[str], Tensor] | None = None
    """From an image's path to its normalised tensor, for the cue-conflict test."""
    class_names: Sequence[str] | None = None
    """Names by which the cue-conflict test knows the outputs; None for ImageNet's order."""


@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """How much is measured."""

    probe_images: int = 8
    """Images at which the Jacobian and the attention maps are taken."""
    channels: int = 4
    """Channels per image in the Jacobian."""
    rows: int = 16
    """Rows of the Jacobian per channel."""
    radii: tuple[float, ...] = DEFAULT_RADII
    """Radii of the filtered input, radians per pixel."""
    heat_map: bool = False
    """Whether to make the Fourier heat map."""
    heat_map_size: int = 15
    """Frequencies per axis of the heat map, odd; fewer on images that have fewer."""
    corruptions: bool = False
    """Whether to measure under corrupted images."""
    sheet_images: int = 8
    """Images on the contact sheet of class activation maps."""
    cam: str = "grad_cam"
    """grad_cam or score_cam."""
    batch_size: int = 8
    """Images per forward pass."""
    seed: int = 0
    """Of every draw."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ActivationMaps:
    """Images with their class activation maps."""

    images: np.ndarray
    """(B, H, W, 3), pixel values in 0..1."""
    maps: np.ndarray
    """(B, H, W) in 0..1."""
    explained: list[str]
    """Name of the class explained, the one predicted."""
    true: list[str] | None
    """Name of the right class, where known."""
    block: str
    """The block that was read."""


@dataclass(kw_only=True, eq=False)
class ModelAnalysis:
    """What was found out about one model. Parts that could not be made are in ``gaps``."""

    title: str
    parameters: int
    image_size: tuple[int, int]
    images: int
    amplitudes: list[BlockAmplitude] = field(default_factory=list)
    responses: list[MixerResponse] = field(default_factory=list)
    attention: list[MixerResponse] = field(default_factory=list)
    bank: list[SpamBank] = field(default_factory=list)
    score: str = "top-1"
    """What is measured of the predictions."""
    accuracy: float | None = None
    filtered: NamedArray | None = None
    heat_map: NamedArray | None = None
    corrupted: NamedArray | None = None
    corruption_power: NamedArray | None = None
    bias: ShapeBias | None = None
    cams: ActivationMaps | None = None
    gaps: list[Gap] = field(default_factory=list)

    @classmethod
    def missing(cls, title: str, reason: str) -> "ModelAnalysis":
        """That of a model which could not be had."""
        gaps = [Gap(NETWORK, reason)]
        return cls(title=title, parameters=0, image_size=(0, 0), images=0, gaps=gaps)

    @property
    def measured(self) -> bool:
        """Whether there is such a model, and it runs."""
        return all(gap.part != NETWORK for gap in self.gaps)


def analyze_model(
    subject: ModelInput, options: StudyOptions | None = None, *, progress: bool = False
) -> ModelAnalysis:
    """Ask one model everything that its kind and its images allow.

    Args:
        subject: the model and its images.
        options: how much to measure.
        progress: show a bar per part.

    Returns:
        The results; what could not be measured is listed in ``gaps`` with its reason. Frozen,
        compiled and half precision networks and such in training mode are measured as they are,
        uncompiled and in evaluation mode.

    Raises:
        UserError: no images.
    """
    options = options or StudyOptions()
    subject = dataclasses.replace(
        subject, model=_plain(subject.model), images=single_precision(subject.images)
    )
    model, images = subject.model, subject.images
    if images.ndim != 4 or len(images) == 0:
        raise UserError(f"got images of shape {tuple(images.shape)}, expected (B, C, H, W), B > 0")
    found = ModelAnalysis(
        title=subject.title,
        parameters=count_parameters(model),
        image_size=(images.shape[2], images.shape[3]),
        images=len(images),
    )
    parts = _Parts(found, progress=progress)
    try:
        with torch.inference_mode(), measuring(model):
            model(feed(model, images[:1]))
    except Exception as error:
        shape = " x ".join(map(str, images.shape[1:]))
        reason = f"it does not run on images of {shape} ({first_line(error)})"
        found.gaps.append(Gap(NETWORK, reason))
        return found
    calls: list[MixerCall] = []
    with parts.make("token mixers"):
        probes = images[: options.probe_images]
        recorded, gaps = token_mixers(model, probes)
        calls = [call for call in recorded if min(call.grid) > 1]
        gaps += [
            Gap(call.mixer.name, "a {} x {} grid holds the constant only".format(*call.grid))
            for call in recorded
            if min(call.grid) == 1
        ]
        found.gaps += gaps
    if calls:
        _spectra(subject, calls, options, found, parts)
    _accuracies(subject, options, found, parts)
    with parts.make("class activation maps"):
        if subject.score is not None:
            raise UserError(f"they explain classes of whole images, not {subject.score.title}")
        if not calls:
            raise UserError("no token mixer was found, and so no last map")
        number = min(options.sheet_images, len(images))
        bar = parts.bar(number)
        chosen = map_to_explain(calls)
        maps, explained = class_activation_maps(
            model,
            [chosen],
            images[:number],
            method=options.cam,
            batch_size=max(1, options.batch_size // 2),  # it keeps what a backward pass needs
            advance=bar,
        )
        found.cams = _sheet(subject, maps, explained, chosen.mixer.block)
    return found


class _Parts:
    """Makes parts one after the other; one that fails becomes a gap."""

    def __init__(self, found: ModelAnalysis, *, progress: bool) -> None:
        self.found, self.progress, self.name = found, progress, ""
        self._bar: Any = None

    @contextlib.contextmanager
    def make(self, name: str) -> Iterator[None]:
        self.name = name
        try:
            yield
        except Exception as error:  # one part must not cost the others
            self.found.gaps.append(Gap(name, first_line(error)))
        finally:
            if self._bar is not None:
                self._bar.close()
                self._bar = None

    def bar(self, total: int) -> Callable[[int], Any]:
        from tqdm import tqdm

        self._bar = tqdm(
            total=total,
            desc=f"{self.found.title}: {self.name}",
            disable=not self.progress,
            leave=False,
        )
        return self._bar.update


def _spectra(
    subject: ModelInput,
    calls: list[MixerCall],
    options: StudyOptions,
    found: ModelAnalysis,
    parts: _Parts,
) -> None:
    with parts.make("relative log-amplitude"):
        found.amplitudes, gaps = relative_log_amplitude(
            subject.model,
            calls,
            subject.images,
            batch_size=options.batch_size,
            advance=parts.bar(len(subject.images)),
        )
        found.gaps += [Gap(f"relative log-amplitude of {gap.part}", gap.reason) for gap in gaps]
    with parts.make("Jacobian"):
        bar = parts.bar(len(calls))
        for call in calls:
            try:
                response = jacobian_response(
                    call,
                    images=options.probe_images,
                    channels=options.channels,
                    rows=options.rows,
                    seed=options.seed,
                )
                found.responses.append(response)
            except Exception as error:
                found.gaps.append(Gap(f"Jacobian of {call.mixer.name}", first_line(error)))
            bar(1)
    attention = [call for call in calls if call.mixer.kind == "attention"]
    with parts.make("attention maps"):
        bar = parts.bar(len(attention))
        for call in attention:
            try:
                response = attention_map_response(
                    call, images=options.probe_images, seed=options.seed
                )
                found.attention.append(response)
            except Exception as error:
                found.gaps.append(Gap(f"attention map of {call.mixer.name}", first_line(error)))
            bar(1)
    for call in calls:
        if isinstance(call.mixer.module, SPAM):
            with parts.make(f"filters of {call.mixer.name}"):
                found.bank.append(bank_of(call))


def _accuracies(
    subject: ModelInput, options: StudyOptions, found: ModelAnalysis, parts: _Parts
) -> None:
    model, images = subject.model, subject.images
    score = subject.score
    found.score = score.title if score is not None else found.score

    def asked() -> Score:
        if score is not None:
            return score
        if subject.targets is None:
            raise UserError(subject.no_labels)
        size = options.batch_size
        about = {"std": subject.std, "offset": subject.mean, "batch_size": size}
        return top1_score(model, images, subject.targets, **about)

    with parts.make("accuracy under filtered input"):
        measured = asked()
        found.accuracy = measured.measure(None)
        found.filtered = filtered_score(
            measured,
            radii=options.radii,
            advance=parts.bar(2 * len(options.radii) * measured.images),
        )
    if options.heat_map:
        with parts.make("Fourier heat map"):
            measured = asked()
            side = min(found.image_size)
            size = min(options.heat_map_size, side - (side + 1) % 2)
            found.heat_map = wave_errors(
                measured,
                size=size,
                seed=options.seed,
                advance=parts.bar((size**2 + 1) // 2 * measured.images),
            )
    if options.corruptions:
        with parts.make("spectra of corruptions"):
            std, mean = (
                torch.tensor(values)[:, None, None] for values in (subject.std, subject.mean)
            )
            pixels = images[: options.probe_images].float().cpu() * std + mean
            found.corruption_power = corruption_power(pixels, seed=options.seed)
        with parts.make("accuracy under corruptions"):
            measured = asked()
            total = len(CORRUPTIONS) * len(STRENGTHS) * measured.images
            found.corrupted = corrupted_scores(
                measured, seed=options.seed, advance=parts.bar(total)
            )
    if subject.cue_images:
        with parts.make("cue-conflict shape bias"):
            assert subject.load is not None
            outputs = category_map(subject.class_names, _outputs(model, images))
            found.bias = shape_bias(
                model,
                subject.cue_images,
                subject.load,
                outputs,
                batch_size=options.batch_size,
                advance=parts.bar(len(subject.cue_images)),
            )


def _outputs(model: nn.Module, images_BCHW: Tensor) -> int:
    with torch.inference_mode(), measuring(model):
        return logits_of(model, images_BCHW[:1]).shape[1]


def _sheet(
    subject: ModelInput, maps: np.ndarray, explained: np.ndarray, block: str
) -> ActivationMaps:
    number = len(maps)
    images = subject.images[:number].float().cpu()
    std, mean = torch.tensor(subject.std), torch.tensor(subject.mean)
    pixels = (images * std[:, None, None] + mean[:, None, None]).clamp(0, 1)
    pixels = _shown(pixels).permute(0, 2, 3, 1).numpy()

    def name(index: int) -> str:
        return str(index) if subject.classes is None else subject.classes[index]

    true = None
    if subject.targets is not None:
        true = [name(i) for i in subject.targets[:number].tolist()]
    return ActivationMaps(
        images=pixels,
        maps=maps,
        explained=[name(i) for i in explained.tolist()],
        true=true,
        block=block,
    )


def _shown(pixels_BCHW: Tensor) -> Tensor:
    """Red, green and blue (B, 3, H, W) of images with any number of channels.

    The first three channels of three or more; the mean of fewer as grey.
    """
    if pixels_BCHW.shape[1] >= 3:
        return pixels_BCHW[:, :3]
    return pixels_BCHW.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)


def _plain(model: nn.Module) -> nn.Module:
    """The network itself, or a copy where its parameters belong to inference mode.

    Such parameters take no part in the backward passes of the Jacobian and of Grad-CAM.
    """
    model = unwrapped(model)
    if not any(p.is_inference() for p in model.parameters()):
        return model
    with torch.inference_mode(False):
        return copy.deepcopy(model)
