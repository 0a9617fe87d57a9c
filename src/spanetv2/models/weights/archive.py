"""Whether a file that PyTorch wrote is whole: PyTorch itself reads past wrong checksums."""

import os
import zipfile
from pathlib import Path

__all__ = ["archive_fault"]

_START = b"PK\x03\x04"


def archive_fault(path: str | os.PathLike[str]) -> str | None:
    """What is wrong with a PyTorch file's archive, found by reading all of it.

    ``torch.save`` writes a zip archive with a checksum for every member, uncompressed, so that the
    members together are no larger than the file.

    Args:
        path: the file.

    Returns:
        The fault in a few words; None for a whole archive, and for a file that is none (PyTorch's
        format before 1.6 has no checksums).
    """
    try:
        with Path(path).open("rb") as stream:
            if stream.read(len(_START)) != _START:
                return None
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if any(member.compress_type != zipfile.ZIP_STORED for member in members):
                return "a compressed archive, which PyTorch writes none of"
            if sum(member.file_size for member in members) > Path(path).stat().st_size:
                return "an archive whose parts are larger than itself"
            broken = archive.testzip()
    except OSError as error:
        return (error.strerror or str(error)).lower()
    except Exception:  # a damaged table of contents makes the reader raise nearly anything
        return "an archive whose table of contents is damaged"
    return None if broken is None else f"the checksum of its part {broken} is wrong"
