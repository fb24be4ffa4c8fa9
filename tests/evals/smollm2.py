"""SmolLM2-135M-Instruct, where its package is installed, and the shared data."""

import functools
import importlib.util
import json
from pathlib import Path

import pytest

from foretell.core.errors import UserError
from foretell.infer.loading import embedded_file

SHARED = Path(__file__).parents[3] / "shared" / "data"
PIQA = SHARED / "weights" / "smollm2_135m_instruct" / "eval_reference_piqa_first200.jsonl"


def require() -> None:
    if importlib.util.find_spec("gguf") is None:
        pytest.skip("gguf is not installed")
    try:
        embedded_file()
    except UserError as reason:
        pytest.skip(str(reason))


@functools.cache
def piqa_reference() -> list[dict]:
    if not PIQA.exists():
        pytest.skip("the shared reference of log-likelihoods is not here")
    return [json.loads(line) for line in PIQA.read_text(encoding="utf-8").splitlines()][1:]
