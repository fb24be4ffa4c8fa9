"""Percentiles of people: the share that scored lower, and the range that people with the same score share.

The report's convention (GPT-4 Technical Report, Table 1 and Appendix A.6): where people with one score cover a range of
percentiles, the lower end is the percentile.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from foretell.core.errors import UserError
from foretell.core.files import read_json
from foretell.core.tables import read_table
from foretell.evals.exams.form import Human

LSAT_FILE, AP_FILE, OTHER_FILE = (
    "lsat_percentiles.json",
    "ap_score_distributions.csv",
    "other_percentiles_from_web.json",
)
GRE_RECENT, GRE_OLDER = "gre_general_2015_07_to_2018_06_cross_section", "gre_general_2011_08_to_2013_04"


@dataclass(frozen=True)
class PercentileTable:
    """Percentages of people who scored lower than each listed score.

    Attributes:
        scores: rising.
        below: percentage, 0 to 100, that scored lower than each; never falling.
        name: which table it is.
        source: where it is published.
        year: of the people, in words where they are of several years.
    """

    scores: tuple[float, ...]
    below: tuple[float, ...]
    name: str
    source: str
    year: str

    def range_of(self, scores: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Lower and upper end of the percentile of each score, in percent.

        The lower end is what is sure to have scored lower: the table's figure of the highest listed score that is not
        above it, 0 below all of them. The upper end is that of the next listed score, 100 above all of them: nobody who
        scored that much or more shares the score.
        """
        place = np.searchsorted(self.scores, np.asarray(scores, float) + 1e-9, "right")
        padded = np.array([0.0, *self.below, 100.0])
        return padded[place], padded[place + 1]


def make_table(rows: Sequence[tuple[float, float]], *, name: str, source: str, year: str) -> PercentileTable:
    """A table from rows (score, percentage below) in any order.

    Raises:
        UserError: where a score is there twice, a percentage is not one, or percentages fall as scores rise.
    """
    ordered = sorted(rows)
    scores, below = [row[0] for row in ordered], [row[1] for row in ordered]
    if not ordered:
        raise UserError(f"The table {name} has no rows.")
    for (first, lower), (second, higher) in pairwise(ordered):
        if first == second or lower > higher:
            why = "is there twice" if first == second else f"has {higher:g} % below it and {first:g} has {lower:g} %"
            raise UserError(f"The table {name} is no table of percentiles: the score {second:g} {why}.")
    if not all(0 <= value <= 100 for value in below):
        raise UserError(f"The table {name} has a percentage outside 0 to 100.")
    return PercentileTable(tuple(scores), tuple(below), name, source, year)


def from_shares(shares: Mapping[float, float], *, name: str, source: str, year: str) -> PercentileTable:
    """A table from the share of people at every score; shares are rounded ones and need not sum to one."""
    total, running, rows = sum(shares.values()), 0.0, []
    for score in sorted(shares):
        rows.append((score, 100.0 * running / total))
        running += shares[score]
    return make_table(rows, name=name, source=source, year=year)


def find_table(human: Human, folder: Path | None) -> PercentileTable:
    """The table that an exam names, or its own rows.

    Args:
        human: of an exam or a section.
        folder: of the known tables' files.

    Raises:
        UserError: where the folder or a file is missing, a form is unknown, or rows are no percentiles.
    """
    if human.shares:
        return from_shares(human.shares, name="shares", source=human.source, year=str(human.year))
    if human.below:
        return make_table(human.below, name="below", source=human.source, year=str(human.year))
    if folder is None:
        raise UserError(f"The percentiles are those of the table '{human.table}'; its folder is needed: --tables DIR.")
    readers = {"lsat": _lsat, "ap": _ap, "gre": _gre, "ube": _ube, "amc": _amc}
    reader = readers[human.table or ""]
    try:
        return reader(folder, human.form)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise UserError(
            f"The table '{human.table}' in {folder} is not of the form that is known ({error!r})."
        ) from error


