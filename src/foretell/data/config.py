"""Settings of the corpus, its sources and its tokenizer."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from foretell.core.config import Settings

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|image|>",
    *(f"<|reserved_{number}|>" for number in range(12)),
)
IMAGE_TOKEN, IMAGE_BREAK, IMAGE_END = "<|image|>", "<|reserved_0|>", "<|reserved_1|>"
IMAGE_TOKEN_ID = SPECIAL_TOKENS.index(IMAGE_TOKEN)


def _whole_number(value: Any) -> Any:
    """Read ``"6e7"``, ``6e7`` and ``"60_000_000"`` as 60000000; what is not a whole number is left to be refused."""
    if isinstance(value, str):
        try:
            value = float(value) if any(mark in value.lower() for mark in ".e") else int(value)
        except ValueError:
            return value
    return int(value) if isinstance(value, float) and value.is_integer() else value


NO_LIMIT = 1 << 50
Bytes = Annotated[int, BeforeValidator(_whole_number), Field(strict=True, gt=0, le=NO_LIMIT)]
Characters = Annotated[int, BeforeValidator(_whole_number), Field(strict=True, ge=1, le=1 << 40)]


class SourceConfig(Settings):
    """Where text comes from: exactly one of ``python``, ``path``, ``hub`` and ``generated``."""

    python: Literal["environment"] | None = None
    """``environment``: the standard library and the installed distributions of the running interpreter."""
    path: str | None = None
    """A file, a folder or a glob: text, .jsonl or .parquet, each also as .gz, .xz, .bz2 or .zst."""
    hub: str | None = None
    """A data set on the Hugging Face hub (needs the extra ``hub``)."""
    generated: Literal["micro-code"] | None = None
    """``micro-code``: made as they are read, the functions that micro-code's problems may be learned from."""
    subset: str | None = None
    """The configuration of the hub data set."""
    split: str = "train"
    """The split of the hub data set."""
    text_field: str = "text"
    """The column of .jsonl, .parquet and hub rows that holds the text."""
    weight: float = Field(default=1.0, gt=0)
    """Bytes kept from this source are proportional to it."""
    licence: str | None = None
    """Licence of documents that do not state their own."""
    name: str | None = None
    """What the report calls the source; the path or data set name where it is left out."""

    @model_validator(mode="after")
    def _one_origin(self) -> SourceConfig:
        given = [key for key in ("python", "path", "hub", "generated") if getattr(self, key) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none of them"
            raise ValueError(f"a source needs exactly one of python, path, hub and generated, and {found} was given")
        if not str(getattr(self, given[0])).strip():
            raise ValueError(f"'{given[0]}' of a source must not be empty")
        return self

    @property
    def kind(self) -> str:
        """``python``, ``path``, ``hub`` or ``generated``."""
        return next(key for key in ("python", "path", "hub", "generated") if getattr(self, key) is not None)

    @property
    def label(self) -> str:
        """The name by which records call the source."""
        if self.name is not None:
            return self.name
        return "python environment" if self.python else str(self.path or self.hub or self.generated)


class CorpusConfig(Settings):
    """Sources, sizes and filters of a corpus."""

    sources: tuple[SourceConfig, ...] = Field(default=(SourceConfig(python="environment"),), min_length=1)
    """Where text comes from: a list of mappings, each with one of python, path, hub and generated (docs/data.md)."""
    max_bytes: Bytes = NO_LIMIT
    """Upper bound of the training text in UTF-8 bytes; a run reads no more than its target needs in any case."""
    heldout_bytes: Bytes = 1_000_000
    """Size of the held-out text that is aimed at, in UTF-8 bytes; never more than a tenth of the corpus."""
    min_characters: Characters = 16
    """Shorter documents are left out."""
    max_characters: Characters = 1_000_000
    """Longer documents are left out."""
    near_duplicates: bool = True
    """Whether near-duplicates are removed; exact ones always are."""
    near_duplicate_threshold: float = Field(default=0.8, ge=0.5, le=1.0)
    """Jaccard similarity of word 5-shingles from which two documents count as near-duplicates."""

    @model_validator(mode="after")
    def _consistent(self) -> CorpusConfig:
        if self.min_characters > self.max_characters:
            raise ValueError(
                f"min_characters ({self.min_characters}) must not exceed max_characters ({self.max_characters})"
            )
        labels = [source.label for source in self.sources]
        twice = next((label for label in labels if labels.count(label) > 1), None)
        if twice is not None:
            raise ValueError(f"two sources are called '{twice}'; give each a name of its own")
        return self


class TokenizerConfig(Settings):
    """A byte-level BPE tokenizer to train, or a file that holds one."""

    vocab_size: Annotated[int, BeforeValidator(_whole_number)] = Field(
        default=1024, strict=True, ge=256 + len(SPECIAL_TOKENS), le=1_000_000
    )
    """Entries of a tokenizer that is trained: 256 bytes, 16 special tokens, and merges for the rest."""
    file: str | None = None
    """An existing tokenizer.json, which is used as it is, with its own vocabulary, instead of training one."""
