"""The easy-VQA data set in its own layout (github.com/vzhou842/easy-VQA): a zip or a folder with one split.

``questions.json`` is ``[[question, answer, image number], ...]``, beside it ``images/NUMBER.png``.
"""

from __future__ import annotations

import functools
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from foretell.core.errors import UserError
from foretell.data.compression import open_zip, zip_member
from foretell.data.image_decoding import decode
from foretell.data.visual.documents import Exchange, VisualDocument
from foretell.data.visual.rows import LIMITS
from foretell.data.visual.samples import Item, file_in

QUESTIONS = "questions.json"
SHAPES = ("circle", "rectangle", "triangle")


def is_easy_vqa(path: Path) -> bool:
    """Whether a zip or folder holds the data set."""
    if path.is_dir():
        return (path / QUESTIONS).is_file()
    if not zipfile.is_zipfile(path):
        return False
    with open_zip(path) as archive:
        return any(PurePosixPath(name).name == QUESTIONS for name in archive.namelist())


def easy_vqa_items(path: Path) -> Iterator[Item]:
    """One document an image, with all its questions; images in the order of their numbers.

    Raises:
        UserError: where the questions are missing or broken; of an item, naming the member that is.
    """
    if path.is_dir():
        yield from _items(path, functools.partial(file_in, path), (path / QUESTIONS).read_bytes())
        return
    with open_zip(path) as archive:
        found = next(name for name in archive.namelist() if PurePosixPath(name).name == QUESTIONS)
        folder = PurePosixPath(found).parent
        try:
            questions = zip_member(archive, found)
        except UserError as error:
            raise UserError(f"{path}: {found}: {error}") from error
        yield from _items(path, lambda name: zip_member(archive, str(folder / name), LIMITS.bytes + 1), questions)


def _items(path: Path, read: Callable[[str], bytes], questions: bytes) -> Iterator[Item]:
    asked: dict[int, list[Exchange]] = {}
    try:
        for question, answer, image in json.loads(questions):
            asked.setdefault(int(image), []).append(Exchange(str(question), str(answer), kind_of(str(answer))))
    except (ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: {QUESTIONS} is no list of [question, answer, image] ({error}).") from error
    for number in sorted(asked):
        yield functools.partial(_document, path, read, number, tuple(asked[number]))


def _document(path: Path, read: Callable[[str], bytes], number: int, asked: tuple[Exchange, ...]) -> VisualDocument:
    name = f"images/{number}.png"
    try:
        data = read(name)
    except UserError as error:
        raise UserError(f"{path}: {name}: {error}") from error
    return VisualDocument((decode(data, LIMITS, f"{path}: {name}"),), asked, f"easy-vqa/{number}", f"easy-vqa/{number}")


def kind_of(answer: str) -> str:
    """What a question with this answer is after."""
    if answer in ("yes", "no"):
        return "exists"
    return "shape" if answer in SHAPES else "colour"
