"""A tokenized corpus on disk: one flat file of ids a split, mapped into memory, and where each document starts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foretell.core.errors import UserError
from foretell.core.files import atomic_directory, content_hash, read_json, require_space, write_json
from foretell.core.progress import meter
from foretell.data.encoding import CorpusEncoder
from foretell.data.records import SPLITS, SUMMARY_FILE, read_documents
from foretell.data.tokenizer import Tokenizer

INDEX_FILE = "index.json"
ENCODED_AT_ONCE = 256


def tokenize_corpus(corpus_folder: Path, tokenizer: Tokenizer, folder: Path) -> dict[str, Any]:
    """Encode a frozen corpus, each document as ``[end_of_text] + ids``.

    The folder appears whole or not at all: ``train.bin`` and ``heldout.bin`` (little-endian uint16, or uint32 where the
    vocabulary is larger than 65,535), ``*.offsets.npy`` (int64 ``[documents + 1]``, in tokens) and ``index.json``.

    Returns:
        what ``index.json`` holds: ``dtype``, ``vocab_size``, ``end_of_text_id``, ``tokenizer_digest``,
        ``corpus_digest``, ``splits`` (documents, tokens with separators, bytes, words, digest) and ``digest``.

    Raises:
        UserError: where the corpus is missing or damaged, or the disk is full.
    """
    summary = read_json(corpus_folder / SUMMARY_FILE)
    dtype = np.dtype("<u2" if tokenizer.vocab_size <= 65535 else "<u4")
    total = sum(summary["splits"][split]["bytes"] for split in SPLITS)
    require_space(corpus_folder, total * dtype.itemsize, "the tokenized corpus")
    encoder = CorpusEncoder(tokenizer, dtype)
    separator = np.asarray([tokenizer.end_of_text_id], dtype=dtype).tobytes()
    splits = {}
    with atomic_directory(folder) as temporary, meter("tokenizing (bytes)", total) as shown:
        for split in SPLITS:
            counted: dict[str, Any] = {"documents": 0, "tokens": 0, "bytes": 0, "words": 0}
            ends, digest = [0], hashlib.sha256()
            with (temporary / f"{split}.bin").open("wb") as file:
                for rows in _groups(corpus_folder, split):
                    for row, ids in zip(rows, encoder.encode([row["text"] for row in rows]), strict=True):
                        document = separator + ids
                        file.write(document)
                        digest.update(document)
                        counted["tokens"] += len(document) // dtype.itemsize
                        counted["bytes"] += row["bytes"]
                        counted["words"] += row["words"]
                        ends.append(counted["tokens"])
                    counted["documents"] += len(rows)
                    shown.advance(sum(row["bytes"] for row in rows))
            np.save(temporary / f"{split}.offsets.npy", np.asarray(ends, dtype=np.int64))
            splits[split] = counted | {"digest": digest.hexdigest()}
        index = {
            "dtype": dtype.name,
            "vocab_size": tokenizer.vocab_size,
            "end_of_text_id": tokenizer.end_of_text_id,
            "tokenizer_digest": tokenizer.digest,
            "corpus_digest": summary["digest"],
            "splits": splits,
        }
        index["digest"] = content_hash(index)
        write_json(temporary / INDEX_FILE, index)
    return index


def _groups(corpus_folder: Path, split: str) -> Iterator[list[dict[str, Any]]]:
    group: list[dict[str, Any]] = []
    for row in read_documents(corpus_folder, ["text", "bytes", "words"], split):
        group.append(row)
        if len(group) == ENCODED_AT_ONCE:
            yield group
            group = []
    if group:
        yield group


class TokenDataset:
    """One split of a tokenized corpus, opened without reading it."""

    def __init__(self, folder: Path, split: str) -> None:
        """Open and check the sizes of the files.

        Raises:
            UserError: for an unknown split, and naming the file that is missing, cut short or damaged.
        """
        if split not in SPLITS:
            raise UserError(f"The split {split!r} is unknown; {' and '.join(SPLITS)} are there.")
        index = read_json(folder / INDEX_FILE)
        try:
            counted = index["splits"][split]
            dtype = np.dtype(index["dtype"]).newbyteorder("<")
            self.token_count: int = int(counted["tokens"])
            """Tokens with the separators; as many labels make up an epoch."""
            self.document_count: int = int(counted["documents"])
            self.bytes: int = int(counted["bytes"])
            """UTF-8 bytes of the text."""
            self.words: int = int(counted["words"])
            self.vocab_size: int = int(index["vocab_size"])
            self.end_of_text_id: int = int(index["end_of_text_id"])
            self.digest: str = str(counted["digest"])
            """SHA-256 of the split's tokens."""
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{folder / INDEX_FILE} is not the index of a tokenized corpus ({error!r}).") from error
        self.offsets: NDArray[np.int64] = self._read_offsets(folder / f"{split}.offsets.npy")
        self.tokens: NDArray[Any] = self._map_tokens(folder / f"{split}.bin", dtype)

    def _read_offsets(self, path: Path) -> NDArray[np.int64]:
        try:
            offsets: NDArray[np.int64] = np.load(path, allow_pickle=False)
        except FileNotFoundError as error:
            raise UserError(f"{path} is missing; tokenize the corpus again.") from error
        except (OSError, ValueError, EOFError) as error:
            raise UserError(f"{path} is cut short or damaged ({error}); tokenize the corpus again.") from error
        fits = offsets.shape == (self.document_count + 1,) and offsets.dtype == np.int64
        if not fits or offsets[0] != 0 or offsets[-1] != self.token_count or (np.diff(offsets) <= 0).any():
            raise UserError(f"{path} does not fit {INDEX_FILE} beside it; tokenize the corpus again.")
        return offsets

    def _map_tokens(self, path: Path, dtype: np.dtype[Any]) -> NDArray[Any]:
        try:
            found = path.stat().st_size
        except OSError as error:
            raise UserError(f"{path} is missing; tokenize the corpus again.") from error
        expected = self.token_count * dtype.itemsize
        if found != expected:
            raise UserError(
                f"{path} has {found:,} bytes and {expected:,} are expected: it was cut short or replaced; "
                "tokenize the corpus again."
            )
        return np.memmap(path, dtype=dtype, mode="r", shape=(self.token_count,))
