"""Members of .zip files that cannot be read: one sentence each, whoever reads them."""

import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from foretell.core.errors import UserError
from foretell.data.compression import open_zip, zip_member
from foretell.data.visual.sources import read_visual

NAME = "train/questions.json"


def archive(path: Path, kind: int) -> bytes:
    with zipfile.ZipFile(path, "w", kind) as made:
        made.writestr(NAME, json.dumps([["what shape?", "circle", 2]] * 400))

    return path.read_bytes()


def flipped(data: bytes) -> bytes:
    at = 30 + len(NAME) + 40  # within the first member's data
    return data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :]


def marked(offset: int, value: int) -> Callable[[bytes], bytes]:
    """A field of the first member changed in its own header and in the list at the end of the file."""

    def change(data: bytes) -> bytes:
        found = bytearray(data)
        for start, shift in ((0, 0), (data.index(b"PK\1\2"), 2)):
            struct.pack_into("<H", found, start + shift + offset, value)
        return bytes(found)

    return change


@pytest.mark.parametrize("kind", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize(
    "change", [flipped, marked(6, 1), marked(8, 77)], ids=["damaged", "encrypted", "of an unknown compression"]
)
def test_a_member_that_cannot_be_read(tmp_path: Path, kind: int, change: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "set.zip"
    path.write_bytes(change(archive(path, kind)))
    with open_zip(path) as opened, pytest.raises(UserError, match="it cannot be read"):
        zip_member(opened, NAME)
    with pytest.raises(UserError, match=r"set.zip: train/questions.json: it cannot be read"):
        list(read_visual(path))


def test_whole_members_and_missing_ones(tmp_path: Path) -> None:
    path = tmp_path / "set.zip"
    archive(path, zipfile.ZIP_LZMA)
    with open_zip(path) as opened:
        assert zip_member(opened, NAME, 3) == zip_member(opened, NAME)[:3] == b'[["'
        with pytest.raises(UserError, match="it is missing"):
            zip_member(opened, "none")
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UserError, match=r"set.zip cannot be read as a .zip file"):
        open_zip(path)
