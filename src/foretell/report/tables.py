"""The tables of a report: rows of ready cells from records, which the template only has to set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from foretell.report.findings import target_flops, total, unfinished_rungs
from foretell.report.records import Record, Run
from foretell.report.wording import (
    bits,
    energy,
    fraction,
    moment,
    percent,
    plain,
    rate,
    scientific,
    seconds,
    short,
    size,
    whole,
)


@dataclass(frozen=True)
class Cell:
    """One cell: ``text`` is ``None`` for what was not recorded; ``href`` makes a link of it."""

    text: str | None
    href: str | None = None
    missing: str = "not recorded"


@dataclass(frozen=True)
class Table:
    """A table; ``columns`` are headers, those in ``numeric`` are set flush right."""

    caption: str
    columns: tuple[str, ...]
    rows: list[list[Cell]] = field(default_factory=list)
    numeric: frozenset[str] = frozenset()

    @property
    def narrow(self) -> bool:
        """Whether this is a list of names and values, which should not be drawn apart."""
        return len(self.columns) <= 3


def cell(value: float | None, form: Callable[[float | None], str]) -> Cell:
    """A cell of a number in the given form."""
    return Cell(None if value is None else form(value))


def make_table(caption: str, columns: Mapping[str, bool], rows: list[list[Cell]]) -> Table:
    """A table of ``columns``, each with whether it holds numbers."""
    return Table(caption, tuple(columns), rows, frozenset(name for name, numeric in columns.items() if numeric))


def relative_link(path: str) -> str:
    """A link to a file of the run directory, safe for any folder name."""
    return "./" + quote(path)


def settings_table(caption: str, settings: Any) -> Table:
    """A nested mapping as dotted keys and values."""
    rows = [[Cell(key), Cell(value, missing="none")] for key, value in _flat(settings)]
    return make_table(caption, {"setting": False, "value": False}, rows)


def _flat(value: Any, prefix: str = "") -> list[tuple[str, str | None]]:
    if isinstance(value, Mapping):
        return [
            pair for key, inner in value.items() for pair in _flat(inner, f"{prefix}.{key}" if prefix else str(key))
        ]
    if isinstance(value, list):
        return [(prefix, ", ".join(_scalar(item) for item in value) or "none")]
    return [(prefix, None if value is None else _scalar(value))]


def _scalar(value: Any) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {_scalar(inner)}" for key, inner in value.items() if inner is not None)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def environment_table(run: Run) -> Table:
    """Machine and software; figures that need a unit get it."""
    shown = dict(run.environment.data)
    for key, form in (("memory_bytes", size), ("matmul_peak", rate)):
        if (value := run.environment.number(key)) is not None:
            shown[key] = form(value)
    return settings_table("Machine and software", shown)


def architecture_table(run: Run) -> Table:
    """Shape and size of the target, parameters in the three conventions."""
    shape = run.plan.record("target")
    parameters = run.target.record("parameters") or shape.record("parameters")
    names = {"width": "width", "depth": "layers", "heads": "attention heads", "kv_heads": "key and value heads",
             "head_dim": "head dimension", "ffn_width": "feed-forward width", "context": "context, tokens",
             "vocab_size": "vocabulary, tokens"}  # fmt: skip
    rows = [[Cell(name), cell(shape.number(key), whole)] for key, name in names.items()]
    conventions = {"total": "parameters, all", "non_embedding": "parameters without embedding and output layer",
                   "with_head": "parameters without embedding (N of 6ND)"}  # fmt: skip
    rows += [[Cell(name), cell(parameters.number(key), whole)] for key, name in conventions.items()]
    rows += [
        [Cell("training tokens"), cell(run.target.number("tokens") or shape.number("tokens"), whole)],
        [Cell("training compute, FLOPs"), cell(target_flops(run), scientific)],
        [Cell("steps"), cell(run.target.number("steps") or shape.number("steps"), whole)],
        [Cell("rows in a batch"), cell(shape.number("batch_rows"), whole)],
        [Cell("peak learning rate"), cell(run.target.number("learning_rate") or shape.number("learning_rate"), plain)],
    ]
    return make_table("The target model", {"property": False, "value": True}, rows)


RUN_COLUMNS = {"run": False, "parameters": True, "tokens": True, "FLOPs": True, "of target": True,
               "learning rate": True, "bits/byte": True, "bits/word": True, "time": True, "tokens/s": True,
               "of peak": True}  # fmt: skip


def ladder_table(run: Run) -> Table:
    """Every rung and seed, finished or planned, and the target at the end."""
    flops = target_flops(run)
    rows = [_result_row(result, flops) for result in run.rungs()]
    rows += [_pending_row(rung, seed, flops) for rung, seed in unfinished_rungs(run)]
    if run.target:
        rows.append(_result_row(run.target, flops))
    return make_table("Every rung and seed, and the target", RUN_COLUMNS, rows)


def tuning_table(run: Run) -> Table:
    """The ladder's runs that are no rungs: those that searched for the learning rate."""
    rows = [_result_row(result, target_flops(run)) for result in run.ladder if result.get("role") != "rung"]
    return make_table(f"All {len(rows)} tuning runs", RUN_COLUMNS, rows)


def _share(flops: float | None, target: float | None) -> Cell:
    return cell(flops / target if flops is not None and target else None, fraction)


