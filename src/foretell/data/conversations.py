"""Conversations to learn from: JSONL rows ``{"messages": [{"role", "content"}, ...]}`` read, checked and encoded.

A row that cannot be learned from is an error with its line; one that is too long is counted and named. Letters: C
conversations, N tokens of all of them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from foretell.core.errors import UserError
from foretell.core.files import sha256_bytes
from foretell.core.packing import BRANCHES
from foretell.core.progress import track
from foretell.data.chat import ChatTemplate
from foretell.data.messages import checked_turns
from foretell.data.packing import PADDING
from foretell.data.stream import IGNORED, Batch

NAMED_FAULTS = 5
_SPLIT = 2**31  # sets the draw of a split apart from those of epochs


@dataclass(frozen=True)
class Conversation:
    """One row of the file, content as plain text."""

    line: int  # counted from one
    messages: list[dict[str, str]]


def read_conversations(path: Path) -> list[Conversation]:
    """Read a JSONL file; blank lines are passed over.

    Raises:
        UserError: where the file is missing, not text or empty, and for rows that are not conversations with something
            of the assistant in them: the first few by line, and how many there are.
    """
    found, faults = [], []
    try:
        with path.open(encoding="utf-8") as file:
            for number, text in enumerate(file, 1):
                if not text.strip():
                    continue
                try:
                    found.append(Conversation(number, _messages(text)))
                except ValueError as error:
                    faults.append(f"line {number}: {error}")
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; a JSONL file of conversations is expected.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not readable as text ({error}).") from error
    if faults:
        more = f", and {len(faults) - NAMED_FAULTS} more" if len(faults) > NAMED_FAULTS else ""
        raise UserError(f"{path} has rows that are not conversations: {'; '.join(faults[:NAMED_FAULTS])}{more}.")
    if not found:
        raise UserError(f"{path} is empty; a row {{'messages': [{{'role', 'content'}}, ...]}} each is expected.")
    return found


def _messages(text: str) -> list[dict[str, str]]:
    """The messages of a row, or a ValueError that says what is wrong with them."""
    try:
        row = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error.msg} at character {error.pos})") from None
    if isinstance(row, dict) and row.get("tools"):
        raise ValueError("tools are not part of fine-tuning here; conversations without them are expected")
    try:
        turns = checked_turns(row.get("messages") if isinstance(row, dict) else None)
    except UserError as error:
        raise ValueError(str(error).rstrip(".")) from None
    return [{"role": message["role"], "content": message["content"]} for message in turns]


@dataclass(frozen=True)
class ConversationSet:
    """Encoded conversations, end to end."""

    tokens: NDArray[np.int32]
    """Ids, ``[N]``."""
    learned: NDArray[np.bool_]
    """Whether the assistant writes the token, ``[N]``."""
    offsets: NDArray[np.int64]
    """Where each begins, and the end of the last, ``[C + 1]``."""
    lines: NDArray[np.int64]
    """Line of each in its file, ``[C]``."""

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Positions that each takes in a row, ``[C]``: its last token is only ever a label."""
        return np.diff(self.offsets) - 1

    def one(self, index: int) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Ids and marks of a conversation."""
        part = slice(self.offsets[index], self.offsets[index + 1])
        return self.tokens[part], self.learned[part]

    @property
    def labels(self) -> int:
        """Tokens to learn."""
        return int(self.learned.sum() - self.learned[self.offsets[:-1]].sum())

    @cached_property
    def digest(self) -> str:
        """SHA-256 of ids, marks and bounds."""
        return sha256_bytes(b"".join(part.tobytes() for part in (self.tokens, self.learned, self.offsets)))

    def batch(self, rows: Sequence[Sequence[int]], room: int) -> Batch:
        """The conversations of each row, one after the other; labels are the assistant's tokens only."""
        inputs = np.zeros((len(rows), room), np.int64)
        labels = np.full((len(rows), room), IGNORED, np.int64)
        documents = np.full((len(rows), room), PADDING, np.int64)
        for row, items in enumerate(rows):
            start = 0
            for number, item in enumerate(items):
                ids, learned = self.one(item)
                part = slice(start, start + len(ids) - 1)
                inputs[row, part] = ids[:-1]
                labels[row, part] = np.where(learned[1:], ids[1:], IGNORED)
                documents[row, part] = number * BRANCHES
                start = part.stop
        count = int((labels != IGNORED).sum())
        return Batch(torch.from_numpy(inputs), torch.from_numpy(labels), count, torch.from_numpy(documents))

    def subset(self, chosen: Sequence[int] | NDArray[np.int64]) -> ConversationSet:
        """The conversations ``chosen``, in that order."""
        return _laid_end_to_end([(*self.one(index), int(self.lines[index])) for index in chosen])

    def split(self, share: float, seed: int) -> tuple[ConversationSet, ConversationSet]:
        """What to train on and what to hold out, about ``share`` of the distinct conversations; copies stay together.

        Raises:
            UserError: where one of the two would be empty, though ``share`` is not zero.
        """
        groups: dict[bytes, list[int]] = {}
        for index in range(len(self)):
            groups.setdefault(b"|".join(part.tobytes() for part in self.one(index)), []).append(index)
        distinct = list(groups.values())
        count = max(1, round(share * len(distinct))) if share else 0
        if count and count >= len(distinct):
            raise UserError(
                f"held_out is {share:g} and there are {len(distinct)} distinct conversations, which leaves none to "
                "train on; give more of them or a smaller share (0 holds nothing out)."
            )
        order = np.random.Generator(np.random.PCG64([seed, _SPLIT])).permutation(len(distinct))
        held = sorted(index for group in order[:count] for index in distinct[group])
        kept = sorted(index for group in order[count:] for index in distinct[group])
        return self.subset(kept), self.subset(held)


