"""The classifier."""

import torch
from torch import Tensor, nn

from spanetv2.errors import UserError
from spanetv2.layers.activation import SquaredReLU

__all__ = ["ClassifierHead", "MlpClassifier"]

_POOLS = ("avg", "max", "avgmax", "")


class MlpClassifier(nn.Module):
    """Linear C -> 4C, squared ReLU, LayerNorm, dropout, Linear -> classes; (B, C) to (B, classes).

    Source: SPANetV2, classifier.
    """

    def __init__(
        self,
        dim: int,
        num_classes: int,
        *,
        drop: float = 0.0,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, 4 * dim, device=device, dtype=dtype)
        self.act = SquaredReLU()
        self.norm = nn.LayerNorm(4 * dim, eps=1e-5, device=device, dtype=dtype)
        self.drop = nn.Dropout(drop)
        self.fc2 = nn.Linear(4 * dim, num_classes, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.drop(self.norm(self.act(self.fc1(x)))))


class ClassifierHead(nn.Module):
    """Pooling over the grid, LayerNorm, and an MLP classifier.

    Args:
        dim: channels C of the last stage.
        num_classes: classes; 0 leaves the classifier out.
        pool: "avg" (the paper's), "max", "avgmax" (their mean), or "" for no pooling: the head
            then treats every token alone and returns a map (B, C or classes, H, W).
        drop: dropout before the last layer.

    Raises:
        ValueError: an unknown pool, or a negative number of classes.

    Source: SPANetV2, classifier.
    """

    def __init__(
        self,
        dim: int,
        num_classes: int,
        *,
        pool: str = "avg",
        drop: float = 0.0,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.drop_rate = drop
        self.pool = ""
        self.norm: nn.Module = nn.LayerNorm(dim, eps=1e-6, device=device, dtype=dtype)
        self.fc: nn.Module = nn.Identity()
        self.set_pool(pool)
        self.set_classes(num_classes, device=device, dtype=dtype)

    def set_pool(self, pool: str) -> None:
        """Change the pooling."""
        if pool not in _POOLS:
            raise UserError(
                f"got global_pool={pool!r}, expected one of {', '.join(map(repr, _POOLS))}"
            )
        self.pool = pool

    def set_classes(
        self,
        num_classes: int,
        *,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        """Make a fresh classifier for ``num_classes`` classes, or remove it (0)."""
        if num_classes < 0:
            raise UserError(f"got num_classes={num_classes}, expected 0 (no classifier) or more")
        self.fc = nn.Identity()
        if num_classes > 0:
            self.fc = MlpClassifier(
                self.dim, num_classes, drop=self.drop_rate, device=device, dtype=dtype
            )
            for module in self.fc.modules():
                if isinstance(module, nn.Linear):
                    nn.init.trunc_normal_(module.weight, std=0.02)
                    nn.init.zeros_(module.bias)
        self.fc.train(self.training)

    def forward(self, x_BCHW: Tensor, pre_logits: bool = False) -> Tensor:
        if self.pool == "avg":
            x = x_BCHW.mean(dim=(2, 3))
        elif self.pool == "max":
            x = x_BCHW.amax(dim=(2, 3))
        elif self.pool == "avgmax":
            x = 0.5 * (x_BCHW.mean(dim=(2, 3)) + x_BCHW.amax(dim=(2, 3)))
        else:
            x = x_BCHW.permute(0, 2, 3, 1)
        x = self.norm(x)
        if not pre_logits:
            x = self.fc(x)
        if self.pool == "":
            x = x.permute(0, 3, 1, 2)
        return x
