"""Settings of sources, corpus and tokenizer: what is accepted and how what is not is refused."""

import pytest

from foretell.core.config import build
from foretell.core.errors import UserError
from foretell.data.config import SPECIAL_TOKENS, CorpusConfig, SourceConfig, TokenizerConfig


@pytest.mark.parametrize("value", [60_000_000, 6e7, "6e7", "60_000_000", "60000000.0"])
def test_byte_counts_are_read_in_any_spelling(value):
    assert build(CorpusConfig, {"max_bytes": value}).max_bytes == 60_000_000


@pytest.mark.parametrize("value", ["many", 1.5, "1.5", 0, -1, True, None, "inf", "nan", [1]])
def test_what_is_not_a_number_of_bytes_is_refused_by_name(value):
    with pytest.raises(UserError, match="max_bytes"):
        build(CorpusConfig, {"max_bytes": value})


@pytest.mark.parametrize(
    "source",
    [{}, {"path": "a", "hub": "b"}, {"python": "environment", "path": "a"}, {"path": " "}, {"python": "other"}],
)
def test_a_source_has_exactly_one_origin(source):
    with pytest.raises(UserError, match=r"sources\.0"):
        build(CorpusConfig, {"sources": [source]})


@pytest.mark.parametrize("weight", [0, -1, "heavy", float("nan"), float("inf")])
def test_weights_are_positive(weight):
    with pytest.raises(UserError, match="weight"):
        build(CorpusConfig, {"sources": [{"path": "a", "weight": weight}]})


def test_unknown_key_names_the_nearest():
    with pytest.raises(UserError, match=r"did you mean 'sources\.0\.text_field'"):
        build(CorpusConfig, {"sources": [{"path": "a", "textfield": "x"}]})


def test_inconsistent_lengths_names_and_vocabularies_are_refused():
    with pytest.raises(UserError, match="min_characters"):
        build(CorpusConfig, {"min_characters": 10, "max_characters": 9})
    with pytest.raises(UserError, match="name"):
        build(CorpusConfig, {"sources": [{"path": "a"}, {"path": "a", "text_field": "b"}]})
    with pytest.raises(UserError, match="vocab_size"):
        build(TokenizerConfig, {"vocab_size": 271})
    assert build(TokenizerConfig, {"vocab_size": 272}).vocab_size == 256 + len(SPECIAL_TOKENS)


def test_default_source_is_the_environment():
    assert CorpusConfig().sources[0].kind == "python"
    assert SourceConfig(path="x", name="mine").label == "mine"
