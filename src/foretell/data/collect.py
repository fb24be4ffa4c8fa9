"""Reading sources into a sample: filtered by length, free of exact duplicates, in the seed's order."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any

from foretell.core.errors import UserError
from foretell.core.progress import meter
from foretell.data.config import CorpusConfig, SourceConfig
from foretell.data.documents import Document, Listing, Unreadable, keyed_hash
from foretell.data.filters import EXACT_DUPLICATE, UNREADABLE, Removed, length_reason
from foretell.data.sources import Generators, list_source

# More is read than kept, because near-duplicates leave later on.
ALLOWANCE = 1.5


@dataclass(frozen=True, slots=True)
class Candidate:
    """A document that passed the filters, on its way into the corpus."""

    document: Document
    source: int
    sha256: str
    bytes: int
    key: int


@dataclass
class SourceCount:
    """What one source gave: files found, documents and bytes read, and kept in the end."""

    config: SourceConfig
    files_found: int = 0
    documents: int = 0
    bytes: int = 0
    kept_documents: int = 0
    kept_bytes: int = 0
    split_by: str = "document"

    def record(self) -> dict[str, Any]:
        """The source as ``summary.json`` states it."""
        return {
            "name": self.config.label,
            "kind": self.config.kind,
            "weight": self.config.weight,
            "files_found": self.files_found,
            "documents": self.documents,
            "bytes": self.bytes,
            "kept_documents": self.kept_documents,
            "kept_bytes": self.kept_bytes,
            "split_by": self.split_by,
        }


def source_shares(config: CorpusConfig) -> list[float]:
    """Share of each source in the mixture; they sum to one."""
    total = math.fsum(source.weight for source in config.sources)
    return [source.weight / total for source in config.sources]


def collect(
    config: CorpusConfig, seed: int, removed: Removed, generators: Generators | None = None
) -> tuple[list[Candidate], list[SourceCount]]:
    """Read as much of every source as the corpus may need; ``generators`` as in :func:`list_source`.

    Returns:
        the documents in the order of a keyed hash of ``seed``, source and name, and the counts of each source.

    Raises:
        UserError: where a source is missing, broken, or left with nothing by the filters.
    """
    wanted = ALLOWANCE * (config.max_bytes + config.heldout_bytes)
    counts = [SourceCount(source) for source in config.sources]
    candidates: list[Candidate] = []
    seen: set[bytes] = set()
    for number, share in enumerate(source_shares(config)):
        room = math.ceil(wanted * share)
        listing = list_source(config.sources[number], seed, max(room, config.max_characters), generators)
        found = _collect_source(config, seed, number, listing, room, seen, counts[number], removed)
        if not found:
            raise UserError(f"The source '{counts[number].config.label}' leaves no document: {removed.sentence()}.")
        candidates += found
    candidates.sort(key=lambda candidate: (candidate.key, candidate.source, candidate.document.identity))
    return candidates, counts


def _collect_source(
    config: CorpusConfig, seed: int, number: int, listing: Listing, wanted: int, seen: set[bytes], count: SourceCount,
    removed: Removed,
) -> list[Candidate]:  # fmt: skip
    source = config.sources[number]
    count.files_found = listing.files_found
    limit = max(wanted, listing.read_at_least)
    found: list[Candidate] = []
    passed = 0
    with meter(f"reading {source.label} (bytes)", limit) as shown:
        for item in listing.items:
            count.documents += 1
            if isinstance(item, Unreadable):
                removed.count(UNREADABLE, item.bytes)
                count.bytes += item.bytes
                continue
            candidate = _examine(config, seed, number, item, seen, count, removed)
            if candidate is not None:
                found.append(candidate)
                passed += candidate.bytes
                shown.advance(candidate.bytes)
                if passed >= limit:
                    break
    return found


def _examine(
    config: CorpusConfig, seed: int, number: int, item: Document, seen: set[bytes], count: SourceCount, removed: Removed
) -> Candidate | None:
    """The document as a candidate, or ``None`` where a filter removed it."""
    try:
        data = item.text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, as JSON can spell it
        removed.count(UNREADABLE, len(item.text))
        return None
    count.bytes += len(data)
    reason = length_reason(item.text, config.min_characters, config.max_characters)
    digest = hashlib.sha256(data)
    if reason is None and digest.digest() in seen:
        reason = EXACT_DUPLICATE
    if reason is not None:
        removed.count(reason, len(data))
        return None
    seen.add(digest.digest())
    key = keyed_hash(seed, item.identity)
    return Candidate(item, number, digest.hexdigest(), len(data), key)
