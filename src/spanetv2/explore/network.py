"""A network as a file that a browser runs, and what the page has to know of it."""

import base64
import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spanetv2.analysis.arrays import Gap
from spanetv2.data.preprocessing import Preprocessing, eval_transform
from spanetv2.deploy.write import write_onnx
from spanetv2.errors import UserError
from spanetv2.explore.gains import BlockGain, find_calls, measure_gains
from spanetv2.explore.subject import ExploreSubject, Sample
from spanetv2.explore.switches import SwitchedNetwork

__all__ = ["BrowserNetwork", "geometry_of", "prepare_network"]

_PROBES = 4  # images that the gains are measured at


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class BrowserNetwork:
    """A network ready for the page.

    Args:
        title: what the page calls it.
        onnx: the file.
        about: JSON values for the page's modules.
        gaps: what could not be looked into.
    """

    title: str
    onnx: bytes
    about: dict[str, Any]
    gaps: list[Gap]


def prepare_network(
    subject: ExploreSubject,
    samples: list[Sample],
    *,
    advance: Callable[[str], object] | None = None,
) -> BrowserNetwork:
    """Export a network, measure its blocks, and check the file's description.

    Args:
        subject: the network.
        samples: images to measure at; their mean colour fills what a mask takes away.
        advance: told what is being done.

    Raises:
        UserError: a network that cannot be exported, or whose outputs are not finite.
    """
    told = advance or (lambda _: None)
    size = subject.preprocessing.input_size
    transform = eval_transform(subject.preprocessing)
    images_BCHW = torch.stack([transform(sample.image) for sample in samples])
    told("token mixers")
    calls, gaps = find_calls(subject.model, images_BCHW[:_PROBES])
    blocks = measure_gains(calls)
    told("ONNX")
    network = SwitchedNetwork(subject.model, (size[1], size[2]), calls)
    example: tuple[Tensor, ...] = (images_BCHW[:1],)
    names = ["images"]
    if network.rows:
        example, names = (*example, network.all_on()), [*names, "switches"]
    with torch.no_grad():
        logits = network(*example)[0]
    if logits.ndim != 2 or logits.shape[1] != len(subject.classes):
        raise UserError(
            f"got outputs of shape {tuple(logits.shape)} from {subject.title}, expected logits of "
            f"{len(subject.classes)} classes"
        )
    if not torch.isfinite(logits).all():
        raise UserError(f"the outputs of {subject.title} are not finite; are the weights damaged?")
    outputs = ["logits", *(f"map_{i}" for i in range(len(network.outputs)))]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        write_onnx(network, example, path, inputs=names, outputs=outputs)
        onnx = path.read_bytes()
    about = {
        "title": subject.title,
        "classes": list(subject.classes),
        "untrained": subject.untrained,
        "parameters": sum(p.numel() for p in subject.model.parameters()),
        "preprocessing": geometry_of(subject.preprocessing),
        "fill": _mean_colour(images_BCHW, subject.preprocessing),
        "python": subject.python,
        "blocks": [_block(block, network) for block in blocks],
        "rows": len(network.rows),
    }
    return BrowserNetwork(title=subject.title, onnx=onnx, about=about, gaps=gaps)


def geometry_of(preprocessing: Preprocessing) -> dict[str, Any]:
    """The preprocessing, with the sides that timm resizes to before its crop."""
    values = preprocessing.to_dict()
    height, width = preprocessing.input_size[1:]
    values["resize"] = [int(side / preprocessing.crop_pct) for side in (height, width)]
    return values


def _mean_colour(images_BCHW: Tensor, preprocessing: Preprocessing) -> list[float]:
    """Mean of all pixels per channel, in 0..1."""
    mean, std = torch.tensor(preprocessing.mean), torch.tensor(preprocessing.std)
    return (images_BCHW.double().mean(dim=(0, 2, 3)) * std + mean).tolist()


def _block(block: BlockGain, network: SwitchedNetwork) -> dict[str, Any]:
    outputs = network.outputs
    return {
        "name": block.name,
        "kind": block.kind,
        "stage": block.stage,
        "grid": list(block.grid),
        "gain": None if block.gain is None else _packed(block.gain),
        "scalars": block.scalars,
        "row": network.rows.get(block.name),
        "output": f"map_{outputs.index(block.name)}" if block.name in outputs else None,
        "heads": [
            {
                "name": head.name,
                "kernel": _packed(head.kernel),
                "gate": _packed(head.gate),
                "product": _packed(head.product),
            }
            for head in block.heads
        ],
    }


def _packed(values_HW: np.ndarray) -> dict[str, Any]:
    """A map of values from 0 up in 16 bits each, to 1/65535 of the largest."""
    largest = float(values_HW.max()) or 1.0
    whole = np.rint(values_HW / largest * 65535).astype("<u2")
    return {"max": largest, "data": base64.b64encode(whole.tobytes()).decode("ascii")}
