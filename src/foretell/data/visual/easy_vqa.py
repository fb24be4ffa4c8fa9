"""The easy-VQA data set in its own layout (github.com/vzhou842/easy-VQA): a zip or a folder with one split.

``questions.json`` is ``[[question, answer, image number], ...]``, beside it ``images/NUMBER.png``.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from PIL import Image, UnidentifiedImageError

from foretell.core.errors import UserError
from foretell.data.visual.documents import Exchange, VisualDocument

QUESTIONS = "questions.json"
SHAPES = ("circle", "rectangle", "triangle")


def is_easy_vqa(path: Path) -> bool:
    """Whether a zip or folder holds the data set."""
    if path.is_dir():
        return (path / QUESTIONS).is_file()
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(PurePosixPath(name).name == QUESTIONS for name in archive.namelist())


def read_easy_vqa(path: Path) -> Iterator[VisualDocument]:
    """One document an image, with all its questions; images in the order of their numbers.

    Raises:
        UserError: naming the file and member that is missing or broken.
    """
    if path.is_dir():
        yield from _documents(path, lambda name: (path / name).read_bytes())
        return
    with zipfile.ZipFile(path) as archive:
        found = next(name for name in archive.namelist() if PurePosixPath(name).name == QUESTIONS)
        folder = PurePosixPath(found).parent
        yield from _documents(path, lambda name: archive.read(str(folder / name)))


def _documents(path: Path, read: Callable[[str], bytes]) -> Iterator[VisualDocument]:
    asked: dict[int, list[Exchange]] = {}
    try:
        for question, answer, image in json.loads(read(QUESTIONS)):
            asked.setdefault(int(image), []).append(Exchange(str(question), str(answer), kind_of(str(answer))))
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise UserError(f"{path}: {QUESTIONS} is no list of [question, answer, image] ({error}).") from error
    for number in sorted(asked):
        name = f"images/{number}.png"
        try:
            image = Image.open(io.BytesIO(read(name)), formats=["PNG"]).convert("RGB")
        except (OSError, KeyError, UnidentifiedImageError) as error:
            raise UserError(f"{path}: {name} is missing or no PNG ({error}).") from error
        yield VisualDocument((image,), tuple(asked[number]), f"easy-vqa/{number}", f"easy-vqa/{number}")


def kind_of(answer: str) -> str:
    """What a question with this answer is after."""
    if answer in ("yes", "no"):
        return "exists"
    return "shape" if answer in SHAPES else "colour"
