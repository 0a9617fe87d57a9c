"""Networks of several seeds as one: their weights stacked, run in turns or by one vectorised call.

Shape suffixes: S seeds, B images, C channels, H and W in pixels, K classes.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from spanetv2.mixers import SpectralRescale
from spanetv2.models import set_form, set_implementation

__all__ = ["Stack"]


class Stack:
    """The networks of a row, one per seed.

    In turns (on a CPU) every seed's network is called by itself; vectorised (on a GPU) one call
    computes all of them, ``torch.func.vmap`` over the stacked weights. Both give the same.

    Args:
        make: makes a network; the seed is set before.
        seeds: of the initial weights.
        device: where.
        vectorised: see above.
        compiled: by ``torch.compile``, with CUDA graphs on a GPU.
        bfloat16: autocast to it; weights stay in float32.
    """

    def __init__(
        self,
        make: Callable[[], nn.Module],
        seeds: tuple[int, ...],
        *,
        device: str = "cpu",
        vectorised: bool = False,
        compiled: bool = False,
        bfloat16: bool = False,
    ) -> None:
        networks = []
        for seed in seeds:
            torch.manual_seed(seed)
            networks.append(make().to(device))
        self.seeds, self.device, self.bfloat16 = seeds, device, bfloat16
        self.frame = copy.deepcopy(networks[0])
        if vectorised:
            _without_shortcuts(self.frame)
        weights, buffers = stack_module_state(networks)
        self.weights: dict[str, Tensor] = {
            name: value.detach()
            .clone()
            .requires_grad_(networks[0].get_parameter(name).requires_grad)
            for name, value in weights.items()
        }
        self.buffers: dict[str, Tensor] = dict(buffers)
        self.plain_attention = vectorised and device == "cpu"
        self.marks_steps = compiled and device != "cpu"
        self._losses: Any = self._vectorised if vectorised else self._in_turns
        if compiled:
            mode = None if device == "cpu" else "reduce-overhead"
            self._losses = torch.compile(self._losses, mode=mode)

    def losses(self, images_SBCHW: Tensor, labels_SB: Tensor, smoothing: float) -> Tensor:
        """Mean cross-entropy of each seed's batch, (S,), in training mode."""
        self.frame.train()
        if self.marks_steps:
            torch.compiler.cudagraph_mark_step_begin()
        with self._precision(), self._attention():
            return self._losses(self.weights, images_SBCHW, labels_SB, smoothing)

    def _loss(
        self, weights: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor, y: Tensor, e: float
    ) -> Tensor:
        logits_BK = functional_call(self.frame, (weights, buffers), (x,))
        return F.cross_entropy(logits_BK.float(), y, label_smoothing=e)

    def _vectorised(
        self, weights: dict[str, Tensor], images: Tensor, labels: Tensor, smoothing: float
    ) -> Tensor:
        call = vmap(self._loss, in_dims=(0, 0, 0, 0, None), randomness="different")
        return call(weights, self.buffers, images, labels, smoothing)

    def _in_turns(
        self, weights: dict[str, Tensor], images: Tensor, labels: Tensor, smoothing: float
    ) -> Tensor:
        found = []
        for number in range(len(self.seeds)):
            one = {name: value[number] for name, value in weights.items()}
            buffers = {name: value[number] for name, value in self.buffers.items()}
            found.append(self._loss(one, buffers, images[number], labels[number], smoothing))
        return torch.stack(found)

    @torch.no_grad()
    def logits(
        self,
        images_BCHW: Tensor,
        *,
        batch: int = 500,
        edit: Callable[[nn.Module], object] | None = None,
    ) -> Tensor:
        """Outputs of every network for the same images, in evaluation: (S, B, K), float32.

        Args:
            images_BCHW: on the device.
            batch: images of a pass.
            edit: changes a copy of each network before.
        """
        found = []
        for network in self.networks():
            if edit is not None:
                edit(network)
            with self._precision():
                parts = [network(part).float() for part in images_BCHW.split(batch)]
            found.append(torch.cat(parts))
        return torch.stack(found)

    def accuracy(
        self,
        images_BCHW: Tensor,
        labels_B: Tensor,
        *,
        edit: Callable[[nn.Module], object] | None = None,
    ) -> list[float]:
        """Share of right answers of every network; see ``logits``."""
        right_SB = self.logits(images_BCHW, edit=edit).argmax(-1) == labels_B
        return right_SB.double().mean(1).tolist()

    def networks(self) -> Iterator[nn.Module]:
        """Every seed's network by itself, in evaluation, with the weights as they are now."""
        for number in range(len(self.seeds)):
            network = copy.deepcopy(self.frame)
            state = {**self.weights, **self.buffers}
            network.load_state_dict({name: value[number] for name, value in state.items()})
            yield network.eval()

    @contextmanager
    def _attention(self) -> Iterator[None]:
        """On a CPU the fast kernel of attention has no rule for vmap, its definition has."""
        if not self.plain_attention:
            yield
            return
        with sdpa_kernel(SDPBackend.MATH):
            yield

    @contextmanager
    def _precision(self) -> Iterator[None]:
        kind = torch.device(self.device).type
        with torch.autocast(kind, torch.bfloat16, enabled=self.bfloat16):
            yield


def _without_shortcuts(network: nn.Module) -> None:
    """Take forms that vmap can follow: no layer overwrites its input, no FFT in half precision."""
    set_form(network, "tokens")
    filters = [one for one in network.modules() if isinstance(one, SpectralRescale)]
    if any(one.implementation == "auto" for one in filters):
        set_implementation(network, "products")
