"""A callback that writes down in which form each process of a run computes."""

import json
import os
from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from spanetv2.ops.linear import FORMS, choice


class FormWitness(Callback):
    """Write the forms of the network's parts into a file per process.

    Args:
        folder: where.
        elsewhere: ranks that are to be on another kind of processor, by whose table the other form
            is the faster one.
    """

    def __init__(self, folder: str, elsewhere: list[int]):
        self.folder = Path(folder)
        if int(os.environ.get("LOCAL_RANK", "0")) in elsewhere:
            here = choice.fastest_form("cpu", compiled=False, training=True)
            there = next(form for form in FORMS[1:] if form != here)
            choice._FASTEST["eager training", torch.float32] = there

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *step: object
    ) -> None:
        forms = {part.form for part in pl_module.net.modules() if hasattr(part, "form")}
        path = self.folder / f"{trainer.global_rank}.json"
        path.write_text(json.dumps(sorted(forms)), encoding="utf-8")
