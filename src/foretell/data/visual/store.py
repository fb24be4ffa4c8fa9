"""Visual documents on disk: encoded once, mapped into memory, packed into batches.

A split is ``SPLIT.ids.npy`` (int32 ``[4, N]``: inputs, labels, branches, positions), ``SPLIT.pixels.bin`` (uint8
``[P, 3 p p]``), ``SPLIT.tables.npz`` (where each document begins in both, and the grids of its images) and
``SPLIT.questions.jsonl`` (what is asked, for scores by kind); ``index.json`` has counts and digests. Letters: D
documents, I images, others as in :mod:`foretell.data.visual.encode`.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import numpy as np
import torch
from numpy.typing import NDArray

from foretell.core.errors import UserError
from foretell.core.files import canonical_json, read_json
from foretell.core.packing import BRANCHES
from foretell.data.images import normalised
from foretell.data.packing import PADDING, first_fit
from foretell.data.stream import IGNORED, Batch
from foretell.data.visual.documents import VisualDocument
from foretell.data.visual.encode import EncodedDocument

INDEX_FILE = "index.json"
BLANK = np.uint8(127)


class SplitWriter:
    """Writes one split, document after document; use as a context manager."""

    def __init__(self, folder: Path, split: str) -> None:
        self._folder, self._split = folder, split
        self._ids: list[NDArray[np.int32]] = []
        self._starts, self._patch_starts, self._image_starts = [0], [0], [0]
        self._grids: list[tuple[int, int]] = []
        self._digest = hashlib.sha256()
        self.questions = 0

    def __enter__(self) -> SplitWriter:
        self._pixels: BinaryIO = (self._folder / f"{self._split}.pixels.bin").open("wb")
        self._asked: TextIO = (self._folder / f"{self._split}.questions.jsonl").open("w", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        self._pixels.close()
        self._asked.close()

    def write(self, document: VisualDocument, encoded: EncodedDocument) -> None:
        """Append a document."""
        ids = np.stack((encoded.inputs, encoded.labels, encoded.branches, encoded.positions))
        self._ids.append(ids)
        self._pixels.write(encoded.patches.tobytes())
        self._digest.update(ids.tobytes() + encoded.patches.tobytes() + repr(encoded.grids).encode())
        self._grids += encoded.grids
        self._starts.append(self._starts[-1] + ids.shape[1])
        self._patch_starts.append(self._patch_starts[-1] + len(encoded.patches))
        self._image_starts.append(len(self._grids))
        number = len(self._starts) - 2
        for exchange in document.asked:
            row = {"document": number, "identity": document.identity, "kind": exchange.kind,
                   "question": exchange.question, "answer": exchange.answer, "choices": exchange.choices}  # fmt: skip
            if exchange.tolerance:
                row["tolerance"] = exchange.tolerance
            self._asked.write(canonical_json(row) + "\n")
            self.questions += 1

    def finish(self, room: int) -> dict[str, Any]:
        """Write the tables; counts and digest of the split, and how many rows of ``room`` positions it fills."""
        ids = np.concatenate([np.zeros((4, 0), np.int32), *self._ids], axis=1)
        np.save(self._folder / f"{self._split}.ids.npy", ids)
        np.savez(
            self._folder / f"{self._split}.tables.npz",
            starts=np.asarray(self._starts), patches=np.asarray(self._patch_starts),
            images=np.asarray(self._image_starts), grids=np.asarray(self._grids, np.int32).reshape(-1, 2),
        )  # fmt: skip
        return {
            "documents": len(self._ids), "images": len(self._grids), "questions": self.questions,
            "positions": ids.shape[1], "labels": int((ids[1] != IGNORED).sum()),
            "patches": self._patch_starts[-1],
            "rows": len(first_fit(np.diff(self._starts), range(len(self._ids)), room)),
            "digest": self._digest.hexdigest(),
        }  # fmt: skip


class VisualSet:
    """One split of a store, opened without reading its pixels."""

    def __init__(self, folder: Path, split: str) -> None:
        """Open it.

        Raises:
            UserError: naming the file that is missing or damaged.
        """
        index = read_json(folder / INDEX_FILE)
        self.folder, self.split = folder, split
        self.sources: list[dict[str, Any]] = index.get("sources", [])
        try:
            self.counts: dict[str, Any] = index["splits"][split]
            self.patch_width = 3 * int(index["patch"]) ** 2
            tables = np.load(folder / f"{split}.tables.npz", allow_pickle=False)
            self._starts, self._patches, self._images, self._grids = (
                tables[name] for name in ("starts", "patches", "images", "grids")
            )
            self.ids: NDArray[np.int32] = np.load(folder / f"{split}.ids.npy", mmap_mode="r", allow_pickle=False)
            shape = (int(self.counts["patches"]), self.patch_width)
            empty = np.zeros(shape, np.uint8)
            path = folder / f"{split}.pixels.bin"
            self._pixels = np.memmap(path, np.uint8, "r", shape=shape) if shape[0] else empty
        except (KeyError, TypeError, ValueError, OSError, EOFError) as error:
            raise UserError(f"{folder} holds no whole visual documents ({error}); make them again.") from error
        self.digest = str(self.counts["digest"])
        self.shown = np.arange(len(self._starts) - 1)
        """Whose images each document comes with, ``[D]``; -1 for blank ones."""

    def blank(self) -> VisualSet:
        """The same questions with blank images of the same sizes: for a model that answers from the question alone."""
        return self._showing(np.full(len(self.shown), -1))

    def swapped(self, seed: int) -> VisualSet:
        """The same questions, each document with the images of another one whose images are of the same sizes.

        A document that is alone in its sizes comes with blank images.
        """
        alike: dict[tuple[Any, ...], list[int]] = {}
        for document in range(len(self.shown)):
            grids = self._grids[self._images[document] : self._images[document + 1]]
            alike.setdefault(tuple(map(tuple, grids.tolist())), []).append(document)
        shown = np.full(len(self.shown), -1)
        generator = np.random.Generator(np.random.PCG64(seed))
        for group in alike.values():
            if len(group) > 1:
                order = generator.permutation(group)
                shown[order] = np.roll(order, 1)
        return self._showing(shown)

    def _showing(self, shown: NDArray[np.int64]) -> VisualSet:
        other = copy.copy(self)
        other.shown = shown
        return other

    @cached_property
    def source_of(self) -> NDArray[np.int64]:
        """Number of the source in :attr:`sources` of each document, ``[D]``."""
        counts = [int(source[f"{self.split}_pieces"]) for source in self.sources]
        return np.repeat(np.arange(len(counts)), counts)

    def of(self, labels: Sequence[str]) -> Selection:
        """The documents of the sources called ``labels`` alone."""
        wanted = [source["label"] in labels for source in self.sources]
        return Selection(self, np.flatnonzero(np.asarray(wanted, bool)[self.source_of]))

    def without(self, labels: Sequence[str]) -> Selection:
        """The documents of all sources but those called ``labels``."""
        return self.of([source["label"] for source in self.sources if source["label"] not in labels])

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Positions of each document, ``[D]``."""
        return np.diff(self._starts)

    @cached_property
    def questions(self) -> list[dict[str, Any]]:
        """What is asked, in order: document, identity, kind, question, answer, choices; perhaps a tolerance."""
        with (self.folder / f"{self.split}.questions.jsonl").open(encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def pixels(self, document: int) -> NDArray[np.uint8]:
        """Patches of all images that a document comes with, ``[P, 3 p p]``."""
        other = int(self.shown[document])
        if other < 0:
            return np.full((int(self._patches[document + 1] - self._patches[document]), self.patch_width), BLANK)
        return np.asarray(self._pixels[self._patches[other] : self._patches[other + 1]])

    def places(self, document: int) -> NDArray[np.int64]:
        """Number of the image in the document, row and column of each of its patches, ``[P, 3]``."""
        grids = self._grids[self._images[document] : self._images[document + 1]]
        parts = [
            np.stack(np.meshgrid([number], np.arange(rows), np.arange(columns), indexing="ij"), -1).reshape(-1, 3)
            for number, (rows, columns) in enumerate(grids)
        ]
        return np.concatenate([np.zeros((0, 3), np.int64), *parts])

    def batch(self, rows: Sequence[Sequence[int]], room: int) -> Batch:
        """The documents of each row, one after the other; see :class:`foretell.data.packing.Packable`."""
        inputs = np.zeros((len(rows), room), np.int64)
        labels = np.full((len(rows), room), IGNORED, np.int64)
        documents = np.full((len(rows), room), PADDING, np.int64)
        positions = np.zeros((len(rows), room), np.int64)
        most = max(sum(int(np.diff(self._patches[item : item + 2])[0]) for item in items) for items in rows)
        pixels = np.zeros((len(rows), most, self.patch_width), np.uint8)
        places = np.full((len(rows), most, 3), -1, np.int64)
        for row, items in enumerate(rows):
            start = patch = image = 0
            for number, item in enumerate(items):
                ids = self.ids[:, self._starts[item] : self._starts[item + 1]]
                part = slice(start, start + ids.shape[1])
                inputs[row, part], labels[row, part], positions[row, part] = ids[0], ids[1], ids[3]
                documents[row, part] = number * BRANCHES + ids[2]
                start = part.stop
                where = self.places(item)
                spot = slice(patch, patch + len(where))
                pixels[row, spot], places[row, spot] = self.pixels(item), where + np.asarray((image, 0, 0))
                patch, image = spot.stop, image + int(self._images[item + 1] - self._images[item])
        count = int((labels != IGNORED).sum())
        tensors: list[NDArray[Any]] = [inputs, labels, documents, positions]
        if most:
            tensors += [normalised(pixels.reshape(-1, self.patch_width)).reshape(pixels.shape), places]
        return Batch.of([torch.from_numpy(tensor) for tensor in tensors], count)


@dataclass(frozen=True)
class Selection:
    """Some documents of a split; see :class:`foretell.data.packing.Packable`.

    Attributes:
        numbers: which, in the split's own numbering, ``[D]``.
    """

    documents: VisualSet
    numbers: NDArray[np.int64]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Positions of each document, ``[D]``."""
        return self.documents.lengths[self.numbers]

    @property
    def digest(self) -> str:
        """SHA-256 of all that decides a batch."""
        return hashlib.sha256(self.documents.digest.encode() + self.numbers.tobytes()).hexdigest()

    def batch(self, rows: Sequence[Sequence[int]], room: int) -> Batch:
        """The documents of each row, one after the other."""
        return self.documents.batch([self.numbers[list(items)].tolist() for items in rows], room)
