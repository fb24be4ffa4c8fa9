"""``foretell contamination``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from foretell.cli.output import out
from foretell.core.config import read_yaml
from foretell.core.errors import UserError
from foretell.core.files import require_writable
from foretell.core.progress import duration, say
from foretell.data.compression import inner_suffix
from foretell.evals.contamination.check import METHODS, SUFFIXES, Verdict, check_items, write_verdicts
from foretell.evals.contamination.items import ItemText, exam_items, read_items, task_items
from foretell.evals.contamination.scores import Score, SplitScore, read_scores, split_scores
from foretell.evals.exams.form import read_exam

NAMES = {"substring": "50-character substrings", "ngram": "13-grams"}


def contamination(arguments: argparse.Namespace) -> int:
    """``foretell contamination index`` and ``check``."""
    return _index(arguments) if arguments.what == "index" else _check(arguments)


def _index(arguments: argparse.Namespace) -> int:
    from foretell.data.overlap.build import build_index

    summary = build_index(arguments.paths, Path(arguments.out), arguments.text_field)
    out.print(
        f"{arguments.out}: {summary['documents']:,} documents of {summary['files']:,} files, "
        f"{summary['text_bytes'] / 1e6:,.0f} MB of words in {summary['segments']} segments; "
        f"{summary['bytes'] / 1e6:,.0f} MB on disk, {duration(summary['seconds'])}"
    )
    if summary["files_without_text"]:
        say(f"{summary['files_without_text']:,} files hold no text and were left out", "yellow")
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from foretell.data.overlap.build import open_index

    methods = tuple(METHODS) if arguments.method == "both" else (arguments.method,)
    if arguments.output:
        _require_output(Path(arguments.output))
    items = _items(arguments)
    scores = read_scores(Path(arguments.scores)) if arguments.scores else None
    index = open_index(Path(arguments.index))
    if not arguments.no_verify:
        index.verify()
    verdicts = check_items(index, items, methods, arguments.seed)
    if arguments.output:
        write_verdicts(Path(arguments.output), verdicts)
    split = split_scores(scores, verdicts, methods) if scores is not None else []
    counts = [_counts(task, verdicts, methods) for task in dict.fromkeys(item.task for item in items)]
    if arguments.json:
        record = {"index": arguments.index, "seed": arguments.seed, "tasks": counts,
                  "scores": [row.record() for row in split]}  # fmt: skip
        print(json.dumps(record, ensure_ascii=False))
        return 0
    _print_counts(counts, methods)
    if split:
        _print_scores(split)
    return 0


def _require_output(path: Path) -> None:
    """See before anything is looked for that the verdicts can be written."""
    if path.suffix not in SUFFIXES:
        raise UserError(f"--output is '{path}'; a name that ends in {' or '.join(SUFFIXES)} is expected.")
    if path.is_dir():
        raise UserError(f"--output is '{path}', which is a folder; a file is expected.")
    require_writable(path.parent)


def _items(arguments: argparse.Namespace) -> list[ItemText]:
    """Of a .jsonl file, an exam's file, or a task of the registry."""
    path = Path(arguments.items)
    suffix = inner_suffix(path)
    if suffix == ".json" or (suffix in (".yaml", ".yml") and "sections" in read_yaml(path, "file")):
        return exam_items(read_exam(path))
    if suffix == ".jsonl":
        return read_items(path, arguments.fields.split(",") if arguments.fields else ())
    from foretell.tasks.registry import find_task

    task = find_task(arguments.items)
    return task_items(task.name, task.load(Path(arguments.data_dir)).items)


def _counts(task: str, verdicts: Sequence[Verdict], methods: Sequence[str]) -> dict[str, Any]:
    own = [verdict for verdict in verdicts if verdict.task == task]
    found = {method: sum(verdict.by(method) is True for verdict in own) for method in methods}
    return {"task": task, "items": len(own), "contaminated": found, "no_text": sum(not v.characters for v in own)}


def _print_counts(counts: Sequence[dict[str, Any]], methods: Sequence[str]) -> None:
    table = _table("Contaminated items", "task", "items", *(NAMES[method] for method in methods), "no text")
    for row in counts:
        cells = [f"{row['contaminated'][m]:,} ({row['contaminated'][m] / row['items']:.1%})" for m in methods]
        table.add_row(row["task"], f"{row['items']:,}", *cells, f"{row['no_text']:,}")
    out.print(table)


def _print_scores(split: Sequence[SplitScore]) -> None:
    table = _table("Scores, % (standard error)", "task", "by", "all", "clean", "contaminated", "unknown", "headline")
    for row in split:
        table.add_row(
            row.task, NAMES[row.method], *(_cell(score) for score in (row.all, row.clean, row.contaminated)),
            f"{row.unknown:,}", "-" if row.headline is None else f"{row.headline:.1%}",
        )  # fmt: skip
    out.print(table)
    out.print("headline: the lower of the scores on all and on clean items (GPT-4 Technical Report, Appendix C)")


def _cell(score: Score) -> str:
    if score.mean is None:
        return "-"
    error = f" ({100 * score.stderr:.1f})" if score.stderr is not None else ""
    return f"{100 * score.mean:.1f}{error}, n={score.n:,}"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None)
    for column in columns:
        table.add_column(column, justify="right")
    return table
