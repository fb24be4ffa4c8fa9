"""Corpora to index: what ``foretell run`` froze, and files of text or rows, of any size."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from foretell.core.errors import UserError
from foretell.core.files import content_hash
from foretell.data.compression import inner_suffix, is_compressed, open_bytes
from foretell.data.paths import ROW_SUFFIXES, expand_path
from foretell.data.records import DOCUMENTS_FILE, read_documents
from foretell.data.rows import read_jsonl, read_parquet, row_document

FROZEN_FOLDERS = ("", "corpus", "data/corpus")  # where a frozen corpus is in the folder that is given
READ_BYTES = 1 << 20
COMPRESSED_TO_TEXT = 4  # guessed, for the time left
OTHER_SUFFIXES = {".npy", ".npz", ".safetensors", ".bin", ".png", ".jpg", ".jpeg", ".zip", ".tar", ".pdf", ".so"}


@dataclass(frozen=True)
class Input:
    """One file; of a frozen corpus its training split, which alone a model was trained on."""

    path: Path
    frozen: bool

    @property
    def bytes(self) -> int:
        """Its text, about, for the time left."""
        size = self.path.stat().st_size
        packed = is_compressed(self.path) or self.path.suffix == ".parquet"
        return size * COMPRESSED_TO_TEXT if packed else size


@dataclass(frozen=True)
class Text:
    """A document that is read piece by piece; ``chunks`` joined are its text."""

    location: str
    chunks: Iterator[str]


def list_inputs(paths: Sequence[str]) -> list[Input]:
    """Files of the given paths in order, each once.

    Args:
        paths: files, folders and globs; a run directory or the folder of a frozen corpus stands for its training split.

    Raises:
        UserError: where one names nothing.
    """
    found: dict[Path, Input] = {}
    for name in paths:
        folder = Path(name).expanduser()
        frozen = next((folder / part / DOCUMENTS_FILE for part in FROZEN_FOLDERS
                       if (folder / part / DOCUMENTS_FILE).is_file()), None)  # fmt: skip
        if frozen is not None:
            files = [Input(frozen, True)]
        elif folder.name == DOCUMENTS_FILE and (folder.parent / "summary.json").is_file():
            files = [Input(folder, True)]
        else:
            files = [Input(path, False) for path in expand_path(name)[1]]
        if not files:
            raise UserError(
                f"{name!r} names no file to index; a file, a folder, a glob such as 'texts/**/*.txt' or a run "
                "directory is expected."
            )
        for file in files:
            found.setdefault(file.path.resolve(), file)
    return list(found.values())


def fingerprint(inputs: Sequence[Input], text_field: str) -> str:
    """A hash of names, sizes and times, by which a resumed index knows that its files are still the same."""
    rows = []
    for file in inputs:
        status = file.path.stat()
        rows.append([str(file.path.resolve()), file.frozen, status.st_size, status.st_mtime_ns])
    return content_hash([text_field, rows])


def read_texts(file: Input, text_field: str) -> Iterator[Text]:
    """Documents of a file in order; a binary file gives none.

    Raises:
        UserError: where a file is damaged, or a row has no such field; it is named.
    """
    suffix = inner_suffix(file.path)
    if file.frozen:
        for row in read_documents(file.path.parent, ["path_or_url", "text"], "train"):
            yield Text(row["path_or_url"], iter([row["text"]]))
    elif suffix in ROW_SUFFIXES or suffix == ".parquet":
        rows = read_parquet(file.path, text_field) if suffix == ".parquet" else read_jsonl(file.path)
        unit = "row" if suffix == ".parquet" else "line"
        for number, content in rows:
            place = f"{file.path} {unit} {number}"
            yield Text(place, iter([row_document(content, text_field, place, place, None).text]))
    elif suffix not in OTHER_SUFFIXES:
        with open_bytes(file.path) as stream:
            start = stream.read(READ_BYTES)
            if b"\0" not in start:
                yield Text(str(file.path), _decoded(start, stream))


def _decoded(start: bytes, stream: BinaryIO) -> Iterator[str]:
    """Text of a file; bytes that are no UTF-8 become a character that is neither letter nor digit."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
    data = start
    while data:
        yield decoder.decode(data)
        data = stream.read(READ_BYTES)
    yield decoder.decode(b"", final=True)
