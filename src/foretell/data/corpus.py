"""Freezing a corpus: what was read, what was held out, what was removed, and where every document comes from."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from foretell.core.errors import UserError
from foretell.core.files import atomic_directory, require_space, require_writable
from foretell.core.progress import meter
from foretell.data.collect import Candidate, SourceCount, collect, source_shares
from foretell.data.config import CorpusConfig
from foretell.data.deduplicate import NearDuplicates, signatures
from foretell.data.filters import BEYOND, NEAR_DUPLICATE, NEAR_HELDOUT, Removed
from foretell.data.records import FrozenDocument, summarise, write_corpus
from foretell.data.sources import Generators
from foretell.data.split import choose_heldout

HELDOUT_SHARE = 0.1
SIGNED_AT_ONCE = 256


def freeze_corpus(
    config: CorpusConfig, seed: int, folder: Path, generators: Generators | None = None
) -> dict[str, Any]:
    """Read, filter, de-duplicate and split a corpus and write it down, so that no later edit or install changes it.

    The folder appears whole or not at all: ``documents.parquet`` (one row a document, with its text),
    ``manifest.csv`` (the same without the text) and ``summary.json``.

    Args:
        config: sources, sizes and filters.
        seed: decides which documents are sampled and held out.
        folder: is written, replacing one that is there.
        generators: of sources whose documents are made, by name.

    Returns:
        what ``summary.json`` holds: ``sources``, ``filters``, ``splits``, ``split_by``, ``heldout_projects``,
        ``licences``, ``projects``, ``digest`` and ``seconds``.

    Raises:
        UserError: where a source is missing, broken, empty, or too small to hold anything out.
    """
    start = time.monotonic()
    require_writable(folder.absolute().parent)
    removed = Removed()
    candidates, counts = collect(config, seed, removed, generators)
    heldout = _hold_out(config, seed, candidates, counts)
    kept = _keep(config, candidates, heldout, removed)
    kept = _trim_heldout(_mix(config, kept, removed), removed)
    _require_both_splits(kept, removed)
    for candidate, _ in kept:
        counts[candidate.source].kept_documents += 1
        counts[candidate.source].kept_bytes += candidate.bytes
    documents = [
        FrozenDocument.of(number, candidate, split, config.sources[candidate.source].label)
        for number, (candidate, split) in enumerate(kept)
    ]
    summary = summarise(documents, [count.record() for count in counts], removed.records())
    summary["split_by"] = "project" if all(count.split_by == "project" for count in counts) else "document"
    summary["seconds"] = round(time.monotonic() - start, 2)
    require_space(folder.absolute().parent, sum(document.bytes for document in documents), "the corpus")
    with atomic_directory(folder) as temporary:
        write_corpus(temporary, documents, summary)
    return summary


Kept = list[tuple[Candidate, str]]


def _hold_out(
    config: CorpusConfig, seed: int, candidates: Sequence[Candidate], counts: Sequence[SourceCount]
) -> list[int]:
    """Indices of the candidates to hold out, source by source in the proportions of the mixture."""
    shares = source_shares(config)
    sizes = Counter[int]()
    for candidate in candidates:
        sizes[candidate.source] += candidate.bytes
    # The scarcest source sets the scale: what the mixture can be in all, held-out text included.
    whole = min(config.max_bytes + config.heldout_bytes, *(sizes[s] / share for s, share in enumerate(shares)))
    target = min(config.heldout_bytes, HELDOUT_SHARE * whole)
    chosen: dict[int, None] = {}
    projects: set[str] = set()
    for source, share in enumerate(shares):
        indices = [index for index, candidate in enumerate(candidates) if candidate.source == source]
        documents = [candidates[index].document for index in indices]
        heldout = choose_heldout(
            [document.project for document in documents],
            [document.identity for document in documents],
            [candidates[index].bytes for index in indices],
            int(target * share),
            seed,
        )
        counts[source].split_by = heldout.split_by
        if heldout.split_by == "project":
            projects |= {documents[index].project for index in heldout.documents}
        chosen.update(dict.fromkeys(indices[index] for index in heldout.documents))
    # A project that another source has as well is held out there too.
    chosen.update((i, None) for i, candidate in enumerate(candidates) if candidate.document.project in projects)
    return list(chosen)


def _keep(config: CorpusConfig, candidates: Sequence[Candidate], heldout: list[int], removed: Removed) -> Kept:
    """Held-out documents, then training documents up to each source's share, without near-duplicates of either."""
    room = [share * config.max_bytes for share in source_shares(config)]
    index = NearDuplicates(config.near_duplicate_threshold)
    kept: Kept = []
    held = set(heldout)
    training = [number for number in range(len(candidates)) if number not in held]
    total = sum(candidates[number].bytes for number in heldout) + min(
        sum(room), sum(candidates[number].bytes for number in training)
    )
    with meter("removing near-duplicates (bytes)", total) as shown:
        for split, numbers in (("heldout", heldout), ("train", training)):
            for number, signature in _signed(candidates, numbers, config.near_duplicates, room, split, removed):
                candidate = candidates[number]
                match = index.match(signature) if signature is not None else None
                if match is not None:
                    removed.count(
                        NEAR_HELDOUT if split == "train" and match in held else NEAR_DUPLICATE, candidate.bytes
                    )
                    continue
                if split == "train":
                    if candidate.bytes > room[candidate.source]:
                        removed.count(BEYOND, candidate.bytes)
                        continue
                    room[candidate.source] -= candidate.bytes
                if signature is not None:
                    index.keep(number, signature)
                kept.append((candidate, split))
                shown.advance(candidate.bytes)
    return kept


