"""The smallest real LLaMA, by one name: its greedy story, token by token and as text."""

import json
from pathlib import Path

import pytest

from foretell.infer.generate import generate_ids
from foretell.infer.loading import load_model

SHARED = Path(__file__).parents[3] / "shared" / "data" / "weights" / "stories260K"
pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared weights are not here")


def test_the_greedy_story():
    model = load_model(str(SHARED))
    assert (model.name, model.start_ids, model.end_of_turn_ids, model.chat) == ("stories260K", (1,), (2,), None)
    reference = json.loads((SHARED / "reference.json").read_text())
    expected = reference["greedy_ids"][1:]
    found = list(generate_ids(model.decoder, list(model.start_ids), tokens=256, temperature=0))
    assert found[: len(expected)] == expected
    tokenizer = model.tokenizer
    assert tokenizer.decode_bytes(expected).decode() == reference["greedy_text"]
    assert tokenizer.decode(found) == reference["run_c_text_n256"].rstrip("\n")
    assert tokenizer.encode(tokenizer.decode(expected)) == expected
