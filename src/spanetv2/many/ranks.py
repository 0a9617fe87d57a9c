"""The processes that ``torchrun`` starts: each takes a part, the first one puts them together."""

import contextlib
import datetime
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from spanetv2.tasks.shard import Shard

__all__ = ["Ranks", "ranks_of"]


@dataclass(frozen=True)
class Ranks:
    """This process among the others.

    Args:
        rank: from 0.
        world: number of processes.
        local: from 0, on this machine.
    """

    rank: int
    world: int
    local: int

    def shard(self) -> Shard:
        """This process's part."""
        return Shard(self.rank + 1, self.world)

    def device(self, name: str) -> str:
        """The device of this process, where the name leaves it open."""
        import torch

        if name in ("auto", "cuda") and torch.cuda.is_available():
            return f"cuda:{self.local % torch.cuda.device_count()}"
        return name

    @contextlib.contextmanager
    def together(self, folder: str | os.PathLike[str] | None) -> Iterator[Path]:
        """Around the work of all processes: the folder that they share.

        Args:
            folder: as given; None makes one that goes away, on one machine.
        """
        import torch.distributed as dist

        # a rank may have much more to do than another; one that dies is noticed at once
        dist.init_process_group("gloo", timeout=datetime.timedelta(days=30))
        try:
            with contextlib.ExitStack() as stack:
                names: list[str | None] = [None if folder is None else os.fspath(folder)]
                if folder is None and self.rank == 0:
                    made = tempfile.TemporaryDirectory(prefix="spanetv2-")
                    names = [stack.enter_context(made)]
                dist.broadcast_object_list(names)
                yield Path(str(names[0]))
                dist.barrier()  # the first one may have been putting parts together
        finally:
            dist.destroy_process_group()

    def wait(self) -> None:
        """Wait until all processes have come here."""
        import torch.distributed as dist

        dist.barrier()


def ranks_of() -> Ranks | None:
    """This process as ``torchrun`` describes it in the environment; None outside of it."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    rank, world, local = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    return Ranks(rank, world, local) if world > 1 else None
