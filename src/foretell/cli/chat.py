"""``foretell chat``."""

from __future__ import annotations

import argparse
import contextlib
import sys

from foretell.core.errors import UserError


def chat(arguments: argparse.Namespace) -> int:
    """Talk to a model, or put one question to it."""
    from foretell.infer.engine import Engine, EngineOptions
    from foretell.infer.loading import load_model
    from foretell.infer.sampling import Sampling
    from foretell.serve.terminal import HELP, TerminalChat

    sampling = Sampling(arguments.temperature, arguments.top_p, seed=arguments.seed)
    sampling.check(1)
    if arguments.max_tokens is not None and arguments.max_tokens < 1:
        raise UserError(f"--max-tokens is {arguments.max_tokens}; a number from 1 on is accepted.")
    question = _question(arguments.message)
    model = load_model(arguments.model, context=arguments.max_context)
    if model.chat is None:
        raise UserError(f"{model.name} has no chat template; foretell generate continues texts.")
    engine = Engine(model.decoder, model.tokenizer, EngineOptions(bits=arguments.bits))
    talk = TerminalChat(
        engine, model.chat, model.end_of_turn_ids, sampling, arguments.max_tokens, _write, model.images
    )  # fmt: skip
    talk.system = arguments.system
    for name in arguments.image:
        talk.attach(name)
    if question is not None:
        talk.answer(question)
        _write("\n")
        return 0
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 (lines can be edited and called back)
    _write(f"{model.name}\n{HELP}\n\n")
    talk.run(input)
    return 0


def _question(message: str | None) -> str | None:
    """The one question: of the option, of what is piped in, or both; ``None`` for a conversation."""
    piped = "" if sys.stdin is None or sys.stdin.isatty() else sys.stdin.read().strip()
    if message is None and (sys.stdin is None or sys.stdin.isatty()):
        return None
    found = "\n\n".join(part for part in (message, piped) if part)
    if not found:
        raise UserError("The question is empty; give one with -m or on standard input.")
    return found


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
