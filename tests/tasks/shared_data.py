"""Where the real data of tests lies, and how its files are read without the code under test."""

from __future__ import annotations

import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import pytest

EVALS = Path(__file__).parents[3] / "shared" / "data" / "evals"
IMAGES = EVALS.parent / "images"
needs_data = pytest.mark.skipif(not EVALS.is_dir(), reason="the shared evaluation data is not here")


def json_lines(name: str) -> list[dict[str, Any]]:
    path = EVALS / name
    opener: Any = {".gz": gzip.open, ".xz": lzma.open}.get(path.suffix, open)
    with opener(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]
