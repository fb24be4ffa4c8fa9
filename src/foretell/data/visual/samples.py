"""Files that belong together because of their names: ``7.jpg`` with ``7.txt`` or ``7.json``, in tars and folders."""

from __future__ import annotations

import functools
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from foretell.core.errors import UserError
from foretell.core.progress import say
from foretell.data.compression import open_bytes, read_up_to
from foretell.data.rows import read_jsonl
from foretell.data.visual.documents import VisualDocument
from foretell.data.visual.rows import IMAGE_FIELDS, LIMITS, document_of

Item = Callable[[], VisualDocument]
"""A document that is there and not yet read; a UserError where it is broken."""

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp")
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".tar.zst")
SAMPLE_BYTES = 10 * LIMITS.bytes  # of all files of one name, which are in memory together
METADATA = "metadata.jsonl"
_SAYS_WHAT = ("exchanges", "question", "messages", "conversations", "content", "parts", "caption")


def file_in(folder: Path, name: str) -> bytes:
    """The content of a file, up to one byte more than an image may have.

    Raises:
        UserError: where it is missing, no file, or not permitted.
    """
    path = folder / name
    try:
        if not path.is_file():
            raise UserError(f"the file {path} does not exist.")
        with path.open("rb") as file:
            return read_up_to(file, LIMITS.bytes + 1)
    except (OSError, ValueError) as error:  # a name with a zero in it is a ValueError
        raise UserError(f"the file {path} cannot be read ({error}).") from error


def _row(texts: Mapping[str, bytes], images: Sequence[str], where: str) -> dict[str, Any]:
    """What a sample's ``.json`` and ``.txt`` say of its images."""
    row: Any = {}
    if ".json" in texts:
        try:
            row = json.loads(texts[".json"])
        except (ValueError, RecursionError) as error:
            raise UserError(f"{where}.json is not JSON ({error}).") from error
        if not isinstance(row, dict):
            raise UserError(f"{where}.json holds a {type(row).__name__}; an object is expected.")
    if ".txt" in texts and not any(key in row for key in _SAYS_WHAT):
        try:
            row = {**row, "caption": texts[".txt"].decode("utf-8-sig").strip()}
        except UnicodeDecodeError as error:
            raise UserError(f"{where}.txt is not UTF-8.") from error
    named = any(row.get(key) is not None for key in IMAGE_FIELDS)
    return row if named else {**row, "images": list(images)}


def tar_items(path: Path) -> Iterator[Item]:
    """The samples of a webdataset tar, read from its beginning to its end; nothing is written to the disk.

    Files belong to a sample that have the same name up to its first dot and follow one another. Links and devices are
    passed over.

    Raises:
        UserError: where the tar is damaged, or has no sample with an image.
    """
    found = False
    for key, files in _tar_samples(path):
        images = [name for name in files if name.lower().endswith(IMAGE_SUFFIXES)]
        if images:
            found = True
            yield functools.partial(_tar_document, path, key, files, images)
    if not found:
        raise UserError(f"{path} has no image with a text of the same name; a webdataset tar is expected.")


def _tar_document(path: Path, key: str, files: Mapping[str, bytes], images: Sequence[str]) -> VisualDocument:
    where = f"{path}: {key}"
    texts = {suffix: data for name, data in files.items() if (suffix := PurePosixPath(name).suffix.lower())}

    def load(name: str) -> bytes:
        full = next((file for file in files if name in (file, PurePosixPath(file).name)), None)
        if full is None:
            raise UserError(f"the file {name} is none of the sample's, which are {', '.join(files)}.")
        return files[full]

    return document_of(_row(texts, images, where), load, where, f"{path.name}/{key}")


def _tar_samples(path: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Names up to their first dot, and the files of each by their whole names."""
    key, files, size = "", dict[str, bytes](), 0
    for name, data in _tar_files(path):
        folder, file = PurePosixPath(name).parent, PurePosixPath(name).name
        stem = str(folder / file.split(".")[0])
        if stem != key:
            if files:
                yield key, files
            key, files, size = stem, {}, 0
        size += len(data)
        if size > SAMPLE_BYTES:
            raise UserError(f"{path}: the files {key}.* have more than {SAMPLE_BYTES:,} bytes together.")
        files[name] = data
    if files:
        yield key, files


def _tar_files(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with open_bytes(path) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isreg() else None
                if content is not None:
                    yield member.name, read_up_to(content, LIMITS.bytes + 1)  # type: ignore[arg-type]
    except (tarfile.TarError, ValueError, OverflowError) as error:
        raise UserError(f"{path} is cut short or is not a tar ({error}).") from error


def folder_items(folder: Path) -> Iterator[Item]:
    """The images of a folder, with what each ``metadata.jsonl`` in it or a file of an image's own name says of them.

    Raises:
        UserError: where neither is there.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    tables = [path for path in files if path.name == METADATA]
    for table in tables:
        yield from row_items(table, read_jsonl(table), table.relative_to(folder).as_posix())
    if tables:
        return
    there, alone, found = set(files), 0, False
    for path in files:
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            continue
        texts = [other for suffix in (".json", ".txt") if (other := path.with_suffix(suffix)) in there]
        alone += not texts
        if texts:
            found = True
            yield functools.partial(_folder_document, folder, path, texts)
    if not found:
        raise UserError(
            f"{folder} has no image with a .txt or .json of its name, and no {METADATA}; one of them is expected."
        )
    if alone:
        say(f"  {alone} images of {folder} have no text beside them", "yellow")


def _folder_document(folder: Path, path: Path, texts: Sequence[Path]) -> VisualDocument:
    contents = {text.suffix: file_in(text.parent, text.name) for text in texts}
    row = _row(contents, [path.name], str(path.with_suffix("")))
    load = functools.partial(file_in, path.parent)
    return document_of(row, load, str(path), path.relative_to(folder).as_posix())


def row_items(path: Path, rows: Iterator[tuple[int, dict[str, Any]]], name: str) -> Iterator[Item]:
    """Rows of a file, which name images by where they lie from it; ``name`` is the file's within its source."""
    load = functools.partial(file_in, path.parent)
    for number, row in rows:
        yield functools.partial(document_of, row, load, f"{path} line {number}", f"{name}/{number}")