def encode_conversations(
    conversations: Sequence[Conversation], chat: ChatTemplate, context: int
) -> tuple[ConversationSet, list[int]]:
    """Encode all that fit into ``context`` positions.

    Returns:
        the encoded conversations, and the lines of those that are too long.

    Raises:
        UserError: where the template refuses a conversation or marks nothing to learn in it, or none fits.
    """
    encoded, too_long, unmarked = [], [], []
    for conversation in track(conversations, "encoding conversations", len(conversations)):
        try:
            written = chat.encode_for_training(conversation.messages)
        except UserError as error:
            raise UserError(f"The conversation in line {conversation.line} cannot be written: {error}") from error
        ids, marks = written.ids, written.assistant
        if len(ids) - 1 > context:
            too_long.append(conversation.line)
        elif not any(marks[1:]):
            unmarked.append(conversation.line)
        else:
            encoded.append((np.asarray(ids, np.int32), np.asarray(marks, np.bool_), conversation.line))
    if unmarked:
        raise UserError(f"The chat template marks nothing to learn in {lines_in_words(unmarked)}.")
    if not encoded:
        raise UserError(f"None of {len(conversations)} conversations fits into a context of {context} tokens.")
    return _laid_end_to_end(encoded), too_long


def lines_in_words(lines: Sequence[int]) -> str:
    """``3 conversations (lines 1, 5, 9)``; the first few lines of many."""
    shown = ", ".join(map(str, lines[:NAMED_FAULTS])) + (", ..." if len(lines) > NAMED_FAULTS else "")
    one = len(lines) == 1
    return f"{len(lines)} {'conversation' if one else 'conversations'} ({'line' if one else 'lines'} {shown})"


def _laid_end_to_end(parts: Sequence[tuple[NDArray[np.int32], NDArray[np.bool_], int]]) -> ConversationSet:
    lengths = [len(ids) for ids, _, _ in parts]
    return ConversationSet(
        tokens=np.concatenate([np.zeros(0, np.int32), *(ids for ids, _, _ in parts)]),
        learned=np.concatenate([np.zeros(0, np.bool_), *(marks for _, marks, _ in parts)]),
        offsets=np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64),
        lines=np.asarray([line for _, _, line in parts], np.int64),
    )
