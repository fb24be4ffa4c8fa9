"""One server for the tests that change nothing about it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from live import Live, serving, small_model

from foretell.model.hf import save_hf


@pytest.fixture(scope="session")
def live() -> Iterator[Live]:
    with serving() as server:
        yield server


@pytest.fixture(scope="session")
def client(live: Live):
    return live.client()


@pytest.fixture(scope="session")
def small_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model as a directory of Hugging Face's layout."""
    folder = tmp_path_factory.mktemp("models") / "small"
    small_model.tokenizer().save(folder)
    save_hf(small_model.decoder(), folder)
    return folder
