"""``results.json`` and ``items.parquet`` of an evaluation: written, extended by further tasks, read."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from foretell.core.errors import UserError
from foretell.core.files import content_hash, read_json, write_atomic, write_json
from foretell.evals.images import image_digest, opened
from foretell.tasks.task import Grade, Item, Response

RESULTS, ITEMS = "results.json", "items.parquet"
NEEDED = ("metric", "value", "n", "version")
SCHEMA = pyarrow.schema(
    [
        ("task", pyarrow.string()),
        ("item", pyarrow.string()),
        ("group", pyarrow.string()),
        ("digest", pyarrow.string()),
        ("loglikelihoods", pyarrow.list_(pyarrow.float64())),
        ("greedy", pyarrow.list_(pyarrow.bool_())),
        ("unconditional", pyarrow.list_(pyarrow.float64())),
        ("texts", pyarrow.list_(pyarrow.string())),
        ("gold", pyarrow.list_(pyarrow.string())),
        ("answer", pyarrow.string()),
        ("score", pyarrow.float64()),
        ("correct", pyarrow.bool_()),
        ("scores", pyarrow.map_(pyarrow.string(), pyarrow.float64())),
    ]
)


@dataclass(frozen=True)
class ItemRecord:
    """One row of ``items.parquet``.

    Attributes:
        task, item, group: names.
        digest: of the item's prompt, images, options and gold, so that equal names of different items are told apart.
        loglikelihoods, greedy, unconditional, texts: the response.
        gold: places of right options, or accepted answers.
        answer: what was understood as the answer.
        score: the headline's; ``correct`` where it is 1.
        scores: all of them.
    """

    task: str
    item: str
    group: str
    digest: str
    loglikelihoods: tuple[float, ...]
    greedy: tuple[bool, ...]
    unconditional: tuple[float, ...]
    texts: tuple[str, ...]
    gold: tuple[str, ...]
    answer: str | None
    score: float
    correct: bool
    scores: Mapping[str, float]

    @classmethod
    def of(cls, task: str, metric: str, item: Item, response: Response, grade: Grade) -> ItemRecord:
        """What a model made of an item, and its grade."""
        score = float(grade.scores[metric])
        return cls(
            task, item.identity, item.group, item_digest(item), response.likelihoods, response.greedy, response.bare,
            response.texts, tuple(map(str, item.gold)), grade.answer, score, score >= 1.0, dict(grade.scores),
        )  # fmt: skip


def item_digest(item: Item) -> str:
    """16 hex digits of what an item asks, its images' pixels included, and accepts.

    Raises:
        UserError: where a file is no image.
    """
    options = [[option.text, option.prompt] for option in item.options]
    content = [item.prompt, [dict(m) for m in item.messages], options, list(item.gold), item.bare]
    images = [image_digest(opened(image)) for image in item.images]
    return content_hash([*content, images] if images else content)[:16]


def write_records(folder: Path, results: Mapping[str, Any], items: Sequence[ItemRecord]) -> None:
    """Put tasks into a folder's records, in place of those of the same names.

    Raises:
        UserError: where the folder's records are damaged, or cannot be written.
    """
    kept_results, kept_items = ({}, [])
    if (folder / RESULTS).exists():
        kept_results, kept_items = read_results(folder), read_items(folder)
    rows = [row for row in kept_items if row.task not in results] + list(items)
    columns = {field.name: [_cell(getattr(row, field.name)) for row in rows] for field in fields(ItemRecord)}
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns, schema=SCHEMA), buffer, compression="zstd")
    write_atomic(folder / ITEMS, buffer.getvalue())
    write_json(folder / RESULTS, {**kept_results, **results})


def read_results(folder: Path) -> dict[str, Any]:
    """``results.json`` of a folder.

    Raises:
        UserError: where it is missing or no record of results.
    """
    path = folder / RESULTS
    if not path.is_file():
        raise UserError(f"{folder} holds no {RESULTS}; a folder that foretell eval has written is expected.")
    found = read_json(path)
    if not isinstance(found, dict):
        raise UserError(f"{path} holds a {type(found).__name__}; an object of tasks is expected.")
    for task, entry in found.items():
        missing = [name for name in NEEDED if not isinstance(entry, dict) or name not in entry]
        if missing:
            raise UserError(f"{path}: {task} has no {missing[0]}; it was edited, or is another program's.")
    return found


def read_items(folder: Path) -> list[ItemRecord]:
    """The rows of ``items.parquet`` of a folder.

    Raises:
        UserError: where it is missing or another table.
    """
    path = folder / ITEMS
    try:
        rows = pyarrow.parquet.read_table(path, columns=SCHEMA.names).cast(SCHEMA).to_pylist()
    except FileNotFoundError as error:
        raise UserError(f"{folder} holds no {ITEMS}; a folder that foretell eval has written is expected.") from error
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{path} is no table of items ({' '.join(str(error).split())[:120]}).") from error
    lists = ("loglikelihoods", "greedy", "unconditional", "texts", "gold")
    return [
        ItemRecord(**{**row, **{name: tuple(row[name] or ()) for name in lists}, "scores": dict(row["scores"] or ())})
        for row in rows
    ]


def _cell(value: Any) -> Any:
    if isinstance(value, Mapping):
        return list(value.items())
    return list(value) if isinstance(value, tuple) else value
