"""One way to list a source, whatever its kind."""

from __future__ import annotations

from foretell.data.config import SourceConfig
from foretell.data.documents import Listing
from foretell.data.environment import list_environment
from foretell.data.hub import list_hub
from foretell.data.paths import list_path


def list_source(config: SourceConfig, seed: int, read_at_most: int) -> Listing:
    """List a source; its documents are read as the listing's ``items`` are asked for.

    Args:
        config: the source.
        seed: orders its files.
        read_at_most: bytes of text that one file may give.

    Raises:
        UserError: where nothing is there or something is broken.
    """
    if config.python is not None:
        return list_environment(seed)
    return list_path(config, seed, read_at_most) if config.path is not None else list_hub(config)
