"""One visual document as a model reads it: ids, labels, branches, positions and patches.

What all of a document's questions begin with, its images, is its trunk and stands there once; every question is a
branch that sees the trunk and itself. Positions of a branch go on where the trunk ends, so that a question is read as
if it were the only one. Letters: N positions, P patches of all images, p pixels of a patch's side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from foretell.core.errors import UserError
from foretell.data.chat import ChatTemplate, EncodedChat
from foretell.data.config import IMAGE_BREAK, IMAGE_END, IMAGE_TOKEN
from foretell.data.images import ImageTokens, patch_bytes, prepare
from foretell.data.stream import IGNORED
from foretell.data.tokenizer import Tokenizer
from foretell.data.visual.documents import Part, VisualDocument


@dataclass(frozen=True)
class EncodedDocument:
    """A document as the store keeps it."""

    inputs: NDArray[np.int32]
    """Ids, ``[N]``."""
    labels: NDArray[np.int32]
    """Ids to predict, ``[N]``; -100 where nothing is to be learned."""
    branches: NDArray[np.int32]
    """0 for the trunk, then 1, 2, ... for what is asked, ``[N]``."""
    positions: NDArray[np.int32]
    """``[N]``."""
    patches: NDArray[np.uint8]
    """Pixels of the patches of all images, one after the other, ``[P, 3 p p]``."""
    grids: tuple[tuple[int, int], ...]
    """Rows and columns of patches of each image."""


class VisualEncoder:
    """How documents are written for a model.

    Args:
        chat: its chat template.
        tokens: that stand for an image.
        patch: pixels of a patch's side.
        longest: pixels of an image's longest edge at most; larger ones are shrunk.
    """

    def __init__(self, chat: ChatTemplate, tokens: ImageTokens, patch: int, longest: int) -> None:
        self.chat, self.tokens, self.patch, self.longest = chat, tokens, patch, longest

    @classmethod
    def of(cls, tokenizer: Tokenizer, patch: int, longest: int) -> VisualEncoder:
        """For a tokenizer trained here, by its own template and image tokens.

        Raises:
            UserError: where the tokenizer has no template or none of the tokens.
        """
        if tokenizer.chat_template is None:
            raise UserError("The tokenizer has no chat template, which questions about images are written by.")
        tokens = ImageTokens(*(tokenizer.special_token_id(name) for name in (IMAGE_TOKEN, IMAGE_BREAK, IMAGE_END)))
        return cls(ChatTemplate(tokenizer.chat_template, tokenizer, IMAGE_TOKEN), tokens, patch, longest)

    def encode(self, document: VisualDocument) -> EncodedDocument:
        """Write a document.

        Raises:
            UserError: where the template refuses a conversation.
        """
        pictures = [prepare(image, self.patch, self.longest) for image in document.images]
        grids = tuple((pixels.shape[0] // self.patch, pixels.shape[1] // self.patch) for pixels in pictures)
        written = [self.chat.encode_for_training(messages) for messages in document.conversations()]
        for number, exchange in enumerate(document.exchanges):
            if exchange.spelled:
                written[number] = written[number].spelled(self.chat.tokenizer)
        chats = [chat.expand(self.tokens, grids) for chat in written or [self._text(document.parts)]]
        patches = [patch_bytes(pixels, self.patch) for pixels in pictures]
        width = 3 * self.patch * self.patch
        pixels = np.concatenate([np.zeros((0, width), np.uint8), *patches])
        inputs, labels, branches, positions = _joined(chats)
        return EncodedDocument(inputs, labels, branches, positions, pixels, grids)

    def _text(self, parts: Sequence[Part]) -> EncodedChat:
        """A text of nobody's between ends of texts, all of its words learned, with one token an image."""
        end, encode = self.chat.tokenizer.end_of_text_id, self.chat.tokenizer.encode
        ids, learned = [end], [False]
        for part in parts:
            image = part["type"] == "image"
            piece = [self.tokens.image] if image else encode(part["text"])
            ids += piece
            learned += [not image] * len(piece)
        return EncodedChat([*ids, end], [*learned, True])


def encode_within(
    encoder: VisualEncoder, document: VisualDocument, room: int
) -> list[tuple[VisualDocument, EncodedDocument]]:
    """The document in pieces of at most ``room`` positions, all with its images; a question that is too long is left
    out, and so is a conversation or text.
    """
    encoded = encoder.encode(document)
    if len(encoded.inputs) <= room:
        return [(document, encoded)]
    middle = len(document.exchanges) // 2
    if not middle:
        return []
    halves = (document.exchanges[:middle], document.exchanges[middle:])
    parts = [encode_within(encoder, replace(document, exchanges=half), room) for half in halves]
    return [piece for part in parts for piece in part]


def _trunk(chats: Sequence[EncodedChat]) -> int:
    """Ids that all conversations begin with, short of the last one that only predicts what is not learned."""
    if len(chats) == 1:
        return len(chats[0].ids)
    shortest = min(chat.assistant.index(True) - 1 if any(chat.assistant) else len(chat.ids) for chat in chats)
    length = 0
    while length < shortest and len({chat.ids[length] for chat in chats}) == 1:
        length += 1
    return length


def _joined(chats: Sequence[EncodedChat]) -> list[NDArray[np.int32]]:
    """Inputs, labels, branches and positions of the trunk and of each branch."""
    trunk = _trunk(chats)
    parts = [(0, 0, chats[0].ids[:trunk], chats[0].assistant[:trunk])]
    if len(chats) > 1:
        parts += [(n, trunk, chat.ids[trunk:], chat.assistant[trunk:]) for n, chat in enumerate(chats, 1)]
    columns: tuple[list[int], ...] = ([], [], [], [])
    for branch, start, ids, learned in parts:
        # The last id of a branch is only ever a label; the trunk's is read by the branches.
        kept = len(ids) if len(chats) > 1 and branch == 0 else len(ids) - 1
        following = [token if counts else IGNORED for token, counts in zip(ids[1:], learned[1:], strict=True)]
        found = (ids[:kept], [*following, IGNORED][:kept], [branch] * kept, range(start, start + kept))
        for column, values in zip(columns, found, strict=True):
            column += values
    return [np.asarray(column, np.int32) for column in columns]
