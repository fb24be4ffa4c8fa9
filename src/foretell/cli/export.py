"""``foretell export``."""

from __future__ import annotations

import argparse
from pathlib import Path

from foretell.core.progress import say


def export(arguments: argparse.Namespace) -> int:
    """Write a model as a GGUF file or a Hugging Face directory."""
    from foretell.infer.export import export_model
    from foretell.infer.loading import load_model

    out = Path(arguments.out)
    export_model(load_model(arguments.model, context=arguments.context), out, arguments.type)
    files = [out] if out.is_file() else [file for file in out.iterdir() if file.is_file()]
    say(f"{out}: {sum(file.stat().st_size for file in files) / 1e6:,.1f} MB")
    return 0
