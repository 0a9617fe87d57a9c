"""What a stage can mix its tokens with: a name with options, or a class of one's own.

A mixer is written as

- a name: ``"spam"``;
- a name with options: ``{"name": "spam", "kernels": [3, 3, 3, 3], "spectral": False}``;
- a class, from Python: ``MyMixer``, or with options ``{"name": MyMixer, "width": 7}``.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from spanetv2.errors import UserError
from spanetv2.mixers.attention import attention, mixed_attention
from spanetv2.mixers.channels_first import pooling, separable_convolution
from spanetv2.mixers.dynamic_filter import DynamicFilter
from spanetv2.mixers.spam import SPAM

__all__ = ["MIXERS", "SHORT_NAMES", "Mixer", "MixerBuilder", "WrittenMixer", "read_mixers"]

MixerBuilder = Callable[..., nn.Module]
"""``build(dim, grid, **options)``: from channels C, the grid (H, W) in tokens, and options to a
module of maps (B, H, W, C) to the same."""


def _identity(dim: int, grid: tuple[int, int]) -> nn.Identity:
    return nn.Identity()


MIXERS: dict[str, MixerBuilder] = {
    "spam": SPAM,
    "mixed_attention": mixed_attention,
    "attention": attention,
    "sepconv": separable_convolution,
    "dynamic_filter": DynamicFilter,
    "pooling": pooling,
    "identity": _identity,
}
"""The published networks have the first three; the others are for controlled studies."""

SHORT_NAMES: Mapping[str, Mapping[str, Any]] = {
    "spam_no_srf": {"name": "spam", "spectral": False},
    "spam_no_modulation": {"name": "spam", "modulation": False},
    "spam_3": {"name": "spam", "kernels": [3, 3, 3, 3]},
    "spam_5": {"name": "spam", "kernels": [5, 5, 5, 5]},
    "spam_7": {"name": "spam", "kernels": [7, 7, 7, 7]},
    "spam_9": {"name": "spam", "kernels": [9, 9, 9, 9]},
    "mixed_attention_16": {"name": "mixed_attention", "head_width": 16},
    "attention_16": {"name": "attention", "head_width": 16},
}
"""Names that stand for a name with options, as files of version 0.1 hold them."""

_OF_THE_NETWORK = ("head_order", "gate", "proj_drop", "device", "dtype")
"""What a network tells every mixer that has a parameter of the name: not options of a mixer."""


@dataclass(frozen=True, kw_only=True)
class Mixer:
    """A token mixer that was chosen: what builds it, with which options."""

    name: str
    """As it was written; a class by its module and name."""
    builder: MixerBuilder
    """Makes the module."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of the builder."""
    record: str | dict[str, Any]
    """How files hold it: values of JSON, which ``read_mixers`` understands."""

    def build(self, dim: int, grid: tuple[int, int], **options: Any) -> nn.Module:
        """Make the module of one block.

        Args:
            dim: channels C.
            grid: (H, W) in tokens.
            **options: the network's own (head_order, gate, proj_drop, device, dtype); the builder
                gets those that it has a parameter for.

        Returns:
            A module of maps (B, H, W, C) to the same.
        """
        accepted = inspect.signature(self.builder).parameters
        shared = {name: value for name, value in options.items() if name in accepted}
        return self.builder(dim, grid, **shared, **self.options)


WrittenMixer = str | type[nn.Module] | Mapping[str, Any] | Mixer
"""A mixer as people and files write it; see the module's text."""


def read_mixers(written: Iterable[WrittenMixer]) -> list[Mixer]:
    """Understand what people and files write for mixers.

    A class is built as ``MyMixer(dim, grid, **options)``. Of ``head_order``, ``gate``,
    ``proj_drop``, ``device`` and ``dtype``, which the network tells all of its mixers, it gets
    those that it has a parameter for. A file keeps its name alone: who reads the file gives the
    class again.

    Args:
        written: one mixer per stage.

    Returns:
        The mixers, in the same order.

    Raises:
        UserError: an unknown name, or an option that the mixer does not have.

    Example:
        >>> mixers = read_mixers(["attention", {"name": "spam", "spectral": False}])
        >>> [mixer.record for mixer in mixers]
        ['attention', {'name': 'spam', 'spectral': False}]
        >>> mixers[1].build(8, (4, 4), gate="sigmoid").spectral
        Identity()
    """
    mixers = list(written)
    for mixer in mixers:
        if isinstance(mixer, Mapping) and "name" not in mixer:
            raise UserError(f"got mixer {dict(mixer)}, expected a 'name' beside its options")
    names = [mixer["name"] if isinstance(mixer, Mapping) else mixer for mixer in mixers]
    if unknown := sorted({repr(name) for name in names if not _is_readable(name)}):
        hint = ""
        if any(isinstance(name, str) and "." in name for name in names):
            hint = "; a class of your own has to be given again, from Python: mixers=[MyMixer, ...]"
        raise UserError(
            f"got mixers [{', '.join(unknown)}], expected some of {', '.join(MIXERS)}{hint}"
        )
    return [_read(mixer) for mixer in mixers]


def _is_readable(name: object) -> bool:
    if isinstance(name, str):
        return name in MIXERS or name in SHORT_NAMES
    return isinstance(name, Mixer) or (isinstance(name, type) and issubclass(name, nn.Module))


def _read(written: WrittenMixer) -> Mixer:
    if isinstance(written, Mixer):
        return written
    options = dict(written) if isinstance(written, Mapping) else {"name": written}
    name = options.pop("name")
    if isinstance(name, type):
        full_name = f"{name.__module__}.{name.__qualname__}"
        _check_options(full_name, name, options)
        return Mixer(name=full_name, builder=name, options=options, record=full_name)
    meant = dict(SHORT_NAMES.get(name, {"name": name}))
    builder = MIXERS[meant.pop("name")]
    _check_options(name, builder, options)
    return Mixer(
        name=name,
        builder=builder,
        options=meant | options,
        record={"name": name, **_in_json(options)} if options else name,
    )


def _in_json(options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
        for name, value in options.items()
    }


def _check_options(name: str, builder: MixerBuilder, options: Mapping[str, Any]) -> None:
    for option in options:
        if option in _OF_THE_NETWORK:
            raise UserError(
                f"got option {option!r} of mixer {name}, expected it of the network, for all of "
                "its mixers"
            )
    parameters = inspect.signature(builder).parameters.values()
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        return
    accepted = [
        parameter.name
        for parameter in list(parameters)[2:]  # behind dim and grid
        if parameter.name not in _OF_THE_NETWORK
    ]
    if unknown := sorted(set(options) - set(accepted)):
        expected = f"some of {', '.join(accepted)}" if accepted else "none"
        raise UserError(f"got options {unknown} of mixer {name}, expected {expected}")
