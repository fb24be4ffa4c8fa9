"""Making an index of a corpus, segment by segment, and opening it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foretell.core.errors import UserError
from foretell.core.files import read_json, require_writable, storage_errors, write_json
from foretell.core.hardware import available_cores
from foretell.core.progress import Meter, meter
from foretell.data.overlap.anchors import letter_anchors, word_anchors
from foretell.data.overlap.normal import pieces
from foretell.data.overlap.reading import Input, fingerprint, list_inputs, read_texts
from foretell.data.overlap.segments import LARGEST, Position, Postings, Segment, SegmentWriter, part_path

FORMAT = 1
INDEX_FILE, SUMMARY_FILE = "index.json", "summary.json"
SEGMENT_BYTES = 1 << 27  # of text; about 450 MB of memory while it is made
BATCH_CHARACTERS = 1 << 20
MOST_SEGMENT_BYTES = LARGEST - 16 * BATCH_CHARACTERS  # a segment ends with the batch that fills it


@dataclass
class _Batch:
    """Neighbouring pieces that are hashed in one go."""

    texts: list[str]
    locations: list[str]
    characters: int = 0

    def add(self, piece: str, location: str) -> None:
        self.texts.append(piece + "\n")
        self.locations.append(location)
        self.characters += len(piece) + 1


@dataclass
class _Counts:
    documents: int = 0
    pieces: int = 0
    empty_files: int = 0


def build_index(
    paths: Sequence[str], folder: Path, text_field: str = "text", segment_bytes: int = SEGMENT_BYTES
) -> dict[str, Any]:
    """Index the documents of ``paths`` in ``folder``, or go on with what an interrupted call has left there.

    Memory is bounded by ``segment_bytes`` (about 3.5 times it); the folder takes about 1.8 times what the corpus has of
    letters, digits and spaces.

    Args:
        paths: see :func:`~foretell.data.overlap.reading.list_inputs`.
        folder: of the index; made where it is not there.
        text_field: of rows.
        segment_bytes: of text in a segment, at most 2^28 - 2^24.

    Returns:
        what ``summary.json`` holds.

    Raises:
        UserError: where a path names nothing, a file is damaged or holds no text, the folder is in use for something
            else or for other files, or the disk is full.
    """
    if not 0 < segment_bytes <= MOST_SEGMENT_BYTES:
        raise UserError(f"segment_bytes is {segment_bytes}; a number from 1 to {MOST_SEGMENT_BYTES} is expected.")
    start = time.monotonic()
    inputs = list_inputs(paths)
    record = {"format": FORMAT, "files": [str(file.path) for file in inputs], "text_field": text_field,
              "segment_bytes": segment_bytes, "fingerprint": fingerprint(inputs, text_field)}  # fmt: skip
    with storage_errors(folder):
        _claim(folder, record)
        if (folder / SUMMARY_FILE).is_file():
            return open_index(folder).summary
        done = _finished(folder)
        _remove_from(folder, len(done))
        following: Position = tuple(done[-1].record["next"]) if done else (0, 0, 0)
        with meter("indexing (bytes, about)", sum(file.bytes for file in inputs)) as shown:
            counts = _write_segments(folder, inputs, text_field, segment_bytes, len(done), following, shown)
        segments = _finished(folder)
        if not segments:
            raise UserError(f"There is no text in {', '.join(paths)}; nothing could be indexed.")
        summary = {
            "segments": len(segments),
            "files": len(inputs),
            "files_without_text": counts.empty_files,
            "documents": counts.documents,
            "text_bytes": sum(segment.record["files"]["text"]["bytes"] for segment in segments),
            "bytes": sum(segment.bytes for segment in segments),
            "resumed_at_segment": len(done),
            "seconds": round(time.monotonic() - start, 2),
        }
        write_json(folder / SUMMARY_FILE, summary)
    return summary


@dataclass(frozen=True)
class Index:
    """A finished index."""

    folder: Path
    summary: dict[str, Any]
    segments: tuple[Segment, ...]

    def verify(self) -> None:
        """Compare the checksum of every file, on all cores.

        Raises:
            UserError: naming a file that is not as it was written.
        """
        total = sum(segment.bytes for segment in self.segments)
        with meter("verifying the index (bytes)", total) as shown, ThreadPoolExecutor(available_cores()) as pool:
            for segment, _ in zip(self.segments, pool.map(Segment.verify, self.segments), strict=True):
                shown.advance(segment.bytes)


def open_index(folder: Path) -> Index:
    """Open an index and see that its files are there in their full length.

    Raises:
        UserError: where it is none, is not finished, of another version, or damaged.
    """
    record_path = folder / INDEX_FILE
    if not record_path.is_file():
        raise UserError(f"{folder} holds no index; foretell contamination index PATHS --out {folder} makes one.")
    record = read_json(record_path)
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        found = record.get("format") if isinstance(record, dict) else record
        raise UserError(f"{record_path} has format {found!r}; this version reads {FORMAT}: index the corpus again.")
    if not (folder / SUMMARY_FILE).is_file():
        raise UserError(f"The index in {folder} is not finished; start the same foretell contamination index again.")
    summary = read_json(folder / SUMMARY_FILE)
    count = summary.get("segments") if isinstance(summary, dict) else None
    if not isinstance(count, int) or count < 1:
        raise UserError(f"{folder / SUMMARY_FILE} is damaged; remove it and start foretell contamination index again.")
    return Index(folder, summary, tuple(Segment.open(folder, number) for number in range(count)))


def _claim(folder: Path, record: dict[str, Any]) -> None:
    require_writable(folder)
    path = folder / INDEX_FILE
    if path.is_file():
        found = read_json(path)
        if found != record:
            raise UserError(
                f"{folder} holds an index of other files or settings, or the files have changed since; choose another "
                "--out, or remove the folder."
            )
    elif any(folder.iterdir()):
        raise UserError(f"{folder} is not empty and holds no index; choose another --out.")
    else:
        write_json(path, record)


def _finished(folder: Path) -> list[Segment]:
    """Segments that are whole, in order, up to the first that is missing."""
    found: list[Segment] = []
    while part_path(folder, len(found), "json").is_file():
        found.append(Segment.open(folder, len(found)))
    return found


def _remove_from(folder: Path, number: int) -> None:
    """What an interrupted call left of segments that it did not finish."""
    for path in folder.glob("[0-9]*.*"):
        stem = path.name.partition(".")[0]
        if stem.isdigit() and int(stem) >= number:
            path.unlink()


def _write_segments(
    folder: Path, inputs: Sequence[Input], text_field: str, limit: int, number: int, first: Position, shown: Meter
) -> _Counts:
    counts = _Counts()
    batch, writer = _Batch([], []), None
    following = first
    with ThreadPoolExecutor(max(1, available_cores() - 1)) as pool:
        try:
            for position, piece, location in _read_from(inputs, text_field, first, counts, shown):
                if batch.characters + len(piece) > BATCH_CHARACTERS and batch.texts:
                    writer = _add(pool, writer or SegmentWriter(folder, number), batch)
                    batch = _Batch([], [])
                if writer is not None and writer.is_full(limit):
                    writer.finish(position)
                    writer, number = None, number + 1
                batch.add(piece, location)
                following = (position[0], position[1], position[2] + 1)
            if batch.texts:
                writer = _add(pool, writer or SegmentWriter(folder, number), batch)
            if writer is not None:
                writer.finish(following)
                writer = None
        finally:
            if writer is not None:
                writer.close()
    return counts


def _add(pool: ThreadPoolExecutor, writer: SegmentWriter, batch: _Batch) -> SegmentWriter:
    joined = "".join(batch.texts)
    encoded = joined.encode()
    sizes = [len(text) if joined.isascii() else len(text.encode()) for text in batch.texts]
    starts = [0, *_running(sizes)][:-1]
    offset = writer.bytes
    writer.add(encoded, starts, batch.locations, pool.submit(_postings, joined, encoded, offset))
    return writer


def _running(sizes: Sequence[int]) -> Iterator[int]:
    total = 0
    for size in sizes:
        total += size
        yield total


def _postings(joined: str, encoded: bytes, offset: int) -> Postings:
    lower = joined.lower().encode()
    return letter_anchors(encoded).postings(offset), word_anchors(encoded, lower).postings(offset)


def _read_from(
    inputs: Sequence[Input], text_field: str, first: Position, counts: _Counts, shown: Meter
) -> Iterator[tuple[Position, str, str]]:
    """Pieces from ``first`` on; documents before it are counted and not normalised again."""
    for number, file in enumerate(inputs):
        left, any_text = file.bytes, False
        for document, text in enumerate(read_texts(file, text_field)):
            counts.documents += 1
            any_text = True
            if (number, document) < first[:2]:
                continue
            for part, piece in enumerate(pieces(text.chunks)):
                if (number, document, part) >= first:
                    counts.pieces += 1
                    yield (number, document, part), piece, text.location
                moved = min(left, len(piece))
                left -= moved
                shown.advance(moved)
        shown.advance(left)
        counts.empty_files += not any_text
