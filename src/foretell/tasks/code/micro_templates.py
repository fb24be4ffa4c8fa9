"""The functions that micro-code asks for: small, exact, and of eight levels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

LEVELS = ("constant", "copy", "select", "operate", "compose", "loop", "text", "two steps")


@dataclass(frozen=True)
class Template:
    """One function; ``micro_templates.txt`` says what its placeholders are.

    Attributes:
        level: place in ``LEVELS``.
        held: whether it is asked and never trained on.
        kinds: of its parameters, by the names of :mod:`foretell.tasks.code.micro_values`.
        phrases: ways to say what it does.
        body: its source, without the indent of the function; what comes after ``|`` is the answer.
    """

    level: int
    held: bool
    kinds: tuple[str, ...]
    phrases: tuple[str, ...]
    body: str

    @property
    def name(self) -> str:
        """What it is called in reports: its body on one line."""
        return " ".join(self.body.replace("|", "").split())


def read_templates(text: str) -> list[Template]:
    """Read templates in the form of ``micro_templates.txt``."""
    found: list[Template] = []
    level = -1
    for line in text.splitlines():
        if line.startswith("["):
            level = LEVELS.index(line.strip("[]"))
        elif line and not line.startswith("#"):
            split, kinds, phrases, body = (part.strip() for part in line.split(" ; "))
            said = tuple(part.strip() for part in phrases.split(" / "))
            found.append(Template(level, split == "held", tuple(kinds.split()), said, body.replace("~", "\n")))
    return found


TEMPLATES = tuple(read_templates(Path(__file__).with_name("micro_templates.txt").read_text(encoding="utf-8")))
