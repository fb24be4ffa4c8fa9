"""What leaves a corpus, and how much each reason removed."""

from __future__ import annotations

from dataclasses import dataclass, field

UNREADABLE = "unreadable, binary or not UTF-8"
EMPTY = "empty"
TOO_SHORT = "too short"
TOO_LONG = "too long"
EXACT_DUPLICATE = "exact duplicate"
NEAR_DUPLICATE = "near duplicate"
NEAR_HELDOUT = "near duplicate of held-out"
BEYOND = "beyond max_bytes or the mixture"
REASONS = (UNREADABLE, EMPTY, TOO_SHORT, TOO_LONG, EXACT_DUPLICATE, NEAR_DUPLICATE, NEAR_HELDOUT, BEYOND)


@dataclass
class Removed:
    """Documents and bytes removed, by reason."""

    documents: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REASONS, 0))
    bytes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REASONS, 0))

    def count(self, reason: str, size: int) -> None:
        """Record one document of ``size`` bytes as removed for ``reason`` (one of ``REASONS``)."""
        self.documents[reason] += 1
        self.bytes[reason] += size

    def records(self) -> list[dict[str, int | str]]:
        """One ``{"name", "removed_documents", "removed_bytes"}`` a reason, in the order in which they apply."""
        return [
            {"name": reason, "removed_documents": self.documents[reason], "removed_bytes": self.bytes[reason]}
            for reason in REASONS
        ]

    def sentence(self) -> str:
        """``3 too short and 1 empty`` for an error message."""
        parts = [f"{count:,} {reason}" for reason, count in self.documents.items() if count]
        return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]])) or "nothing was found"


def length_reason(text: str, min_characters: int, max_characters: int) -> str | None:
    """Why a text is left out for its length, or ``None``."""
    if not text or text.isspace():
        return EMPTY
    if len(text) < min_characters:
        return TOO_SHORT
    return TOO_LONG if len(text) > max_characters else None
