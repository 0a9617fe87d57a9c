"""WebDataset: tar files in which the members of a sample lie one after the other."""

import importlib
import io
import itertools
import json
import random
import tarfile
from collections.abc import Iterator
from typing import Any, NamedTuple

from PIL import Image

from spanetv2.data.images import read_image
from spanetv2.data.seeded import item_seed
from spanetv2.errors import UserError
from spanetv2.tasks.classification.data.stream import StreamSource

__all__ = ["ShardStream"]


class _Sample(NamedTuple):
    where: str
    content: bytes


class ShardStream(StreamSource):
    """WebDataset shards: each lane reads its own, one after the other.

    In training the shards are shuffled anew each epoch before they are dealt out to the lanes, and
    samples are shuffled in a buffer of what was read.

    Args:
        reader: timm's, which knows the shards and how to read a sample.
        **options: of ``StreamSource``.
    """

    def __init__(self, reader: Any, **options: Any):
        super().__init__(**options)
        self.shards = list(reader.split_info.filenames)
        self._root = str(reader.root).rstrip("/")  # may be a URL
        self._images = reader.input_key.split(";")
        self._target = reader.target_key or reader.split_info.alt_label
        self._buffer = reader.sample_shuffle_size, reader.sample_initial_size

    def content(self) -> list[str]:
        return [*self.shards, f"{self.images} samples, buffers of {self._buffer}"]

    def share(self, **sharing: int) -> int:
        """See ``StreamSource``.

        Raises:
            UserError: some lanes would have no shard to train on.
        """
        workers = super().share(**sharing)
        if self.training and self.lanes > len(self.shards):
            raise UserError(
                f"got {self.lanes} loading processes for the {len(self.shards)} shards of "
                f"{self.name}, expected at most one for each; lower --data.workers, or write more "
                "and smaller shards"
            )
        return workers

    def items(self, epoch: int, lane: int) -> Iterator[tuple[_Sample, int]]:
        shards = list(self.shards)
        if self.training:
            random.Random(item_seed(self.seed, epoch)).shuffle(shards)  # noqa: S311
        own = shards[lane :: self.lanes]
        for turn in itertools.count():
            found = False
            for sample in self._samples(own, item_seed(self.seed, epoch, lane, turn)):
                label = self._label(sample)
                if label is not None and (image := self._image(sample)) is not None:
                    found = True
                    yield image, label
            if not self.training:
                return
            if not found:
                raise UserError(f"got no sample in shards {', '.join(own)} of {self.name}")

    def decode(self, item: _Sample) -> Image.Image:
        return read_image(
            io.BytesIO(item.content),
            name=item.where,
            white=self.white,
            max_pixels=self.max_pixels,
        )

    def where(self, item: _Sample, label: int) -> str:
        return item.where

    def _samples(self, shards: list[str], seed: int) -> Iterator[dict[str, Any]]:
        if not shards:
            return iter(())
        webdataset: Any = importlib.import_module("webdataset")  # its names are not declared
        stages: list[Any] = [
            webdataset.SimpleShardList([f"{self._root}/{shard}" for shard in shards]),
            webdataset.tarfile_to_samples(handler=self._heard),
        ]
        if self.training:
            size, initial = self._buffer
            chance = random.Random(seed)  # noqa: S311 - an order
            stages.append(webdataset.shuffle(size, initial=initial, rng=chance))
        return iter(webdataset.DataPipeline(*stages))

    def _heard(self, error: Exception) -> bool:
        """What is done about a shard that cannot be read: reported, and the next one."""
        known = isinstance(error, OSError | EOFError | ValueError | tarfile.TarError)
        if not known or isinstance(error, UserError):
            raise error
        self.report(self.name, f"a shard cannot be read ({' '.join(str(error).split())})")
        return True

    def _image(self, sample: dict[str, Any]) -> _Sample | None:
        where = f"{sample['__url__']}/{sample['__key__']}"
        for ending in self._images:
            if ending in sample:
                return _Sample(f"{where}.{ending}", sample[ending])
        self.report(where, f"no image, expected a member ending in {' or '.join(self._images)}")
        return None

    def _label(self, sample: dict[str, Any]) -> int | None:
        """The label of a sample; None for one that is without, and is left out."""
        from timm.data.readers.targets import get_field

        where = f"{sample['__url__']}/{sample['__key__']}"
        if not self._target:
            try:
                return int(sample["cls"])
            except (KeyError, ValueError):
                self.report(where, f"label {sample.get('cls')!r}, expected a number in .cls")
                return None
        try:
            label = get_field(json.loads(sample["json"]), self._target)
            if isinstance(label, int) and not isinstance(label, bool):
                return label if label >= 0 else None
        except (KeyError, ValueError):
            label = None
        raise UserError(
            f"got {label!r} as {self._target} in {where}.json, expected the number of a class; "
            "name the field with target_key"
        )
