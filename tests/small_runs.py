"""Settings of runs that take a second."""

from __future__ import annotations

import json
from pathlib import Path

from foretell.model.config import ModelConfig
from foretell.train.config import RunSettings, TrainingConfig


def run_settings(tokens: Path, **changes: object) -> RunSettings:
    """A run of 24 steps on the small corpus; ``changes`` replace fields, ``training`` a whole section."""
    model = ModelConfig(vocab_size=400, width=16, depth=2, heads=2, kv_heads=1, head_dim=8, ffn_width=48, context=32,
                        base_width=16)  # fmt: skip
    values: dict[str, object] = {
        "label": "test", "model": model, "steps": 24, "rows": 4, "learning_rate": 1e-2, "seed": 3,
        "data": json.loads((tokens / "index.json").read_text())["digest"],
        "training": TrainingConfig(evaluations=2, evaluation_rows=4, checkpoints=6, compile="off"),
    }  # fmt: skip
    return RunSettings.model_validate({**values, **changes})
