"""Visual documents from files, whatever their kind (docs/images.md)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from foretell.core.errors import UserError
from foretell.core.progress import say
from foretell.data.compression import inner_suffix, open_bytes
from foretell.data.rows import read_jsonl
from foretell.data.visual.documents import VisualDocument
from foretell.data.visual.easy_vqa import easy_vqa_items, is_easy_vqa
from foretell.data.visual.samples import TAR_SUFFIXES, Item, folder_items, row_items, tar_items

OnBad = Literal["refuse", "skip"]
DOCUMENTS = "documents.jsonl"
NAMED = 5  # of those that are left out


def read_visual(path: Path, on_bad: OnBad = "refuse") -> Iterator[VisualDocument]:
    """The documents of a file or folder, in its order.

    Args:
        path: rows of ``.jsonl`` or a ``.json`` list, a webdataset tar, a folder of images with texts, what the
            generator wrote, or easy-VQA's zip or folder; rows and tars may be compressed.
        on_bad: what to do with a document that cannot be read, for its image most often: refuse it by name, or leave it
            out and count it.

    Raises:
        UserError: where there is nothing that is read, the file itself is damaged, or a document is and is refused.
    """
    skipped = 0
    for item in _items(path.expanduser()):
        try:
            yield item()
        except UserError as error:
            if on_bad == "refuse":
                raise
            skipped += 1
            if skipped <= NAMED:
                say(f"  left out: {error}", "yellow")
    if skipped:
        say(f"  {skipped} documents of {path} cannot be read and were left out", "yellow")


def _items(path: Path) -> Iterator[Item]:
    if not path.exists():
        raise UserError(f"The visual source {path} does not exist.")
    if is_easy_vqa(path):
        return easy_vqa_items(path)
    if path.is_dir():
        drawn = path / DOCUMENTS
        return row_items(drawn, read_jsonl(drawn), DOCUMENTS) if drawn.is_file() else folder_items(path)
    if path.name.lower().endswith(TAR_SUFFIXES):
        return tar_items(path)
    if inner_suffix(path) in (".jsonl", ".ndjson"):
        return row_items(path, read_jsonl(path), path.name)
    if inner_suffix(path) == ".json":
        return row_items(path, _json_rows(path), path.name)
    raise UserError(
        f"The visual source {path} is of no known kind; a .jsonl or .json file, a tar, a folder or easy-VQA is "
        "expected."
    )


def _json_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with open_bytes(path) as stream:
        try:
            rows = json.load(stream)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path} is not JSON ({error}).") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UserError(f"{path} is no list of objects, which is expected of a .json file.")
    yield from enumerate(rows, 1)
