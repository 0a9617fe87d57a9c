"""SPAM's token mixing on one grid for the kernels of GPUs, its parameters prepared once.

Shape suffixes: B batch, C channels, H and W the grid in tokens, N = H W.
"""

from typing import cast

import torch
from torch import Tensor, nn

from spanetv2.mixers import LocalMixing
from spanetv2.ops.local_mixing import use_fused
from spanetv2.ops.local_mixing.matrices import Prepared, prepare

__all__ = ["PreparedLocal"]


class PreparedLocal(nn.Module):
    """Row matrices, gains and waves as constants, for the kernels; the products where none run.

    Args:
        mixer: whose token mixing it is, on its grid.
        otherwise: the same token mixing without kernels, on a CPU and in exported graphs.
    """

    def __init__(self, mixer: LocalMixing, otherwise: LocalMixing) -> None:
        super().__init__()
        self.otherwise = otherwise
        self.implementation = mixer.implementation
        grid = mixer.grid
        assert grid is not None
        dtype = next(mixer.local_convs.parameters()).dtype
        made = prepare(*mixer.packed(*grid), grid, dtype)
        for name, value in zip(Prepared._fields, made, strict=True):
            self.register_buffer(name, value)

    def mix_tokens(self, x_BCHW: Tensor) -> Tensor:
        """The same as ``LocalMixing.mix_tokens``."""
        made = Prepared(*(cast(Tensor, getattr(self, name)) for name in Prepared._fields))
        learns = torch.is_grad_enabled() and x_BCHW.requires_grad
        fits = made.rows.dtype == x_BCHW.dtype and use_fused(self.implementation, x_BCHW)
        if learns or not fits:
            return self.otherwise.mix_tokens(x_BCHW)
        from spanetv2.ops.local_mixing.operator import local_mixing_prepared

        return local_mixing_prepared(x_BCHW, made)
