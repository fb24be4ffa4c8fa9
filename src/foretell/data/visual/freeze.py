"""Making the visual documents of a run: read or drawn, encoded, written down, so that training reads them by number."""

from __future__ import annotations

import hashlib
import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, get_args

from foretell.core.errors import UserError
from foretell.core.files import atomic_directory, content_hash, require_writable, write_json
from foretell.core.progress import Meter, meter, say
from foretell.data.visual.augment import varied
from foretell.data.visual.config import GENERATED, VisualConfig, VisualSourceConfig
from foretell.data.visual.documents import VisualDocument
from foretell.data.visual.encode import EncodedDocument, VisualEncoder, encode_within
from foretell.data.visual.generator import GeneratorConfig, generate
from foretell.data.visual.generator.family import Split
from foretell.data.visual.sources import read_visual
from foretell.data.visual.store import INDEX_FILE, SplitWriter

DRAWN_AT_ONCE = 32
READ_FOR_TOKENIZER = 2_000

# How many questions a document has, and its pieces.
Encoded = tuple[int, list[tuple[VisualDocument, EncodedDocument]]]


def freeze_visual(
    config: VisualConfig, seed: int, encoder: VisualEncoder, folder: Path, processes: int
) -> dict[str, Any]:
    """Write the documents of all sources; the folder appears whole or not at all.

    Documents longer than a row (``config.room``) are written in pieces; a question that is too long even alone is left
    out and counted.

    Args:
        config: sources and sizes.
        seed: decides what a file's source holds out; the generator has its own.
        encoder: how a model reads them.
        folder: is written, replacing one that is there.
        processes: that draw side by side.

    Returns:
        what ``index.json`` holds: ``patch``, ``longest``, ``splits`` (counts and digest of each), ``sources``,
        ``digest`` and ``seconds``.

    Raises:
        UserError: where a source is missing, broken or empty, or the disk is full.
    """
    start = time.monotonic()
    require_writable(folder.absolute().parent)
    sources: dict[str, Counter[str]] = {source.label: Counter() for source in config.sources}
    with atomic_directory(folder) as temporary:
        splits = {}
        for split in get_args(Split):
            with SplitWriter(temporary, split) as writer:
                for source in config.sources:
                    counted = sources[source.label]
                    for whole, pieces in _documents(source, config.room, seed, split, encoder, processes):
                        for document, encoded in pieces:
                            writer.write(document, encoded)
                        counted[split] += 1 if pieces else 0
                        counted[f"{split}_pieces"] += len(pieces)
                        counted["too_long"] += whole - sum(len(document.asked) for document, _ in pieces)
                    if not counted[split]:
                        raise UserError(_nothing(source, split, counted, config.room))
                splits[split] = writer.finish(config.room)
        index: dict[str, Any] = {
            "patch": encoder.patch, "longest": encoder.longest, "room": config.room, "splits": splits,
            "sources": [{"label": label, **counts} for label, counts in sources.items()],
        }  # fmt: skip
        index["digest"] = content_hash(index)
        index["seconds"] = round(time.monotonic() - start, 2)
        write_json(temporary / INDEX_FILE, index)
    return index


def _nothing(source: VisualSourceConfig, split: str, counted: Counter[str], room: int) -> str:
    if counted["too_long"]:
        return (
            f"All {counted['too_long']} questions of {source.label} are longer than visual.room, which is {room}; "
            "raise it, or lower the size of the images."
        )
    kind = "hold out" if split == "heldout" else "train on"
    return f"The visual source {source.label} has no document to {kind}; at least one is needed."


def _documents(
    source: VisualSourceConfig, room: int, seed: int, split: Split, encoder: VisualEncoder, processes: int
) -> Iterator[Encoded]:
    if source.generator is not None:
        count = source.heldout if split == "heldout" else source.documents or GENERATED
        with meter(f"drawing {split} images", count) as shown:
            yield from _drawn((source.generator, split, encoder, room), count, processes, shown)
        return
    assert source.path is not None
    say(f"  reading {split} images of {source.label}")
    documents = read_visual(Path(source.path), source.on_bad)
    chosen = (d for d in documents if held_out(d, seed, source.heldout_share) == (split == "heldout"))
    training = split == "train"
    for document in islice(chosen, source.documents if training else None):
        for version in varied(document, seed, source.augment) if source.augment and training else [document]:
            yield len(version.asked), encode_within(encoder, version, room)


def visual_texts(config: VisualConfig, seed: int) -> Iterator[str]:
    """Questions and answers of each source's first training documents, for a tokenizer to be trained on."""
    for source in config.sources:
        found = 0
        documents: Iterator[VisualDocument]
        if source.generator is not None:
            documents = (generate(source.generator, number, "train") for number in range(READ_FOR_TOKENIZER))
        else:
            documents = read_visual(Path(str(source.path)), source.on_bad)
        for document in documents:
            if source.path and held_out(document, seed, source.heldout_share):
                continue
            # With the roles, which the chat template writes for each question.
            yield "\n".join(f"user\n{exchange.question}\nassistant\n{exchange.answer}" for exchange in document.asked)
            found += 1
            if found == min(READ_FOR_TOKENIZER, source.documents or READ_FOR_TOKENIZER):
                break


def held_out(document: VisualDocument, seed: int, share: float) -> bool:
    """Whether a file's document is held out: by its group's hash, so that copies of an image stay together."""
    name = f"{seed}/{document.group or document.identity}".encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big") < share * 2**64


Task = tuple[GeneratorConfig, Split, VisualEncoder, int]  # what is drawn, how it is written, and the room of a row


def _drawn(task: Task, count: int, processes: int, shown: Meter) -> Iterator[Encoded]:
    """In the order of their numbers, drawn by several processes."""
    parts = [range(first, min(first + DRAWN_AT_ONCE, count)) for first in range(0, count, DRAWN_AT_ONCE)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, _begin, task) as pool:
        for drawn in pool.map(_draw, parts):
            yield from drawn
            shown.advance(len(drawn))


_task: Task  # of a drawing process


def _begin(*task: Any) -> None:
    global _task
    _task = task  # type: ignore[assignment]


def _draw(numbers: range) -> list[Encoded]:
    config, split, encoder, room = _task
    found = []
    for number in numbers:
        document = generate(config, number, split)
        pieces = encode_within(encoder, document, room)
        # the pixels are in the encoded form already
        found.append((len(document.asked), [(replace(piece, images=()), encoded) for piece, encoded in pieces]))
    return found