def _lsat(folder: Path, form: str | None) -> PercentileTable:
    """Forms are periods such as ``2010_to_2013``."""
    content = read_json(folder / LSAT_FILE)
    periods = {name.removeprefix("lsat_curve_"): rows for name, rows in content.items()}
    period = _chosen("lsat", form or max(periods), periods)
    rows = [(float(row["equated_score"]), float(row["percentile"])) for row in periods[period]]
    return make_table(rows, name=f"lsat {period}", source="LSAC, by github.com/s2t2/lsat-curve",
                      year=period.replace("_", " "))  # fmt: skip


def _ap(folder: Path, form: str | None) -> PercentileTable:
    """Forms are an exam and a year, ``Calculus BC 2022``, or an exam, of which the latest year is taken."""
    exams: dict[str, tuple[dict[float, float], str]] = {}
    for row in sorted(read_table(folder / AP_FILE).rows, key=lambda row: int(row["Year"])):
        entry = {float(score): float(row[str(score)]) for score in range(1, 6)}, str(row["Year"])
        exams[f"{row['Exam']} {row['Year']}"] = exams[row["Exam"]] = entry
    if form is None:
        raise UserError("The table 'ap' needs a form, such as 'Calculus BC 2022' or 'Biology'.")
    name = _chosen("ap", form.removeprefix("AP ") if form not in exams else form, exams)
    shares, year = exams[name]
    return from_shares(shares, name=f"ap {name}", year=year,
                       source="College Board, by github.com/brehartfiel/ap-score-distributions")  # fmt: skip


def _gre(folder: Path, form: str | None) -> PercentileTable:
    """Forms are ``verbal``, ``quant`` and ``writing`` (2015 to 2018), ``verbal 2011``, ``quant 2011``."""
    content = read_json(folder / OTHER_FILE)
    forms = {name: (content[GRE_RECENT][name], GRE_RECENT) for name in ("verbal", "quant", "writing")}
    for column, name in enumerate(("verbal", "quant"), 1):
        rows = [[row[0], row[column]] for row in content[GRE_OLDER]["rows"]]
        forms[f"{name} 2011"] = (rows, GRE_OLDER)
    if form is None:
        raise UserError(f"The table 'gre' needs a form: {', '.join(forms)}.")
    rows, key = forms[_chosen("gre", form, forms)]
    year = key.removeprefix("gre_general_").removesuffix("_cross_section").replace("_", " ")
    return make_table([(float(a), float(b)) for a, b in rows], name=f"gre {form}",
                      source=content[key]["source"], year=year)  # fmt: skip


def _ube(folder: Path, form: str | None) -> PercentileTable:
    content = read_json(folder / OTHER_FILE)["ube_total_feb_2018_approx"]
    _chosen("ube", form or "2018", {"2018": content})
    rows = [(float(score), float(below)) for score, below in content["rows"]]
    return make_table(rows, name="ube total (approximate)", source=content["source"],
                      year="2018 (February)")  # fmt: skip


def _amc(folder: Path, form: str | None) -> PercentileTable:
    """Forms are an exam and a year, ``AMC12A 2021 Fall``: the score that invites its share of the best to the AIME."""
    content = read_json(folder / OTHER_FILE)["amc"]
    cutoffs, invited = content["aime_cutoffs"], content["aime_invitation_share"]
    forms = {f"{exam} {row[0]}": float(row[place]) for row in cutoffs["rows"]
             for place, exam in enumerate(cutoffs["columns"]) if place}  # fmt: skip
    if form is None:
        raise UserError("The table 'amc' needs a form, such as 'AMC12A 2021 Fall'.")
    name = _chosen("amc", form, forms)
    share = float(str(invited[name[:5]]).removeprefix("top ").removesuffix("%"))
    return make_table([(forms[name], 100.0 - share)], name=f"amc {name} (AIME's cut-off)",
                      source=content["source"], year=name.partition(" ")[2])  # fmt: skip


def _chosen(table: str, form: str, forms: Mapping[str, Any]) -> str:
    if form in forms:
        return form
    near = difflib.get_close_matches(form, list(forms), n=3, cutoff=0.4) or list(forms)[:5]
    raise UserError(f"The table '{table}' has no form '{form}'; nearest: {', '.join(near)}.")
