"""One way to list a source, whatever its kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from foretell.core.errors import UserError
from foretell.data.config import SourceConfig
from foretell.data.documents import Document, Listing
from foretell.data.environment import list_environment
from foretell.data.hub import list_hub
from foretell.data.paths import list_path

Generators = Mapping[str, Callable[[int], Iterator[Document]]]  # by name: documents without end, from a seed


def list_source(config: SourceConfig, seed: int, read_at_most: int, generators: Generators | None = None) -> Listing:
    """List a source; its documents are read as the listing's ``items`` are asked for.

    Args:
        config: the source.
        seed: orders its files, or makes its documents.
        read_at_most: bytes of text that one file may give.
        generators: of sources that are ``generated``; they belong to tasks, which data knows nothing of.

    Raises:
        UserError: where nothing is there or something is broken, or there is no generator of the name.
    """
    if config.generated is not None:
        if config.generated not in (generators or {}):
            known = ", ".join(generators or {}) or "none is known here"
            raise UserError(f"corpus.sources: generated is '{config.generated}'; accepted: {known}.")
        return Listing(files_found=0, read_at_least=0, items=(generators or {})[config.generated](seed))
    if config.python is not None:
        return list_environment(seed)
    return list_path(config, seed, read_at_most) if config.path is not None else list_hub(config)
