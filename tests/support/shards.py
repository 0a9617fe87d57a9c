"""WebDataset shards for tests."""

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["write_shards"]


def write_shards(
    folder: Path, splits: Mapping[str, Sequence[tuple[bytes, int]]], *, each: int
) -> Path:
    """Write tar files, and ``_info.json`` that says which are which split.

    Args:
        folder: where to.
        splits: name -> images as PNG files, and their labels.
        each: samples per shard.
    """
    folder.mkdir(exist_ok=True)
    info = {}
    for split, samples in splits.items():
        shards = [samples[i : i + each] for i in range(0, len(samples), each)]
        names = [f"{split}-{number}.tar" for number in range(len(shards))]
        for number, (name, shard) in enumerate(zip(names, shards, strict=True)):
            with tarfile.open(folder / name, "w") as archive:
                for i, (content, label) in enumerate(shard):
                    for ending, data in (("png", content), ("cls", str(label).encode())):
                        member = tarfile.TarInfo(f"{number * each + i:03}.{ending}")
                        member.size = len(data)
                        archive.addfile(member, io.BytesIO(data))
        info[split] = {
            "name": split,
            "num_samples": len(samples),
            "filenames": names,
            "shard_lengths": [len(shard) for shard in shards],
        }
    (folder / "_info.json").write_text(json.dumps({"splits": info}))
    return folder
