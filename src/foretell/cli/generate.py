"""``foretell generate``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from foretell.core.errors import UserError


def generate(arguments: argparse.Namespace) -> int:
    """Stream a continuation of the prompt."""
    folder = Path(arguments.model)
    if (folder / "recipe.yaml").exists():
        folder = folder / "model"
        if not folder.exists():
            raise UserError(f"{arguments.model} has no trained model yet; finish it with foretell run --resume.")
    elif not folder.is_dir():
        raise UserError(f"{folder} is not a folder; a run directory or a Llama or Qwen3 directory is expected.")
    from foretell.data.tokenizer import Tokenizer
    from foretell.infer.generate import generate_text
    from foretell.model.hf import load_hf

    model, tokenizer = load_hf(folder), Tokenizer.from_file(folder / "tokenizer.json")
    prompt = sys.stdin.read() if arguments.prompt is None else arguments.prompt
    pieces = generate_text(
        model, tokenizer, prompt, tokens=arguments.tokens, temperature=arguments.temperature, top_p=arguments.top_p,
        seed=arguments.seed,
    )  # fmt: skip
    first = next(pieces, "")  # settings are checked here, before anything is printed
    sys.stdout.write(prompt + first)
    for piece in pieces:
        sys.stdout.write(piece)
        sys.stdout.flush()
    sys.stdout.write("\n")
    return 0
