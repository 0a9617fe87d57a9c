"""Whole networks as steps to time: built, prepared as their label says, and fed random images."""

import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from spanetv2.benchmark.settings import DTYPES, FOLDED, Cell, split_label
from spanetv2.benchmark.subject import FindSubject, NotMeasuredError, Subject, classifier
from spanetv2.benchmark.timing import Step
from spanetv2.deploy import optimize_for_inference
from spanetv2.deploy.export import export_network
from spanetv2.deploy.quantize import quantize_onnx
from spanetv2.deploy.runtimes import NETWORKS, RUNTIMES, open_runtime
from spanetv2.deploy.subject import random_images
from spanetv2.errors import UserError
from spanetv2.extras import need_packages
from spanetv2.models import set_form, set_implementation
from spanetv2.models.costs import count_parameters
from spanetv2.models.dfformer import DFFORMERS
from spanetv2.models.factory import resolve_name
from spanetv2.models.variants import VARIANTS
from spanetv2.ops.linear import FORMS

__all__ = [
    "CLASSES",
    "build",
    "compiled",
    "exported_network",
    "find_classifier",
    "inference_step",
    "make_images",
    "network_step",
    "size_options",
    "training_step",
]

CLASSES = 1000
_SIZED = (*VARIANTS, *DFFORMERS)


def build(name: str, size: int) -> nn.Module:
    """A network with random weights for images of one size, with 1000 classes.

    The same weights for the same name, whatever the size of the images.

    Args:
        name: one of ours or timm's.
        size: height and width in pixels.
    """
    torch.manual_seed(0)
    name = resolve_name(name)
    return timm.create_model(name, num_classes=CLASSES, **size_options(name, size))


def size_options(name: str, size: int) -> dict[str, Any]:
    """Options that make a network for images of a size, in pixels.

    Swin's windows and the grids of our filters are made for one size; most networks take any.

    Args:
        name: its full name.
        size: height and width.
    """
    made_for = timm.get_pretrained_cfg(name)
    fixed = made_for is not None and made_for.fixed_input_size
    return {"img_size": size} if name in _SIZED or fixed else {}


def find_classifier(name: str, size: int) -> Subject:
    """A classifier by the name of its network, with random weights; see ``build``."""
    return classifier(build(name, size), CLASSES)


def compiled(
    function: Callable[..., Any], *, graphs: bool = False, frozen: bool = False
) -> Callable[..., Any]:
    """``function``, compiled for one shape, with a cache of its own; replayed as a CUDA graph if
    ``graphs``.

    Frozen, the weights are constants of the compiled code: for inference.

    The compiler keeps its results by code object, and gives up when too many gather at one: every
    call makes a new code object.
    """

    def call(*inputs: Any) -> Any:
        return function(*inputs)

    call.__code__ = call.__code__.replace(co_name=f"call_{id(call)}")
    how: dict[str, Any] = {"mode": "reduce-overhead"} if graphs else {}
    how |= {"options": {"freezing": True}} if frozen else {}
    return torch.compile(call, dynamic=False, **how)