def _result_row(result: Record, target: float | None) -> list[Cell]:
    role = result.text("role")
    name = _run_name(result.number("width"), result.number("seed"))
    unmeasured = "diverged" if result.get("diverged") else "not recorded"
    per_byte, per_word = (
        Cell(None if (loss := result.number(f"heldout.bits_per_{unit}")) is None else bits(loss), missing=unmeasured)
        for unit in ("byte", "word")
    )
    return [
        Cell("target" if role == "target" else name, relative_link(result.path)),
        cell(result.number("parameters.total"), short),
        cell(result.number("tokens"), short),
        cell(result.number("flops"), scientific),
        _share(result.number("flops"), target) if role != "target" else Cell("1"),
        cell(result.number("learning_rate"), plain),
        per_byte,
        per_word,
        cell(result.number("seconds"), seconds),
        cell(result.number("tokens_per_second"), whole),
        cell(result.number("peak_share"), percent),
    ]


def _run_name(width: float | None, seed: float | None) -> str:
    return f"width {whole(width)}, seed {plain(seed)}"


def _pending_row(rung: Record, seed: int, target: float | None) -> list[Cell]:
    planned = [
        Cell(f"planned: {_run_name(rung.number('width'), seed)}"),
        cell(rung.number("parameters.total"), short),
        cell(rung.number("tokens"), short),
        cell(rung.number("flops"), scientific),
        _share(rung.number("flops"), target),
        cell(rung.number("learning_rate"), plain),
    ]
    return planned + [Cell(None, missing="not yet")] * 5


def compute_table(run: Run) -> Table:
    """Compute, time and energy of tuning, rungs and target."""
    columns = {"part": False, "runs": True, "FLOPs": True, "share of target": True, "time, summed": True,
               "energy": True}  # fmt: skip
    target = target_flops(run)
    groups = {
        "tuning": [result for result in run.ladder if result.get("role") == "tuning"],
        "rungs": run.rungs(),
        "target": [run.target] if run.target else [],
    }
    rows = []
    for name, results in groups.items():
        flops = total(results, "flops")
        rows.append([
            Cell(name),
            Cell(str(len(results))),
            cell(flops, scientific),
            cell(flops / target if flops is not None and target else None, percent),
            cell(total(results, "seconds"), seconds),
            cell(total(results, "joules"), energy),
        ])  # fmt: skip
    return make_table("Compute, time and energy", columns, rows)


def rates_table(run: Run) -> Table:
    """How fast the target trained, against the machine's measured limit."""
    rows = [
        [Cell("tokens per second"), cell(run.target.number("tokens_per_second"), whole)],
        [Cell("arithmetic rate"), cell(run.target.number("flops_per_second"), rate)],
        [Cell("measured matrix-product rate"), cell(run.environment.number("matmul_peak"), rate)],
        [Cell("share of that rate"), cell(run.target.number("peak_share"), percent)],
    ]
    return make_table("Speed of the target", {"figure": False, "value": True}, rows)


def law_table(run: Run) -> Table:
    """The constants of the fitted law with their intervals."""
    law = run.forecast.record("forecast.law")
    rows = []
    for name in ("a", "b", "c", "seed_noise"):
        value = law.get(name)
        fitted = law.record(name) if isinstance(value, Mapping) else Record(law.path, {"median": law.number(name)})
        rows.append([Cell(name.replace("_", " ")), *_estimate(fitted)])
    return make_table("Constants of the law", {"constant": False, "median": True, "low": True, "high": True}, rows)


def references_table(run: Run) -> Table:
    """The runs on other corpora by which the target was foretold, and how well each was by the others."""
    columns = {"corpus": False, "nats a token": True, "foretold by the others": True, "error": True}
    rows = []
    for reference in run.forecast.record("forecast.references").records("corpora"):
        loss, foretold = reference.number("loss"), reference.number("foretold")
        error = loss / foretold - 1 if loss and foretold else None
        rows.append([Cell(reference.text("name")), cell(loss, bits), cell(foretold, bits), cell(error, percent)])
    return make_table("References", columns, rows)


def _estimate(fitted: Record) -> list[Cell]:
    """Median and interval; a constant may have been fixed, and then has no interval."""
    low, high = (
        Cell(None if (bound := fitted.number(key)) is None else plain(bound), missing="–") for key in ("low", "high")
    )
    return [cell(fitted.number("median"), plain), low, high]


def residuals_table(run: Run) -> Table:
    """The rungs as the law saw them, with what it leaves unexplained."""
    columns = {"rung": False, "FLOPs": True, "of target": True, "seeds": True, "bits/byte": True,
               "standard error": True, "residual of ln(loss)": True}  # fmt: skip
    target = target_flops(run)
    rows = [
        [
            Cell(rung.text("label")),
            cell(rung.number("flops"), scientific),
            _share(rung.number("flops"), target),
            Cell(_seeds(rung.get("seeds"))),
            cell(rung.number("mean_loss"), bits),
            cell(rung.number("standard_error"), plain),
            cell(rung.number("residual"), plain),
        ]
        for rung in run.forecast.record("forecast").records("rungs")
    ]
    return make_table("The rungs as the law was fitted to them", columns, rows)


def _seeds(seeds: Any) -> str | None:
    """How many seeds, whether they were counted or listed."""
    return str(len(seeds)) if isinstance(seeds, list) else None if seeds is None else str(seeds)


def stages_table(run: Run) -> Table:
    """The stages of the run in order, with their times."""
    rows = []
    for record in run.timeline:
        if record.get("kind") == "interrupted":
            rows.append([Cell(moment(record.number("time"))), Cell("interrupted"), Cell(None, missing="–"), Cell("–")])
        elif record.get("kind") == "stage":
            name, status = record.text("name"), record.text("status")
            rows.append(
                [Cell(moment(record.number("time"))), Cell(name), cell(record.number("seconds"), seconds), Cell(status)]
            )
    return make_table("Stages", {"recorded at": False, "stage": False, "time": True, "status": False}, rows)
