"""Choosing where to compute."""

import torch

from spanetv2.errors import UserError

__all__ = ["choose_device"]


def choose_device(name: str = "auto") -> torch.device:
    """The device of a name; ``auto`` is a GPU if there is one.

    Args:
        name: auto, cpu, cuda, cuda:1, mps, ...

    Raises:
        UserError: no such device here.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        if torch.backends.mps.is_available():
            return torch.device("mps")
        return torch.device("cpu")
    if name.partition(":")[0] == "meta":
        raise UserError("got device 'meta', on which nothing is computed, expected cpu or a GPU")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"got device {name!r}, which cannot be used here ({reason})") from None
    return device
