"""``foretell eval``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from foretell.cli.output import out
from foretell.core.errors import UserError
from foretell.core.progress import say
from foretell.core.wording import listed, plural

if TYPE_CHECKING:
    from foretell.evals.asking import Asking
    from foretell.tasks.task import Task


def eval(arguments: argparse.Namespace) -> int:
    """Evaluate, compare or list."""
    if arguments.list:
        return _list(arguments)
    if not arguments.tasks and not (arguments.compare and arguments.out):
        raise UserError("eval: --tasks is missing; names of tasks are expected (foretell eval --list lists them).")
    if not arguments.out:
        raise UserError("eval: --out is missing; a folder for the results is expected.")
    from foretell.tasks.registry import find_tasks

    folder, names = Path(arguments.out), _names(arguments.tasks)
    if names:
        tasks = find_tasks(names)
        if arguments.compare:
            _require_comparable(Path(arguments.compare), tasks)
        results = _evaluate(arguments, tasks, folder)
        _print_results(results)
    compared = list(results) if names else None
    if arguments.compare:
        _compare(folder, Path(arguments.compare), compared)
    from foretell.report.evals_page import write_evals_report

    out.print(str(write_evals_report(folder, Path(arguments.compare) if arguments.compare else None, compared)))
    return 0


def _names(given: str | None) -> list[str]:
    return [name.strip() for name in (given or "").split(",") if name.strip()]


def _require_comparable(folder: Path, tasks: Sequence[Task]) -> None:
    """See before anything is asked that a folder holds results of these tasks, scored as they are now."""
    from foretell.evals.records import read_items, read_results

    results = read_results(folder)
    read_items(folder)
    missing = [task.name for task in tasks if task.name not in results]
    if missing:
        raise UserError(f"{folder} has no results of {listed(missing)}; it has {listed(sorted(results) or ['none'])}.")
    for task in tasks:
        for field in ("version", "metric"):
            there, now = results[task.name][field], getattr(task, field)
            if there != now:
                raise UserError(
                    f"{folder} has {task.name} by {field} {there!r}, and it is scored by {now!r} now; results of one "
                    f"{field} can be compared."
                )


def _evaluate(arguments: argparse.Namespace, tasks: Sequence[Task], folder: Path) -> dict[str, Any]:
    from foretell.evals.asking import Asking
    from foretell.evals.cache import AnswerCache, usual_place
    from foretell.evals.opening import open_model
    from foretell.evals.run import evaluate
    from foretell.tasks.code.grading import GRADER

    asking = Asking(
        shots=arguments.shots, chat=arguments.chat, samples=arguments.samples, temperature=arguments.temperature,
        seed=arguments.seed, limit=arguments.limit,
    )  # fmt: skip
    data = Path(arguments.data_dir)
    if not data.is_dir():
        raise UserError(f"--data-dir is {arguments.data_dir!r}; a folder with the tasks' data is expected.")
    _announce(tasks, asking)
    GRADER.unsafe = arguments.unsafe_code
    model = open_model(arguments.model, arguments.served_name, arguments.bos)
    place = Path(arguments.cache) if arguments.cache else usual_place()
    with AnswerCache(None if arguments.no_cache else place) as cache:
        found = evaluate(tasks, model, data, asking, cache, folder)
    if model.cut:
        say(f"{model.cut:,} prompts were longer than the model's context and lost their beginning.", "yellow")
    return {one.task: one.result for one in found}


def _announce(tasks: Sequence[Task], asking: Asking) -> None:
    if asking.samples > 1 and all(task.kind == "choice" for task in tasks):
        say("--samples has no effect: the options of these tasks are compared, nothing is generated.", "yellow")


def _print_results(results: Mapping[str, Any]) -> None:
    table = _table("task", "metric", "score", "± 95 %", "items", "shots", "version")
    for name, entry in results.items():
        for metric in (entry["metric"], *(one for one in entry["metrics"] if one != entry["metric"])):
            score = entry["metrics"][metric]
            first = metric == entry["metric"]
            table.add_row(
                name if first else "", metric, f"{100 * score['value']:.2f}", _error(score["stderr"]),
                f"{score['n']:,}", str(entry["shots"]) if first else "", str(entry["version"]) if first else "",
            )  # fmt: skip
    out.print(table)


def _error(stderr: float | None) -> str:
    return "-" if stderr is None else f"{196 * stderr:.2f}"


def _compare(second: Path, first: Path, tasks: Sequence[str] | None) -> None:
    from foretell.evals.compare import compare_folders

    names = [folder.resolve().name for folder in (first, second)]
    columns = names if names[0] != names[1] else ["first", "second"]
    table = _table("task", "metric", *columns, "difference", "± 95 %", "better", "worse", "p")
    found = compare_folders(first, second, tasks)
    for one in found:
        table.add_row(
            one.task, one.metric, f"{100 * one.first:.2f}", f"{100 * one.second:.2f}", f"{100 * one.difference:+.2f}",
            _error(one.stderr), str(one.better), str(one.worse), f"{one.p:.2g}",
        )  # fmt: skip
    out.print(table)
    for one in found:
        for note in one.notes:
            say(note, "yellow")


def _list(arguments: argparse.Namespace) -> int:
    from foretell.tasks.registry import list_tasks

    data = Path(arguments.data_dir) if arguments.data_dir != "." else None
    table = _table("task", "answers", "metric", "items here", "source")
    entries = list_tasks(data)
    for entry in entries:
        parts = f" ({plural(len(entry.parts), 'part')})" if entry.parts else ""
        count = "" if data is None else "-" if entry.items is None else f"{entry.items:,}"
        count = "damaged" if entry.damage else count
        table.add_row(f"{entry.name}{parts}", entry.kind, entry.metric, count, entry.source)
    out.print(table)
    for entry in entries:
        if entry.damage:
            say(f"{entry.name}: {entry.damage}", "yellow")
    return 0


def _table(*columns: str) -> Table:
    table = Table(box=None)
    words = ("task", "metric", "answers", "source")
    for column in columns:
        table.add_column(column, justify="left" if column in words else "right", overflow="fold")
    return table
