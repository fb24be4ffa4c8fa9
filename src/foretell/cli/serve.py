"""``foretell serve``."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path
from typing import TypeVar

from foretell.core.errors import UserError
from foretell.core.progress import say

N = TypeVar("N", int, float)
UNITS = {"": 1, "B": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "KB": 10**3, "MB": 10**6, "GB": 10**9,
         "K": 2**10, "M": 2**20, "G": 2**30}  # fmt: skip


def serve(arguments: argparse.Namespace) -> int:
    """Serve until told to stop."""
    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise UserError("foretell serve needs an extra: pip install 'foretell[serve]'.") from error
    from foretell.infer.engine import EngineOptions
    from foretell.infer.loading import load_model
    from foretell.model.peft import read_adapter
    from foretell.serve.app import build_app
    from foretell.serve.options import ServeOptions
    from foretell.serve.server import Server, default_database, listening
    from foretell.serve.service import Service
    from foretell.serve.store import ConversationStore

    options = ServeOptions(
        host=arguments.host, port=_port(arguments.port), keys=_keys(arguments.api_key),
        allowed_hosts=_names(arguments.allowed_host),
        most_queued=_at_least("--max-queue", arguments.max_queue, 0),
        most_running=_at_least("--max-batch", arguments.max_batch, 1),
        body_bytes=None if arguments.max_body is None else size("--max-body", arguments.max_body),
        timeout=_at_least("--request-timeout", arguments.request_timeout, 0.0),
        grace=_at_least("--grace", arguments.grace, 0.0), log_prompts=arguments.log_prompts,
        image_urls=arguments.image_urls, most_images=_at_least("--max-images", arguments.max_images, 0),
        image_bytes=size("--max-image", arguments.max_image),
    )  # fmt: skip
    engine = EngineOptions(memory=size("--cache-memory", arguments.cache_memory), bits=arguments.bits)
    folders = adapters(arguments.adapter)
    listener = listening(options)
    store = ConversationStore(Path(arguments.database).expanduser() if arguments.database else default_database())
    model = load_model(arguments.model, context=arguments.max_context)
    if model.name in folders:
        raise UserError(f"--adapter: {model.name!r} is the model's own name; another is expected.")
    read = {name: read_adapter(folder, model.decoder.config) for name, folder in folders.items()}
    service = Service(model, engine, options, read)
    server = Server(build_app(service, store), service, listener)
    if not options.loopback and not options.keys:
        say(f"anybody who reaches {options.host} is answered: no --api-key was given", "yellow")
    say(f"{service.name} at {server.address} (chat page), /v1 (OpenAI API), /metrics; Ctrl-C stops")
    server.serve_until_stopped()
    return 0


def size(option: str, text: str) -> int:
    """Bytes of ``512MiB``, ``2GB`` or a plain number.

    Raises:
        UserError: for anything else.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", text.strip())
    if not found or found[2].upper() not in UNITS or float(found[1]) == 0:
        raise UserError(f"{option} is {text!r}; a size such as 512MiB, 2GB or a number of bytes is accepted.")
    return int(float(found[1]) * UNITS[found[2].upper()])


def adapters(given: list[str]) -> dict[str, Path]:
    """Folders by name.

    Raises:
        UserError: where one is not ``NAME=DIRECTORY``, is given twice, or is no folder.
    """
    found: dict[str, Path] = {}
    for text in given:
        name, _, folder = text.partition("=")
        if not name or not folder:
            raise UserError(f"--adapter is {text!r}; NAME=DIRECTORY is expected.")
        if name in found:
            raise UserError(f"--adapter: the name {name!r} is given twice.")
        found[name] = Path(folder).expanduser()
        if not found[name].is_dir():
            raise UserError(f"--adapter {name}: {folder} is not a folder.")
    return found


def _keys(given: list[str]) -> tuple[str, ...]:
    """Keys of the options and of the environment, which is not seen in a list of processes."""
    keys = [*given, *os.environ.get("FORETELL_API_KEYS", "").split(",")]
    return tuple(key.strip() for key in keys if key.strip())


def _names(given: list[str]) -> tuple[str, ...]:
    """Names of hosts, as browsers send them but for the port."""
    wrong = next((name for name in given if not re.fullmatch(r"[\w.-]+", name)), None)
    if wrong is not None:
        raise UserError(
            f"--allowed-host is {wrong!r}; a name without scheme and port, as chat.example.org, is accepted."
        )
    return tuple(given)


def _port(value: int) -> int:
    if not 0 <= value < 2**16:
        raise UserError(f"--port is {value}; a number from 0 to {2**16 - 1} is accepted.")
    return value


def _at_least(option: str, value: N, least: N) -> N:
    if not value >= least:
        raise UserError(f"{option} is {value:g}; a number from {least:g} on is accepted.")
    return value
