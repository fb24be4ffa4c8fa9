"""Tasks put to a model, scored and recorded."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import foretell
from foretell.core.errors import UserError
from foretell.core.files import content_hash, require_writable
from foretell.core.progress import meter
from foretell.evals.asking import Asking, responses
from foretell.evals.cache import AnswerCache
from foretell.evals.models import Model, Prompt
from foretell.evals.records import ItemRecord, write_records
from foretell.evals.scores import summarise
from foretell.tasks.task import Task, TaskData


@dataclass(frozen=True)
class Evaluation:
    """One task's outcome: its entry of ``results.json`` and its rows of ``items.parquet``."""

    task: str
    result: dict[str, Any]
    items: tuple[ItemRecord, ...]


def evaluate(
    tasks: Sequence[Task], model: Model, data_folder: Path, asking: Asking, cache: AnswerCache, out: Path | None = None
) -> list[Evaluation]:
    """Put tasks to a model, one after the other; each is recorded when it is done.

    Args:
        tasks: at least one, each once.
        model: that answers.
        data_folder: where tasks read their data.
        asking: how.
        cache: of answers; with one on disk an interrupted evaluation goes on.
        out: folder of the records, ``None`` for none.

    Raises:
        UserError: where data is missing or wrong or programs cannot be run safely (before anything is asked), or the
            model cannot be asked so.
    """
    if out is not None:
        require_writable(out)
    loaded = [(task, _data(task, data_folder)) for task in tasks]
    for task, data in loaded:
        asking.prompt(task, data, data.items[0])
        if task.prepare is not None:
            task.prepare()
    found = []
    for task, data in loaded:
        found.append(_evaluate(task, data, model, asking, cache))
        if out is not None:
            write_records(out, {task.name: found[-1].result}, found[-1].items)
    return found


def _data(task: Task, folder: Path) -> TaskData:
    data = task.load(folder)
    if not data.items:
        raise UserError(f"{task.name} has no items in {folder}; {task.files or 'its data'} is expected.")
    (name, times), *_ = Counter(item.identity for item in data.items).most_common(1)
    if times > 1:
        raise UserError(
            f"{task.name} has {times} items called '{name}' in {folder}; each item needs a name of its own."
        )
    return data


def _evaluate(task: Task, data: TaskData, model: Model, asking: Asking, cache: AnswerCache) -> Evaluation:
    items = asking.chosen(data.items)
    start, cut = time.monotonic(), model.cut
    records: dict[int, ItemRecord] = {}
    total = 0.0
    with meter(task.name, len(items)) as shown:
        for place, response in responses(task, data, items, model, asking, cache):
            grade = task.grade(items[place], response)
            records[place] = ItemRecord.of(task.name, task.metric, items[place], response, grade)
            total += records[place].score
            shown.note(f"{task.metric} {total / len(records):.3f}")
            shown.advance()
    rows = tuple(records[place] for place in range(len(items)))
    overall, by_group = summarise([row.scores for row in rows], [row.group for row in rows], task.average)
    result: dict[str, Any] = {
        "metric": task.metric,
        **overall[task.metric].record(),
        "version": task.version,
        "average": task.average,
        "metrics": {name: score.record() for name, score in overall.items()},
        "groups": {
            group: {name: score.record() for name, score in scores.items()}
            for group, scores in by_group.items()
            if group
        },
        "shots": asking.shots_of(task),
        "chat": asking.chat,
        "seed": asking.seed,
        "limit": asking.limit,
        **_generation(task, asking),
        "items_hash": content_hash([[row.item, row.digest] for row in rows]),
        "prompt": _shown(asking.prompt(task, data, items[0])),
        "options": [option.text for option in items[0].options],
        "model": model.name,
        "model_hash": model.digest,
        "model_hash_of": model.digest_of,
        "start_tokens": model.start,
        "prompts_cut": model.cut - cut,
        "source": task.source,
        "data": data.source,
        "seconds": round(time.monotonic() - start, 3),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "foretell": foretell.__version__,
    }
    return Evaluation(task.name, result, rows)


def _generation(task: Task, asking: Asking) -> dict[str, Any]:
    if task.kind == "choice":
        return {}
    decoding = asking.decoding(task)
    return {"samples": decoding.samples, "temperature": decoding.temperature, "tokens": decoding.tokens}


def _shown(prompt: Prompt) -> Any:
    """The exact prompt, as JSON has it."""
    return prompt.content if isinstance(prompt.content, str) else [dict(message) for message in prompt.content]
