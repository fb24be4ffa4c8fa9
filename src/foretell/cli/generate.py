"""``foretell generate``."""

from __future__ import annotations

import argparse
import sys


def generate(arguments: argparse.Namespace) -> int:
    """Stream a continuation of the prompt."""
    from foretell.infer.generate import generate_text
    from foretell.infer.loading import load_model

    model = load_model(arguments.model)
    prompt = sys.stdin.read() if arguments.prompt is None else arguments.prompt
    pieces = generate_text(
        model.decoder, model.tokenizer, prompt, start_ids=model.start_ids, stops=model.end_of_turn_ids,
        tokens=arguments.tokens, temperature=arguments.temperature, top_p=arguments.top_p, seed=arguments.seed,
    )  # fmt: skip
    first = next(pieces, "")  # settings are checked here, before anything is printed
    sys.stdout.write(prompt + first)
    for piece in pieces:
        sys.stdout.write(piece)
        sys.stdout.flush()
    sys.stdout.write("\n")
    return 0
