"""Visual documents from files: rows of images and what is asked about them, and easy-VQA's own layout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from PIL import Image, UnidentifiedImageError

from foretell.core.errors import UserError
from foretell.core.progress import say
from foretell.data.rows import read_jsonl
from foretell.data.visual.documents import Exchange, VisualDocument
from foretell.data.visual.easy_vqa import is_easy_vqa, read_easy_vqa

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
OnBad = Literal["refuse", "skip"]


def read_visual(path: Path, on_bad: OnBad = "refuse") -> Iterator[VisualDocument]:
    """The documents of a file or folder.

    Args:
        path: easy-VQA's zip or folder, or a JSONL file of rows ``{"images": [file, ...], "exchanges": [{"question",
            "answer", "kind", "choices"}]}``, with images relative to it.
        on_bad: what to do with a row whose image cannot be read: refuse it by name, or leave it out and say so.

    Raises:
        UserError: where there is nothing that is read, or a row or image is broken.
    """
    path = path.expanduser()
    if not path.exists():
        raise UserError(f"The visual source {path} does not exist.")
    if is_easy_vqa(path):
        yield from read_easy_vqa(path)
        return
    if not path.name.endswith((".jsonl", ".jsonl.gz", ".jsonl.xz", ".jsonl.bz2", ".jsonl.zst")):
        raise UserError(f"The visual source {path} is of no known kind; a .jsonl file or easy-VQA is expected.")
    skipped = 0
    for number, row in read_jsonl(path):
        try:
            yield _document(path, number, row)
        except UserError as error:
            if on_bad == "refuse":
                raise
            skipped += 1
            say(f"  left out: {error}", "yellow")
    if skipped:
        say(f"  {skipped} rows of {path} were left out", "yellow")


def _document(path: Path, number: int, row: Mapping[str, Any]) -> VisualDocument:
    where = f"{path} line {number}"
    files, asked = row.get("images"), row.get("exchanges")
    if not isinstance(files, list) or not files or not all(isinstance(file, str) for file in files):
        raise UserError(f"{where}: images is {files!r}; a list of file names is expected.")
    if not isinstance(asked, list) or not asked:
        raise UserError(f"{where}: exchanges is {asked!r}; a list of questions with answers is expected.")
    exchanges = tuple(_exchange(f"{where}: exchanges[{index}]", one) for index, one in enumerate(asked))
    images = tuple(_image(path.parent / file, where) for file in files)
    return VisualDocument(images, exchanges, f"{path.name}/{number}", files[0])


def _exchange(where: str, values: Any) -> Exchange:
    found = values if isinstance(values, Mapping) else {}
    for key in ("question", "answer"):
        if not isinstance(found.get(key), str) or not found[key].strip():
            raise UserError(f"{where}.{key} is {found.get(key)!r}; a text is expected.")
    return Exchange(found["question"], found["answer"], str(found.get("kind", "")), tuple(found.get("choices") or ()))


def _image(file: Path, where: str) -> Image.Image:
    try:
        with Image.open(file, formats=FORMATS) as image:
            return image.convert("RGB")
    except (OSError, UnidentifiedImageError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{where}: the image {file} cannot be read ({error}).") from error
