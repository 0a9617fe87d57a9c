"""Files that were damaged on their way: whatever bit it was, they are refused."""

import io
import json
import zipfile
from pathlib import Path

import pytest
import torch

from spanetv2 import UserError, create_model, save_weights
from spanetv2.models.weights import read_checkpoint
from spanetv2.models.weights.archive import archive_fault


def weights(path: Path) -> Path:
    model = create_model("pico_pure", num_classes=2, img_size=32)
    if path.suffix == ".safetensors":
        save_weights(model, path)
    else:
        torch.save(model.state_dict(), path)
    return path


@pytest.mark.parametrize("share", [0.01, 0.3, 0.6, 0.9])
def test_a_flipped_bit_of_a_pytorch_file_is_found_where_pytorch_reads_past_it(
    tmp_path: Path, share: float
) -> None:
    path = weights(tmp_path / "w.pth")
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        largest = max(archive.infolist(), key=lambda member: member.file_size)
    place = largest.header_offset + 200 + int(share * (largest.file_size - 200))
    data[place] ^= 0x40
    path.write_bytes(data)
    torch.load(path, weights_only=True)  # no error
    with pytest.raises(UserError, match=r"the checksum of its part .* is wrong"):
        read_checkpoint(path)


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize("cut", [1, 100, 5000])
def test_a_file_that_was_cut_short_is_refused(tmp_path: Path, name: str, cut: int) -> None:
    path = weights(tmp_path / name)
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(UserError, match="truncated or not a"):
        read_checkpoint(path)


def test_an_archive_that_grows_when_it_is_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w/data.pkl", b"\0" * 10**7)
    assert "compressed" in (archive_fault(path) or "")
    with pytest.raises(UserError, match="compressed archive"):
        read_checkpoint(path)


def test_the_older_format_has_no_checksums_and_is_read(tmp_path: Path) -> None:
    model = create_model("pico_pure", num_classes=2, img_size=32)
    path = tmp_path / "w.pth"
    torch.save(model.state_dict(), path, _use_new_zipfile_serialization=False)
    assert archive_fault(path) is None
    assert len(read_checkpoint(path).state_dict) == len(model.state_dict())


@pytest.mark.parametrize(
    "change",
    [
        lambda header, name: header[name].update(data_offsets=[0, 10**12]),
        lambda header, name: header[name].update(shape=[10**6, 10**6]),
        lambda header, name: header[name].update(dtype="F99"),
        lambda header, name: header.pop(name),
        lambda header, name: header.update({"__metadata__": {"spanetv2": 3}}),
    ],
)
def test_a_safetensors_header_that_does_not_fit_its_file_is_refused(tmp_path: Path, change) -> None:
    path = weights(tmp_path / "w.safetensors")
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    change(header, "stages.0.blocks.0.mlp.fc1.weight")
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + size :])
    with pytest.raises(UserError, match="truncated or not a safetensors file") as caught:
        read_checkpoint(path)
    assert str(path) in str(caught.value)
