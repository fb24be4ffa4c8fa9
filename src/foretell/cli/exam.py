"""``foretell exam``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from foretell.cli.output import out
from foretell.core.config import build
from foretell.core.errors import UserError
from foretell.core.files import require_writable, sha256_file, write_json
from foretell.core.progress import say
from foretell.core.tables import read_table
from foretell.evals.cache import AnswerCache, usual_place
from foretell.evals.exams.agreement import GradingConfig
from foretell.evals.exams.asking import ask_exam
from foretell.evals.exams.form import Exam, item_key, read_exam
from foretell.evals.exams.marking import ExamResponse, Key, Mark, mark_by_key, read_responses, sitter
from foretell.evals.exams.rubric import examine_grader, mark_by_model, read_labelled
from foretell.evals.exams.scoring import ExamScore, Result, contaminated_items, score_exam
from foretell.evals.exams.tables import find_table
from foretell.evals.opening import open_model


def exam(arguments: argparse.Namespace) -> int:
    """Ask if asked to, mark, score, print."""
    path = Path(arguments.exam)
    paper = read_exam(path)
    folder = Path(arguments.tables) if arguments.tables else None
    humans = {"": paper.human, **{section.name: section.human for section in paper.sections}}
    tables = {name: find_table(human, folder) for name, human in humans.items() if human is not None}
    if arguments.output:
        require_writable(Path(arguments.output).parent)
    contaminated, unknown = _contaminated(arguments, paper)
    responses = _responses(arguments, paper, path.parent)
    model = sitter(responses)
    marks = mark_by_key(paper, responses)
    agreement = None
    if len(marks) < len(responses):
        agreement, graded = _grade(arguments, paper, path.parent, responses, marks)
        marks |= graded
    score = score_exam(
        paper, marks, tables, contaminated=contaminated, unknown=unknown, level=arguments.level, seed=arguments.seed
    )
    record = {
        **score.record(), "exam_sha256": sha256_file(path), "source": paper.source, "year": paper.year,
        "seed": arguments.seed, "grader": agreement,
        "model": model, "responses_sha256": sha256_file(Path(arguments.responses)),
        "items": [_item(paper, key, marks[key]) for key in paper.item_keys],
    }  # fmt: skip
    if arguments.output:
        write_json(Path(arguments.output), record)
        say(f"written to {arguments.output}")
    if arguments.json:
        print(json.dumps(record, ensure_ascii=False))
    else:
        _print(score)
    return 0


def _contaminated(arguments: argparse.Namespace, paper: Exam) -> tuple[set[Key] | None, set[Key]]:
    """Items that are contaminated, None without verdicts; and those of which that is not known."""
    if not arguments.contaminated:
        return None, set()
    table = read_table(Path(arguments.contaminated))
    missing = next((name for name in ("task", "item", arguments.method) if name not in table.columns), None)
    if missing is not None:
        raise UserError(
            f"{table.path} has no column '{missing}'; the verdicts of foretell contamination check are expected."
        )
    rows = [(str(row["item"]), row[arguments.method]) for row in table.rows if row["task"] == paper.name]
    return contaminated_items(rows, paper, arguments.method)


def _responses(arguments: argparse.Namespace, paper: Exam, folder: Path) -> dict[Key, ExamResponse]:
    if not arguments.responses:
        raise UserError("--responses FILE.jsonl is needed: the answers, or with --model where they are to be written.")
    path = Path(arguments.responses)
    if not arguments.model:
        return read_responses(path, paper, blank_missing=arguments.blank_missing)
    model = open_model(arguments.model, arguments.served_name)
    return ask_exam(paper, folder, model, path, arguments.tokens)


def _grade(
    arguments: argparse.Namespace,
    paper: Exam,
    folder: Path,
    responses: Mapping[Key, ExamResponse],
    marks: Mapping[Key, Mark],
) -> tuple[dict[str, Any], dict[Key, Mark]]:
    if not arguments.grader or not arguments.labelled:
        raise UserError(
            f"{len(responses) - len(marks)} free responses have no score; give their rows a score, or --grader M "
            "with --labelled FILE.jsonl, responses that people have graded."
        )
    config = build(GradingConfig, {"measure": arguments.agreement, "least": arguments.least_agreement,
                                   "level": arguments.level, "seed": arguments.seed})  # fmt: skip
    grader = open_model(arguments.grader, arguments.grader_name)
    labelled = read_labelled(Path(arguments.labelled))
    place = Path(arguments.cache) if arguments.cache else usual_place()
    with AnswerCache(None if arguments.no_cache else place) as cache:
        agreement = examine_grader(grader, labelled, config, cache)
        say(agreement.sentence())
        return agreement.record(), mark_by_model(paper, folder, responses, marks, grader, cache)


def _item(paper: Exam, key: Key, mark: Mark) -> dict[str, Any]:
    return {"task": paper.name, "item": item_key(*key), "correct": mark.share or 0.0, "blank": mark.share is None,
            "understood": mark.understood, "by": mark.by}  # fmt: skip


def _print(score: ExamScore) -> None:
    table = Table(title=f"{score.name} ({score.level:.0%} intervals)", title_justify="left", box=None)
    for column in ("", "items", "raw", "of", "score", "interval", "percentile", "interval"):
        table.add_column(column, justify="right")
    for result in score.all.sections:
        _row(table, result, result.name)
    _row(table, score.all.exam, "exam, all items")
    if score.clean is not None and (score.contaminated or score.unknown):
        _row(table, score.clean.exam, "exam, clean items")
    out.print(table)
    if score.contaminated is None:
        out.print("contamination: not known (--contaminated); the headline is the score on all items")
    else:
        unknown = f", {score.unknown} not known" if score.unknown else ""
        out.print(f"contamination: {score.contaminated} items{unknown}; the headline is the lower score")
    headline = score.clean.exam if score.headline == "clean" and score.clean else score.all.exam
    where = ""
    if headline.percentile is not None:
        people = headline.percentile
        tied = f"those with this score: {people.value:.1f} to {people.upper:.1f}"
        where = f", percentile {people.value:.1f} ({tied}) of {people.year}"
        out.print(f"people: {people.table}, {people.source}")
    out.print(f"headline: {headline.scaled:g}{where}")
    for note in score.notes:
        say(note, "yellow")


def _row(table: Table, result: Result, name: str) -> None:
    people = result.percentile
    interval = f"{result.interval[0]:.4g} to {result.interval[1]:.4g}"
    cells = [f"{result.raw:.4g}", f"{result.most:.4g}", f"{result.scaled:.4g}", interval]
    if people is None:
        cells += ["-", "-"]
    else:
        cells.append(f"{people.value:.1f} to {people.upper:.1f}")
        cells.append(f"{people.interval[0]:.1f} to {people.interval[1]:.1f}")
    table.add_row(name, str(result.items), *cells)
