"""Data sets on the Hugging Face hub as a source (extra ``hub``)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from foretell.core.errors import UserError
from foretell.data.config import SourceConfig
from foretell.data.documents import Document, Listing
from foretell.data.rows import row_document

INSTALL = "pip install '.[hub]' in a checkout"


def list_hub(config: SourceConfig) -> Listing:
    """Open a data set by name as a stream; its rows come in the data set's own order.

    Raises:
        UserError: where the package ``datasets`` is missing or the data set cannot be opened.
    """
    try:
        import datasets
    except ImportError as error:
        raise UserError(
            f"The source {config.hub!r} is on the Hugging Face hub, which needs the package 'datasets': {INSTALL}."
        ) from error
    try:
        rows = datasets.load_dataset(config.hub, name=config.subset, split=config.split, streaming=True)
    except Exception as error:  # the library raises its own, fsspec's, httpx's and plain ones
        raise _unreachable(config, error) from error
    return Listing(files_found=1, read_at_least=0, items=_documents(config, rows))


def _documents(config: SourceConfig, rows: Any) -> Iterator[Document]:
    base = f"hf://datasets/{config.hub}" + (f"/{config.subset}" if config.subset else "") + f"/{config.split}"
    iterator, number = iter(rows), 0
    while True:
        try:
            row = next(iterator)
        except StopIteration:
            return
        except Exception as error:
            raise _unreachable(config, error) from error
        number += 1
        place = f"{base}#{number}"
        yield row_document(row, config.text_field, place, place, config.licence)


def _unreachable(config: SourceConfig, error: Exception) -> UserError:
    detail = " ".join(str(error).split())[:300]
    return UserError(f"The data set {config.hub!r} (split {config.split!r}) cannot be read from the hub: {detail}.")
