"""Whole networks as steps to time: built, prepared as their label says, and fed random images."""

import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import timm
import torch
from torch import Tensor, nn

from spanetv2.benchmark.settings import DTYPES, FOLDED, Cell, split_label
from spanetv2.benchmark.timing import Step
from spanetv2.deploy import optimize_for_inference
from spanetv2.errors import UserError
from spanetv2.models import set_form, set_implementation
from spanetv2.models.costs import count_parameters
from spanetv2.models.variants import VARIANTS
from spanetv2.ops.linear import FORMS

__all__ = ["CLASSES", "build", "compiled", "make_images", "network_step", "pass_step"]

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


def compiled(function: Callable[..., Any], *, graphs: bool = False) -> Callable[..., Any]:
    """``function``, compiled for one shape, with a cache of its own; replayed as a CUDA graph if
    ``graphs``.

    The compiler keeps its results by code object, and gives up when too many gather at one: every
    call makes a new code object.
    """

    def call(*inputs: Any) -> Any:
        return function(*inputs)

    call.__code__ = call.__code__.replace(co_name=f"call_{id(call)}")
    return torch.compile(call, dynamic=False, mode="reduce-overhead" if graphs else None)


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
        UserError: ONNX Runtime on another device than the CPU.
    """
    name, how = split_label(cell.model)
    model = build(name, cell.size)
    count = count_parameters(model)
    if how == "onnx":
        return _onnx_step(model, cell, device=device, parameters=count, arena=onnx_arena)
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
    call = model if cell.mode == "eager" else compiled(model, graphs=cell.mode == "graphs")
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


def _onnx_step(model: nn.Module, cell: Cell, *, device: str, parameters: int, arena: bool) -> Step:
    if device != "cpu":
        raise UserError(f"got {cell.model} on {device}, expected --device cpu for ONNX Runtime")
    session = _onnx_session(model, cell, arena=arena)
    images = make_images(cell, device="cpu", dtype=torch.float32, channels_last=False).numpy()
    (name,) = (value.name for value in session.get_inputs())

    def infer() -> Tensor:
        return torch.from_numpy(session.run(None, {name: images})[0])

    return Step(run=infer, tidy=lambda: None, parameters=parameters)


def _onnx_session(model: nn.Module, cell: Cell, *, arena: bool) -> Any:
    """An ONNX Runtime session of the exported network, with as many threads as PyTorch has."""
    from importlib.util import find_spec

    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise UserError(
            f"got {cell.model} without the package {', '.join(missing)}; pip install "
            "'spanetv2[export]' or leave it out"
        )
    import onnxruntime

    from spanetv2.deploy.export import export_model

    options = cast(Any, onnxruntime.SessionOptions())
    options.intra_op_num_threads = torch.get_num_threads()
    options.enable_cpu_mem_arena = arena
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        export_model(
            model.eval(),
            path,
            format="onnx",
            input_size=cell.size,
            batch_size=cell.batch,
            dynamic_batch=False,
        )
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