def make_images(
    cell: Cell, *, device: str, dtype: torch.dtype, channels_last: bool, channels: int = 3
) -> Tensor:
    """Random images of the cell's shape, the same in every run."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(cell.batch, channels, cell.size, cell.size, generator=generator)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return images.to(device, dtype).contiguous(memory_format=layout)


def network_step(
    cell: Cell,
    *,
    device: str,
    channels_last: bool,
    onnx_arena: bool = True,
    find: FindSubject = find_classifier,
) -> Step:
    """One pass of a network.

    In inference, weights and images are cast to the dtype. In training (forward and backward,
    without the optimiser) half precision is automatic mixed precision on float32 weights, as it is
    trained with.

    Args:
        cell: what to run.
        device: where.
        channels_last: memory layout of images and weights.
        onnx_arena: let ONNX Runtime keep the memory it once took, as it does by itself.
        find: gives the network of a name.

    Raises:
        UserError: a runtime that is missing, or asked for on another device than the CPU.
        NotMeasuredError: a way to run that this network does not have.
    """
    name, how = split_label(cell.model)
    subject = find(name, cell.size)
    count = count_parameters(subject.model)
    if cell.mode in RUNTIMES:
        return _runtime_step(
            cell, subject, device=device, parameters=count, arena=onnx_arena, find=find
        )
    model = _as_asked(subject, cell, how, device)
    training = cell.work == "training"
    dtype = DTYPES[cell.dtype]
    whole = not training and subject.cast is None
    model = model.to(device, dtype if whole else torch.float32).train(training)
    if not training and subject.cast is not None:
        subject.cast(dtype)
    if channels_last:
        model = model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    images = make_images(
        cell,
        device=device,
        dtype=dtype if whole else torch.float32,
        channels_last=channels_last,
        channels=subject.channels,
    )
    learner = subject.learner if training else None
    call = learner or model
    if cell.mode != "eager":
        options = {"graphs": cell.mode == "graphs", "frozen": cell.mode == "frozen"}
        for part in subject.parts:
            part.forward = compiled(part.forward, **options)
        call = call if subject.parts else compiled(call, **options)
    if not training:
        return inference_step(model, images, call=call)._replace(parameters=count)
    targets = subject.targets(images, torch.Generator().manual_seed(1))
    targets = tree_map(lambda value: value.to(device), targets)
    mixed = None if dtype == torch.float32 else dtype
    loss = partial(subject.loss, call, images, targets)
    return training_step(model, loss, mixed=mixed)


def _as_asked(subject: Subject, cell: Cell, how: str | None, device: str) -> nn.Module:
    """The network as its label says, which is to be moved and cast.

    Raises:
        NotMeasuredError: not a network that can be folded.
        UserError: not one of ours.
    """
    model = subject.model
    if how in FORMS:
        set_form(model, how)
    elif how is not None and how != "optimized":
        set_implementation(model, "fused" if how in FOLDED else how)
    if how in FOLDED:  # what is folded depends on the device, and is rounded to the dtype after it
        if not subject.whole:
            raise NotMeasuredError(f"@{how} is for classifiers")
        model = optimize_for_inference(model.to(device), cell.size)
    return model


def inference_step(
    model: nn.Module, images: Tensor, *, call: Callable[..., Any] | None = None
) -> Step:
    """A forward pass without gradients.

    Args:
        model: in the mode that it is to run in.
        images: its input.
        call: what is called in place of the model, such as its compiled form.
    """
    call = call or model

    def infer() -> Any:
        with torch.inference_mode():
            return call(images)

    return Step(run=infer, tidy=lambda: None, parameters=count_parameters(model))


def training_step(
    model: nn.Module, loss: Callable[[], Tensor], *, mixed: torch.dtype | None = None
) -> Step:
    """Forward and backward, without the optimiser.

    Args:
        model: whose gradients are made.
        loss: runs it.
        mixed: the lower dtype of automatic mixed precision.
    """
    device = next(model.parameters()).device.type

    def learn() -> Tensor:
        with nullcontext() if mixed is None else torch.autocast(device, mixed):
            value = loss()
        value.backward()
        return value.detach()

    # Gradients go between the runs, so that every run makes its own.
    return Step(
        run=learn,
        tidy=lambda: model.zero_grad(set_to_none=True),
        parameters=count_parameters(model),
    )


def _runtime_step(
    cell: Cell,
    subject: Subject,
    *,
    device: str,
    parameters: int,
    arena: bool,
    find: FindSubject,
) -> Step:
    """One pass of the exported network, with as many threads as PyTorch has."""
    if device != "cpu":
        raise UserError(f"got {cell.mode} on {device}, expected --device cpu for it")
    if subject.export is None:
        raise NotMeasuredError(f"cannot be exported whole for {cell.mode}")
    # onnxruntime quantises for both
    need_packages("onnxruntime", cell.mode, use=NETWORKS)
    made = subject.export(cell.size)
    if made.more and cell.batch != 1:
        raise NotMeasuredError(f"takes one image at a time in {cell.mode}: --batch 1")
    if cell.dtype == "int8" and made.outputs.classes is None:
        raise NotMeasuredError("cannot be exported in int8")
    images = made.examples((cell.batch, subject.channels, cell.size, cell.size))
    inputs = (images, *made.more.values())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        quantized = cell.dtype == "int8"
        content = exported_network(
            cell.model, cell.batch, cell.size, quantized=quantized, find=find
        )
        path.write_bytes(content)
        threads = torch.get_num_threads()
        run = open_runtime(cell.mode, path, dtype=cell.dtype, threads=threads, arena=arena)
    return Step(run=lambda: run(*inputs), tidy=lambda: None, parameters=parameters)


@lru_cache(maxsize=2)  # the cells of a network follow one another
def exported_network(
    name: str,
    batch: int,
    size: int,
    *,
    quantized: bool = False,
    find: FindSubject = find_classifier,
) -> bytes:
    """A network as ONNX, as ``spanetv2 export`` writes it, for images of one shape.

    Args:
        name: its label.
        batch: images.
        size: their height and width in pixels.
        quantized: in int8, with the ranges of random images.
        find: gives the network of a name.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        subject = find(split_label(name)[0], size)
        assert subject.export is not None
        if quantized:
            path.write_bytes(exported_network(name, batch, size, find=find))
            images = random_images((batch, subject.channels, size, size))
            quantize_onnx(path, path, [images])
        else:
            made = subject.export(size)
            export_network(made, path, format="onnx", batch_size=batch, dynamic_batch=False)
        return path.read_bytes()
