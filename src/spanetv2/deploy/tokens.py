"""The form in which a network's mixers are exported to ONNX: lists of tokens all the way.

A runtime runs what stands in the file, and moves a map for every change between (B, C, H, W) and
lists of tokens. So SPAM's projection is a product over tokens: the grouped expansion with the order
of its heads as one dense matrix (zeros between the groups), and GroupNorm over whole lists. It has
more multiply-adds, by 2 C^2 a token beside 13 C^2, and four transpositions of the map fewer.

Shape suffixes: B batch, C channels, D = 2C expanded channels, H and W the grid, N = H W.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spanetv2.deploy.fold import FoldedSPAM
from spanetv2.models.block import Block
from spanetv2.ops.heads import interleave_heads

__all__ = ["TokenSPAM", "in_tokens"]


def in_tokens(model: nn.Module) -> nn.Module:
    """Bring the mixers of an optimised network into this form, in place.

    Args:
        model: of ``optimize_for_inference``.

    Returns:
        The same network.

    Example:
        >>> from spanetv2 import create_model, optimize_for_inference
        >>> model = create_model("pico_pure", num_classes=10, img_size=64).eval()
        >>> x = torch.randn(2, 3, 64, 64)
        >>> with torch.no_grad():
        ...     made = in_tokens(optimize_for_inference(model))(x)
        ...     bool(torch.allclose(made, model(x), atol=1e-4))
        True
    """
    for module in list(model.modules()):
        if isinstance(module, Block) and isinstance(module.token_mixer, FoldedSPAM):
            module.token_mixer = TokenSPAM(module.token_mixer)
    return model


class TokenSPAM(nn.Module):
    """``SPAM`` on one grid; (B, H, W, C) to the same.

    Args:
        mixer: of which it takes the layers.
    """

    def __init__(self, mixer: FoldedSPAM) -> None:
        super().__init__()
        self.query, self.context, self.out = mixer.query, mixer.context, mixer.out
        self.local = mixer.local
        grouped, mix = cast(nn.Conv2d, mixer.proj[0]), cast(nn.Conv2d, mixer.proj.mix)
        # what the expansion makes of every single channel
        channels = torch.eye(grouped.in_channels).to(grouped.weight)[:, :, None, None]
        if mixer.interleaved:
            channels = interleave_heads(channels)
        self.expand_DC = nn.Parameter(grouped(channels).flatten(1).t().detach().contiguous())
        self.norm = cast(nn.GroupNorm, mixer.proj.norm)
        self.mix_CD = nn.Parameter(mix.weight.detach().flatten(1))
        self.requires_grad_(False)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        x_BNC = x_BHWC.flatten(1, 2)
        context_BCHW = self.context(x_BNC).transpose(1, 2).unflatten(2, x_BHWC.shape[1:3])
        y_BNC = self.local.mix_tokens(context_BCHW).permute(0, 2, 3, 1).flatten(1, 2)
        y_BND = F.linear(y_BNC, self.expand_DC)
        # one group over all channels: their order does not matter
        y_BND = F.group_norm(y_BND.flatten(1)[:, None], 1, eps=self.norm.eps).view(y_BND.shape)
        y_BNC = F.linear(F.gelu(y_BND * self.norm.weight + self.norm.bias), self.mix_CD)
        if self.query is not None:
            y_BNC = F.gelu(self.query(x_BNC)) * y_BNC
        return self.out(y_BNC).view(x_BHWC.shape)
