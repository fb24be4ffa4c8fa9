"""A small real corpus, tokenised once a session."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import hypothesis
import pytest
import torch

from foretell.data.config import CorpusConfig, SourceConfig, TokenizerConfig
from foretell.data.corpus import freeze_corpus
from foretell.data.tokenizer import Tokenizer, train_tokenizer
from foretell.data.tokens import tokenize_corpus

torch.set_num_threads(1)
# A busy machine is no fault of a test: neither a deadline nor the speed of drawing inputs decides.
hypothesis.settings.register_profile("patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("patient")


@pytest.fixture(scope="session")
def small_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run's data: corpus/, tokenizer/ and tokens/ from two packages of the standard library."""
    folder = tmp_path_factory.mktemp("data")
    library = Path(sysconfig.get_paths()["stdlib"])
    sources = tuple(SourceConfig(path=str(library / name / "*.py")) for name in ("json", "email", "asyncio", "logging"))
    config = CorpusConfig(sources=sources, max_bytes=600_000, heldout_bytes=30_000)
    freeze_corpus(config, 0, folder / "corpus")
    train_tokenizer(folder / "corpus", TokenizerConfig(vocab_size=400), folder / "tokenizer")
    tokenize_corpus(folder / "corpus", Tokenizer.from_file(folder / "tokenizer" / "tokenizer.json"), folder / "tokens")
    return folder
