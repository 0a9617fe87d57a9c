"""A callback, given on the command line, that takes batch norm's dependence on the batch away."""

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["StillNorms"]


class StillNorms(Callback):
    """Batch norms run in evaluation mode: a batch then gives what its parts give."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        net = pl_module.net
        assert isinstance(net, nn.Module)
        for module in net.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
