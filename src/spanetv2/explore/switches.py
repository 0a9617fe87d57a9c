"""A network with switches for its heads and filters, and the maps of its mixers beside its answer.

Shape suffixes: B batch, C channels, H and W the grid in tokens, A heads, K = W // 2 + 1,
S the SPAM mixers of the network.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from spanetv2.analysis.mixer_call import MixerCall
from spanetv2.deploy.fold import FoldedSPAM, optimize_for_inference, with_constant_filter
from spanetv2.errors import UserError
from spanetv2.mixers import SPAM
from spanetv2.mixers.local import LocalMixing
from spanetv2.models.backbone import SPANetV2
from spanetv2.ops.heads import HEADS
from spanetv2.ops.spectral_rescale import spectral_rescale_products

__all__ = ["SwitchedNetwork", "switch_off"]


class _Values:
    """The switches of the forward pass that is running; no module, so that exports follow it."""

    def __init__(self) -> None:
        self.switches_S2A: Tensor | None = None
        self.maps: dict[str, Tensor] = {}


class SwitchedNetwork(nn.Module):
    """A copy of a classifier that takes switches and tells what its mixers put out.

    ``forward(images)`` gives the logits and the map (B, C, H, W) of every mixer in ``outputs``. If
    the network has SPAM mixers (``rows``), there is a second argument, (S, 2, A): in [s, 0, a] the
    factor of head a of mixer s, 1 or 0, and in [s, 1, a] whether its spectral filter acts. All ones
    give the network's own logits.

    Args:
        model: a classifier in evaluation mode.
        size: height and width of its images in pixels.
        calls: its mixers at their grids, from ``record_calls``.

    Attributes:
        rows: name of a SPAM mixer -> its row among the switches.
        outputs: names of the mixers whose maps come out, in their order.
    """

    def __init__(self, model: nn.Module, size: tuple[int, int], calls: Sequence[MixerCall]) -> None:
        super().__init__()
        self.rows: dict[str, int] = {}
        self.outputs = [call.mixer.name for call in calls if _is_module(call)]
        values = _Values()
        self._values = values
        if isinstance(model, SPANetV2):
            self.net = optimize_for_inference(model, size)
            plain = copy.deepcopy(model).eval().requires_grad_(False)
            plain.set_input_size(size)
            originals = dict(plain.named_modules())
            for name, module in list(self.net.named_modules()):
                if isinstance(module, FoldedSPAM):
                    row = self.rows[name] = len(self.rows)
                    original = cast(SPAM, originals[name])
                    module.local = cast(Any, _SwitchedMixing(original, values, row))
        else:
            self.net = copy.deepcopy(model).eval().requires_grad_(False)
        for call in calls:
            if call.mixer.name in self.outputs:
                module = self.net.get_submodule(call.mixer.name)
                module.register_forward_hook(_keeper(call, values))

    def all_on(self) -> Tensor:
        """Switches that leave the network as it is, (S, 2, A)."""
        return torch.ones(len(self.rows), 2, HEADS)

    def forward(self, images_BCHW: Tensor, switches_S2A: Tensor | None = None) -> Any:
        if self.rows and switches_S2A is None:
            switches_S2A = self.all_on()
        self._values.switches_S2A = switches_S2A
        self._values.maps.clear()
        logits = self.net(images_BCHW)
        logits = getattr(logits, "logits", logits)  # as transformers gives them
        maps = [self._values.maps[name] for name in self.outputs]
        self._values.maps.clear()
        self._values.switches_S2A = None
        return (logits, *maps)

    def switches(self, off: Mapping[str, Sequence[str]]) -> Tensor:
        """Switches with some of them off.

        Args:
            off: name of a SPAM mixer -> parts such as "head 1" or "filter 3", counted from 1.

        Returns:
            What ``forward`` takes, (S, 2, A).

        Raises:
            UserError: a mixer or a part that the network has not.
        """
        switches_S2A = self.all_on()
        parts = [
            f"{kind} {number}" for kind in ("head", "filter") for number in range(1, HEADS + 1)
        ]
        for name, wanted in off.items():
            for part in wanted:
                if name not in self.rows or part not in parts:
                    raise UserError(
                        f"got {part!r} of {name!r} to switch off, expected one of "
                        f"{', '.join(parts)} of {', '.join(self.rows) or 'no mixer at all'}"
                    )
                place = parts.index(part)
                switches_S2A[self.rows[name], place // HEADS, place % HEADS] = 0
        return switches_S2A


def switch_off(
    model: nn.Module, size: tuple[int, int], off: Mapping[str, Sequence[str]]
) -> Callable[[Tensor], Tensor]:
    """A classifier without some of its heads and filters, from images to logits.

    Args:
        model: a SPANetV2 in evaluation mode; it stays as it is.
        size: height and width of the images in pixels.
        off: see ``SwitchedNetwork.switches``.

    Raises:
        UserError: a mixer or a part that the network has not.
    """
    network = SwitchedNetwork(model, size, [])
    switches_S2A = network.switches(off)
    return lambda images_BCHW: network(images_BCHW, switches_S2A)[0]


class _SwitchedMixing(nn.Module):
    """``LocalMixing`` on one grid, whose heads and filters can be switched off."""

    def __init__(self, mixer: LocalMixing, values: _Values, row: int) -> None:
        super().__init__()
        mixing = with_constant_filter(mixer)
        self.local_convs = mixing.local_convs
        self.spectral = mixing.spectral
        self._values, self._row = values, row

    def mix_tokens(self, x_BCHW: Tensor) -> Tensor:
        """The same as ``LocalMixing.mix_tokens``, by the switches of the running pass."""
        assert self._values.switches_S2A is not None
        switch_2A = self._values.switches_S2A[self._row]
        heads = x_BCHW.chunk(HEADS, dim=1)
        local = [conv(head) for conv, head in zip(self.local_convs, heads, strict=True)]
        head_C, filter_C = switch_2A.repeat_interleave(heads[0].shape[1], dim=1).unbind(0)
        gain_HKC = 1 + filter_C * (cast(Tensor, self.spectral.gain_HKC) - 1)
        y_BHWC = spectral_rescale_products(torch.cat(local, dim=1).permute(0, 2, 3, 1), gain_HKC)
        return (y_BHWC * head_C).permute(0, 3, 1, 2)


def _is_module(call: MixerCall) -> bool:
    """Whether the mixer's output is that of a module, where a hook can read it."""
    mixer = call.mixer
    return mixer.source is mixer.module and mixer.function is mixer.module


def _keeper(call: MixerCall, values: _Values) -> Any:
    def keep(_: nn.Module, __: Any, output: Any) -> None:
        values.maps.setdefault(call.mixer.name, call.output_map(output))

    return keep
