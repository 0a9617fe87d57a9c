"""Whole networks as steps to time: built, prepared as their label says, and fed random images."""

import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from functools import lru_cache
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from spanetv2.benchmark.settings import DTYPES, FOLDED, Cell, split_label
from spanetv2.benchmark.timing import Step
from spanetv2.deploy import optimize_for_inference
from spanetv2.deploy.export import export_model
from spanetv2.deploy.quantize import quantize_onnx
from spanetv2.deploy.runtimes import NETWORKS, RUNTIMES, open_runtime
from spanetv2.deploy.write import write_onnx
from spanetv2.errors import UserError
from spanetv2.extras import need_packages
from spanetv2.models import SPANetV2, set_form, set_implementation
from spanetv2.models.costs import count_parameters
from spanetv2.models.variants import VARIANTS
from spanetv2.ops.linear import FORMS

__all__ = [
    "CLASSES",
    "build",
    "compiled",
    "exported_network",
    "make_images",
    "network_step",
    "pass_step",
]

CLASSES = 1000


def build(name: str, size: int) -> nn.Module:
    """A network with random weights for images of one size, with 1000 classes.

    The same weights for the same name, whatever the size of the images.

    Args:
        name: a timm name.
        size: height and width in pixels.
    """
    torch.manual_seed(0)
    # Swin's windows and the grids of our filters are made for one size; most networks take any.
    made_for = timm.get_pretrained_cfg(name)
    fixed = made_for is not None and made_for.fixed_input_size
    sized: dict[str, Any] = {"img_size": size} if name in VARIANTS or fixed else {}
    return timm.create_model(name, num_classes=CLASSES, **sized)


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


def make_images(cell: Cell, *, device: str, dtype: torch.dtype, channels_last: bool) -> Tensor:
    """Random images of the cell's shape, the same in every run."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(cell.batch, 3, cell.size, cell.size, generator=generator)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return images.to(device, dtype).contiguous(memory_format=layout)


def network_step(cell: Cell, *, device: str, channels_last: bool, onnx_arena: bool = True) -> Step:
    """One pass of a network.

    In inference, weights and images are cast to the dtype. In training (forward and backward,
    without the optimiser) half precision is automatic mixed precision on float32 weights, as it is
    trained with.

    Args:
        cell: what to run.
        device: where.
        channels_last: memory layout of images and weights.
        onnx_arena: let ONNX Runtime keep the memory it once took, as it does by itself.

    Raises:
        UserError: a runtime that is missing, or asked for on another device than the CPU.
    """
    name, how = split_label(cell.model)
    model = build(name, cell.size)
    count = count_parameters(model)
    if cell.mode in RUNTIMES:
        return _runtime_step(cell, device=device, parameters=count, arena=onnx_arena)
    if how in FORMS:
        set_form(model, how)
    elif how is not None and how != "optimized":
        set_implementation(model, "fused" if how in FOLDED else how)
    if how in FOLDED:  # what is folded depends on the device, and is rounded to the dtype after it
        model = optimize_for_inference(model.to(device), cell.size)
    training = cell.work == "training"
    dtype = DTYPES[cell.dtype]
    held = torch.float32 if training else dtype
    model = model.to(device, held).train(training)
    if channels_last:
        model = model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    images = make_images(cell, device=device, dtype=held, channels_last=channels_last)
    call = model
    if cell.mode != "eager":
        call = compiled(model, graphs=cell.mode == "graphs", frozen=cell.mode == "frozen")
    targets = None
    if training:
        generator = torch.Generator().manual_seed(1)
        targets = torch.randint(0, CLASSES, (cell.batch,), generator=generator).to(device)
    mixed = None if dtype == held else dtype
    step = pass_step(model, images, targets, call=call, mixed=mixed)
    return step._replace(parameters=count)  # those before folding


def pass_step(
    model: nn.Module,
    images: Tensor,
    targets: Tensor | None = None,
    *,
    call: Callable[..., Any] | None = None,
    mixed: torch.dtype | None = None,
) -> Step:
    """A forward pass without gradients; with targets, forward and backward without the optimiser.

    Args:
        model: a classifier, in the mode that it is to run in.
        images: its input.
        targets: labels for the loss.
        call: what is called in place of the model, such as its compiled form.
        mixed: the lower dtype of automatic mixed precision.
    """
    call = call or model
    count = count_parameters(model)
    if targets is None:

        def infer() -> Tensor:
            with torch.inference_mode():
                return call(images)

        return Step(run=infer, tidy=lambda: None, parameters=count)

    def learn() -> Tensor:
        with nullcontext() if mixed is None else torch.autocast(images.device.type, mixed):
            loss = nn.functional.cross_entropy(call(images), targets)
        loss.backward()
        return loss.detach()

    # Gradients go between the runs, so that every run makes its own.
    return Step(run=learn, tidy=lambda: model.zero_grad(set_to_none=True), parameters=count)


def _runtime_step(cell: Cell, *, device: str, parameters: int, arena: bool) -> Step:
    """One pass of the exported network, with as many threads as PyTorch has."""
    if device != "cpu":
        raise UserError(f"got {cell.mode} on {device}, expected --device cpu for it")
    # onnxruntime quantises for both
    need_packages("onnxruntime", cell.mode, use=NETWORKS)
    images = make_images(cell, device="cpu", dtype=torch.float32, channels_last=False)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        quantized = cell.dtype == "int8"
        path.write_bytes(exported_network(cell.model, cell.batch, cell.size, quantized=quantized))
        threads = torch.get_num_threads()
        run = open_runtime(cell.mode, path, dtype=cell.dtype, threads=threads, arena=arena)
    return Step(run=lambda: run(images), tidy=lambda: None, parameters=parameters)


@lru_cache(maxsize=2)  # the cells of a network follow one another
def exported_network(name: str, batch: int, size: int, *, quantized: bool = False) -> bytes:
    """A network of ours or of timm's as ONNX, for images of one shape.

    Args:
        name: its label.
        batch: images.
        size: their height and width in pixels.
        quantized: in int8, with the ranges of random images.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        if quantized:
            path.write_bytes(exported_network(name, batch, size))
            generator = torch.Generator().manual_seed(0)
            quantize_onnx(path, path, [torch.randn(batch, 3, size, size, generator=generator)])
            return path.read_bytes()
        model = build(split_label(name)[0], size).eval()
        if isinstance(model, SPANetV2):
            export_model(
                model, path, format="onnx", input_size=size, batch_size=batch, dynamic_batch=False
            )
        else:
            images = torch.zeros(batch, 3, size, size)
            write_onnx(model, (images,), path, inputs=["images"], outputs=["logits"])
        return path.read_bytes()
