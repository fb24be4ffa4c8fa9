"""One row of a file, whatever its form, as a visual document.

The forms (docs/images.md): images with exchanges; images with one question and answer; messages; LLaVA's conversations;
a content without roles; images with a caption.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from PIL import Image

from foretell.core.errors import UserError
from foretell.data.dataurls import is_data_url, read_data_url
from foretell.data.image_decoding import ImageLimits, decode
from foretell.data.messages import IMAGE_PARTS, checked_turns
from foretell.data.visual.documents import Exchange, VisualDocument, words_of

LIMITS = ImageLimits()
PLACEHOLDER = "<image>"
IMAGE_FIELDS = ("images", "image", "file_name")
CAPTIONS = ("caption", "text")
SHOWN = 60  # characters of a reference in an error
_LLAVA_ROLES = {"human": "user", "gpt": "assistant", "system": "system", "user": "user", "assistant": "assistant"}

Load = Callable[[str], bytes]
"""The content of a file that a row names; a UserError, naming it, where it cannot be had."""


class _Images:
    """The images of a row in the order in which they are asked for."""

    def __init__(self, row: Mapping[str, Any], load: Load, where: str) -> None:
        self._load, self._where = load, where
        listed: Any = next((row[key] for key in IMAGE_FIELDS if row.get(key) is not None), [])
        self.listed: list[Any] = [*listed] if isinstance(listed, list) else [listed]
        self.found: list[Image.Image] = []
        self.group = ""

    def take(self, given: Any) -> None:
        """Read the image that a part or a list names; the next listed one where the part names none."""
        if given is None:
            if not self.listed:
                raise UserError(f"{self._where} has more places for images than images.")
            given = self.listed.pop(0)
        data, name = self._bytes(given)
        self.found.append(decode(data, LIMITS, name))
        self.group = self.group or hashlib.sha256(data).hexdigest()

    def take_listed(self) -> int:
        """Read all that are listed and not yet taken; how many."""
        count = len(self.listed)
        for _ in range(count):
            self.take(None)
        return count

    def _bytes(self, given: Any) -> tuple[bytes, str]:
        if isinstance(given, Mapping):
            given = next((given[key] for key in ("url", "path", "file_name") if given.get(key)), None)
        name = f"{self._where}: the image {str(given)[:SHOWN]}"
        if not isinstance(given, str) or not given:
            raise UserError(f"{name} is none; the name of a file or a data URL is expected.")
        if is_data_url(given):
            return read_data_url(given, LIMITS.bytes, name)[1], name
        if "://" in given:
            raise UserError(f"{name} is an address, and nothing is fetched in training; a file's name is expected.")
        try:
            return self._load(given), name
        except UserError as error:
            raise UserError(f"{self._where}: {error}") from error


def document_of(row: Mapping[str, Any], load: Load, where: str, identity: str) -> VisualDocument:
    """A row as a document.

    Args:
        row: in one of the forms.
        load: reads the files that it names.
        where: what errors call the row.
        identity: of the document, within its source.

    Raises:
        UserError: where it has none of the forms, a field is malformed, or an image cannot be read.
    """
    images = _Images(row, load, where)
    parts: dict[str, Any] = {"exchanges": ()}
    if "exchanges" in row or "question" in row:
        parts["exchanges"] = _exchanges(row, where)
        if not images.take_listed():
            raise UserError(f"{where}: images is {row.get('images')!r}; a list of file names is expected.")
    elif "messages" in row or "conversations" in row:
        parts["messages"] = _messages(row, images, where)
    elif "content" in row or "parts" in row:
        parts["parts"] = _parts(row.get("content", row.get("parts")), images, f"{where}: content")
        if not words_of(parts["parts"]).strip():
            raise UserError(f"{where}: content has no text, so there is nothing to learn.")
    else:
        parts["parts"] = _caption(row, images, where)
    if images.listed:
        raise UserError(f"{where} has {len(images.listed)} more images than places for them.")
    document = VisualDocument(tuple(images.found), identity=identity, group=images.group, **parts)
    try:
        "".join(words for exchange in document.asked for words in (exchange.question, exchange.answer)).encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{where} has half of a surrogate pair, which is no text.") from error
    return document


def _exchanges(row: Mapping[str, Any], where: str) -> tuple[Exchange, ...]:
    if "exchanges" not in row:
        return (_exchange(where, row),)
    asked = row["exchanges"]
    if not isinstance(asked, list) or not asked:
        raise UserError(f"{where}: exchanges is {asked!r}; a list of questions with answers is expected.")
    return tuple(_exchange(f"{where}: exchanges[{index}]", one) for index, one in enumerate(asked))


def _exchange(where: str, values: Any) -> Exchange:
    found = values if isinstance(values, Mapping) else {}
    for key in ("question", "answer"):
        if not isinstance(found.get(key), str) or not found[key].strip():
            raise UserError(f"{where}.{key} is {found.get(key)!r}; a text is expected.")
    choices = found.get("choices") or ()
    if not isinstance(choices, list | tuple) or not all(isinstance(choice, str) for choice in choices):
        raise UserError(f"{where}.choices is {choices!r}; a list of texts is expected.")
    return Exchange(found["question"], found["answer"], str(found.get("kind") or ""), tuple(choices))


def _messages(row: Mapping[str, Any], images: _Images, where: str) -> tuple[dict[str, Any], ...]:
    given: Any = row.get("messages")
    if given is None and isinstance(row.get("conversations"), list):
        given = [_from_llava(turn) for turn in row["conversations"]]
    try:
        checked_turns(given, images=True)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    return tuple({"role": turn["role"], "content": _parts(turn["content"], images, where)} for turn in given)


def _from_llava(turn: Any) -> Any:
    if not isinstance(turn, Mapping) or "from" not in turn:
        return turn
    return {"role": _LLAVA_ROLES.get(str(turn["from"]), turn["from"]), "content": turn.get("value")}


def _parts(content: Any, images: _Images, where: str) -> tuple[dict[str, str], ...]:
    """A content as parts without the images themselves, which are taken in the order of the parts."""
    found: list[dict[str, str]] = []
    given = _at_placeholders(content, bool(images.listed)) if isinstance(content, str) else content
    if not isinstance(given, list) or not given:
        raise UserError(f"{where} is {content!r}; a text or a list of text and image parts is expected.")
    for part in given:
        kind = part.get("type") if isinstance(part, Mapping) else "text" if isinstance(part, str) else None
        text = part if isinstance(part, str) else part.get("text") if kind == "text" else None
        if kind in IMAGE_PARTS:
            images.take(part.get(kind, part.get("url", part.get("path"))))
            found.append({"type": "image"})
        elif isinstance(text, str):
            found.append({"type": "text", "text": text})
        else:
            raise UserError(f"{where} has a part {str(part)[:SHOWN]!r}; text and image parts are expected.")
    return tuple(found)


def _at_placeholders(text: str, images: bool) -> list[Any]:
    """Text and image parts of a text with ``<image>`` in it; where no images are listed that is text like any other."""
    pieces = text.split(PLACEHOLDER) if images else [text]
    found: list[Any] = [pieces[0]]
    for piece in pieces[1:]:
        found += [{"type": "image"}, piece]
    return [piece for piece in found if piece != ""] or [text]


def _caption(row: Mapping[str, Any], images: _Images, where: str) -> tuple[dict[str, str], ...]:
    text = next((row[key] for key in CAPTIONS if isinstance(row.get(key), str) and row[key].strip()), None)
    if text is None or not images.listed:
        keys = ", ".join(f"'{key}'" for key in row) or "none"
        raise UserError(
            f"{where} has the fields {keys}; images with exchanges, a question and answer or a caption, or messages, "
            "or a content of text and images is expected."
        )
    count = images.take_listed()
    return (*({"type": "image"} for _ in range(count)), {"type": "text", "text": text})
