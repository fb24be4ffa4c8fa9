"""Conversations and a chat template of the tests' own: one token a letter."""

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Encoded:
    ids: list[int]
    assistant: list[bool]


class LetterChat:
    """The length of the role's name, the letters, 0 for the end of the turn."""

    def encode_for_training(self, messages: list[dict[str, str]]) -> Encoded:
        ids: list[int] = []
        marks: list[bool] = []
        for message in messages:
            own = message["role"] == "assistant"
            text = [ord(letter) for letter in message["content"]]
            ids += [len(message["role"]), *text, 0]
            marks += [False, *[own] * (len(text) + 1)]
        return Encoded(ids, marks)


def chat(question: str, answer: str) -> dict:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def write(path: Path, *rows) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path
