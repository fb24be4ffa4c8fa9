"""From sources to batches: a frozen corpus with its provenance, a tokenizer, tokens on disk, and the stream of rows."""

from foretell.data.config import CorpusConfig, SourceConfig, TokenizerConfig
from foretell.data.corpus import freeze_corpus
from foretell.data.stream import Batch, TokenStream, heldout_batches
from foretell.data.tokenizer import Tokenizer, train_tokenizer
from foretell.data.tokens import TokenDataset, tokenize_corpus

__all__ = [
    "Batch",
    "CorpusConfig",
    "SourceConfig",
    "TokenDataset",
    "TokenStream",
    "Tokenizer",
    "TokenizerConfig",
    "freeze_corpus",
    "heldout_batches",
    "tokenize_corpus",
    "train_tokenizer",
]
