"""The files of a frozen corpus."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from foretell.core.errors import UserError
from foretell.core.files import content_hash, write_json
from foretell.data.collect import Candidate

DOCUMENTS_FILE = "documents.parquet"
MANIFEST_FILE = "manifest.csv"
SUMMARY_FILE = "summary.json"
SPLITS = ("train", "heldout")
LISTED_PROJECTS = 200
GROUP_ROWS = 1024


@dataclass(frozen=True, slots=True)
class FrozenDocument:
    """A row of ``documents.parquet``; ``words`` counts maximal runs of non-space characters."""

    id: int
    source: str
    project: str
    path_or_url: str
    licence: str | None
    sha256: str
    bytes: int
    words: int
    split: str
    text: str

    @classmethod
    def of(cls, number: int, candidate: Candidate, split: str, source: str) -> FrozenDocument:
        """Make a row of a kept document."""
        document = candidate.document
        return cls(
            number,
            source,
            document.project,
            document.location,
            document.licence,
            candidate.sha256,
            candidate.bytes,
            len(document.text.split()),
            split,
            document.text,
        )


_TYPES = {"id": pyarrow.int64(), "bytes": pyarrow.int64(), "words": pyarrow.int64()}
_COLUMNS = [field.name for field in fields(FrozenDocument)]
_SCHEMA = pyarrow.schema([(name, _TYPES.get(name, pyarrow.string())) for name in _COLUMNS])


def write_corpus(folder: Path, documents: Sequence[FrozenDocument], summary: dict[str, Any]) -> None:
    """Write the three files of a frozen corpus into an existing folder."""
    with pyarrow.parquet.ParquetWriter(folder / DOCUMENTS_FILE, _SCHEMA, compression="zstd") as writer:
        for first in range(0, len(documents), GROUP_ROWS):
            rows = documents[first : first + GROUP_ROWS]
            columns = [[getattr(row, name) for row in rows] for name in _COLUMNS]
            writer.write_table(pyarrow.table(columns, schema=_SCHEMA))
    with (folder / MANIFEST_FILE).open("w", newline="", encoding="utf-8", errors="replace") as file:
        manifest = csv.writer(file)
        manifest.writerow(_COLUMNS[:-1])
        manifest.writerows(astuple(document)[:-1] for document in documents)
    write_json(folder / SUMMARY_FILE, summary)


def read_documents(folder: Path, columns: Sequence[str], split: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield the rows of a frozen corpus in order, of both splits or of one.

    Raises:
        UserError: where the file is missing, cut short or damaged.
    """
    path = folder / DOCUMENTS_FILE
    try:
        with pyarrow.parquet.ParquetFile(path) as table:
            for batch in table.iter_batches(GROUP_ROWS, columns=sorted({*columns, "split"})):
                for row in batch.to_pylist():
                    if split is None or row["split"] == split:
                        yield row
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; freeze the corpus first.") from error
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path} is cut short or damaged ({' '.join(str(error).split())}).") from error


def summarise(
    documents: Sequence[FrozenDocument], sources: list[dict[str, Any]], filters: list[dict[str, int | str]]
) -> dict[str, Any]:
    """The record of a corpus that the report shows."""
    projects: dict[tuple[str, str], dict[str, Any]] = {}
    licences = Counter[str]()
    splits = {split: {"documents": 0, "bytes": 0, "words": 0, "projects": 0} for split in SPLITS}
    for document in documents:
        licences[document.licence or "unknown"] += document.bytes
        counted = splits[document.split]
        counted["documents"] += 1
        counted["bytes"] += document.bytes
        counted["words"] += document.words
        project = projects.setdefault(
            (document.project, document.split),
            {
                "project": document.project,
                "split": document.split,
                "documents": 0,
                "bytes": 0,
                "licence": document.licence,
            },
        )
        project["documents"] += 1
        project["bytes"] += document.bytes
    for _, split in projects:
        splits[split]["projects"] += 1
    largest = sorted(projects.values(), key=lambda entry: (-entry["bytes"], entry["project"], entry["split"]))
    return {
        "sources": sources,
        "filters": filters,
        "splits": splits,
        "heldout_projects": sorted(project for project, split in projects if split == "heldout"),
        "licences": dict(sorted(licences.items(), key=lambda item: (-item[1], item[0]))),
        "projects": largest[:LISTED_PROJECTS],
        "digest": corpus_digest([(document.split, document.sha256) for document in documents]),
    }


def corpus_digest(splits_and_hashes: Sequence[tuple[str, str]]) -> str:
    """SHA-256 over the sorted (split, sha256) pairs: the same text in the same splits, whatever the order."""
    return content_hash(sorted(splits_and_hashes))