def _signed(
    candidates: Sequence[Candidate], numbers: Sequence[int], sign: bool, room: list[float], split: str, removed: Removed
) -> Iterator[tuple[int, Any]]:
    """Candidates with their signatures, a few hundred at a time; what has no room any more is not signed."""
    for first in range(0, len(numbers), SIGNED_AT_ONCE):
        batch = []
        for number in numbers[first : first + SIGNED_AT_ONCE]:
            candidate = candidates[number]
            if split == "train" and candidate.bytes > room[candidate.source]:
                removed.count(BEYOND, candidate.bytes)
            else:
                batch.append(number)
        signed = signatures([candidates[n].document.text for n in batch]) if sign else [None] * len(batch)
        yield from zip(batch, signed, strict=True)


def _mix(config: CorpusConfig, kept: Kept, removed: Removed) -> Kept:
    """Cut the training side to the weights: the scarcest source sets the scale, nothing is repeated."""
    if len(config.sources) == 1:
        return kept
    sizes = Counter[int]()
    for candidate, split in kept:
        if split == "train":
            sizes[candidate.source] += candidate.bytes
    shares = source_shares(config)
    scale = min(sizes[source] / share for source, share in enumerate(shares))
    room = [scale * share for share in shares]
    mixed: Kept = []
    for candidate, split in kept:
        if split == "train":
            if candidate.bytes > room[candidate.source] * (1 + 1e-9):
                removed.count(BEYOND, candidate.bytes)
                continue
            room[candidate.source] -= candidate.bytes
        mixed.append((candidate, split))
    return mixed


def _trim_heldout(kept: Kept, removed: Removed) -> Kept:
    """Drop held-out documents chosen last where removals on the training side left them more than a tenth."""
    total = sum(candidate.bytes for candidate, _ in kept)
    held = sum(candidate.bytes for candidate, split in kept if split == "heldout")
    count = sum(split == "heldout" for _, split in kept)
    while count > 1 and held > HELDOUT_SHARE * total:
        candidate, _ = kept.pop(count - 1)
        removed.count(BEYOND, candidate.bytes)
        held, total, count = held - candidate.bytes, total - candidate.bytes, count - 1
    return kept


def _require_both_splits(kept: Kept, removed: Removed) -> None:
    splits = Counter(split for _, split in kept)
    if not splits["heldout"] or not splits["train"]:
        raise UserError(
            f"The corpus holds {len(kept):,} usable document{'s' if len(kept) != 1 else ''}; at least two that differ "
            f"are needed, one to train on and one to hold out (removed: {removed.sentence()})."
        )
