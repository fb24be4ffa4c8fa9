"""From marks to section scores, scaled scores and percentiles, each with an interval.

Sampling error is that of the questions: another form of the exam would have had others. Items are drawn again with
replacement within each section (bootstrap, Efron 1979), scored by the same rules and scales, and looked up in the same
table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foretell.core.errors import UserError
from foretell.evals.exams.form import Exam, Rule, Scale, Section, item_key
from foretell.evals.exams.marking import Key, Mark
from foretell.evals.exams.tables import PercentileTable

Values = NDArray[np.float64]
RESAMPLES = 10_000
AT_ONCE = 1_000  # resamples whose items are in memory together
ROUNDING = 1e-9
ALIKE = "All {} of '{}' were marked alike; the interval cannot show its sampling error."


@dataclass(frozen=True)
class Percentile:
    """Where a score stands among people, in percent.

    Attributes:
        value: the share that scored lower: the lower end of the range that people with this score cover.
        upper: the upper end of that range.
        interval: from the lower ends to the upper ends of the scores that sampling error allows.
        table, source, year: of the people.
    """

    value: float
    upper: float
    interval: tuple[float, float]
    table: str
    source: str
    year: str


@dataclass(frozen=True)
class Result:
    """A section's or an exam's score: raw, as it is reported, and its percentile where there is a table."""

    name: str
    items: int
    raw: float
    most: float
    scaled: float
    interval: tuple[float, float]
    percentile: Percentile | None


@dataclass(frozen=True)
class Sitting:
    """An exam with one set of items: all, or those that are not contaminated."""

    exam: Result
    sections: tuple[Result, ...]


@dataclass(frozen=True)
class ExamScore:
    """An exam's outcome.

    Attributes:
        all: over all items.
        clean: over the items that are known not to be contaminated, each section's raw score extended to its full
            length; None where nothing is known about contamination or a section has no clean item.
        contaminated: how many items are.
        unknown: how many were looked for and have no verdict; they are in neither number and not among the clean.
        notes: sentences about what the figures cannot show.
    """

    name: str
    level: float
    all: Sitting
    clean: Sitting | None
    contaminated: int | None
    unknown: int | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def headline(self) -> str:
        """``all`` or ``clean``: which has the lower score (GPT-4 Technical Report, section 4)."""
        return "clean" if self.clean is not None and self.clean.exam.scaled < self.all.exam.scaled else "all"

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "headline": self.headline}


def worth(rule: Rule, mark: Mark, free: bool) -> float:
    """What a mark gives for an item of weight 1. A free response is not penalised: it has its share of ``right``."""
    if mark.share is None:
        return rule.blank
    return rule.right * mark.share if free else rule.wrong + (rule.right - rule.wrong) * mark.share


def scale_scores(scale: Scale | None, raw: Values) -> Values:
    """Scaled scores of raw ones, of any shape."""
    if scale is None:
        return raw
    if scale.table:
        raws, scaled = (np.array([row[part] for row in scale.table]) for part in (0, 1))
        # below the table the lowest row is what can be said
        result = scaled[np.maximum(np.searchsorted(raws, raw + ROUNDING, "right") - 1, 0)]
    else:
        result = scale.slope * raw + scale.intercept
    if scale.step:
        result = np.floor(result / scale.step + 0.5 + ROUNDING) * scale.step  # halves up, as testing bodies do
    return np.clip(result, scale.least, scale.most) if (scale.least, scale.most) != (None, None) else result


def score_exam(
    exam: Exam,
    marks: Mapping[Key, Mark],
    tables: Mapping[str, PercentileTable],
    *,
    contaminated: Set[Key] | None = None,
    unknown: Set[Key] = frozenset(),
    level: float = 0.9,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> ExamScore:
    """Score an exam.

    Args:
        exam: that was sat.
        marks: of every item.
        tables: percentiles of people by section name, and of the whole exam by "".
        contaminated: items that are in the model's training corpus; None where that is not known.
        unknown: items without a verdict, where the others have one.
        level: probability of the intervals, 0.5 to 0.999.
        resamples: of the bootstrap.
        seed: of it.

    Raises:
        UserError: where a mark is missing or an argument is out of range.
    """
    if not 0.5 <= level <= 0.999:
        raise UserError(f"level is {level}; a number from 0.5 to 0.999 is expected.")
    missing = [item_key(*key) for key in exam.item_keys if key not in marks]
    if missing:
        raise UserError(
            f"The item '{missing[0]}' has no mark ({len(missing)} of {len(exam.item_keys)} items have none)."
        )
    alike = _alike(exam, marks, frozenset())
    notes = [ALIKE.format("items", name) for name in alike]
    everything = _sit(exam, marks, tables, frozenset(), level, resamples, seed)
    if contaminated is None:
        return ExamScore(exam.name, level, everything, None, None, notes=tuple(notes))
    without = set(contaminated) | unknown
    clean: Sitting | None = everything
    said = _unscorable(exam, without, unknown)
    if said is not None:
        clean = None
    elif without:
        clean = _sit(exam, marks, tables, without, level, resamples, seed)
        notes += [ALIKE.format("clean items", name) for name in _alike(exam, marks, without) if name not in alike]
    lacking = [item_key(*key) for key in exam.item_keys if key in unknown]
    if lacking:
        notes.append(
            f"Whether {len(lacking)} of {len(exam.item_keys)} items are contaminated is not known, such as "
            f"'{lacking[0]}' (nothing in it to compare); they do not count as clean."
        )
    found = sum(key in contaminated for key in exam.item_keys)
    notes += [said] if said else []
    return ExamScore(exam.name, level, everything, clean, found, len(lacking), tuple(notes))


def _unscorable(exam: Exam, without: Set[Key], unknown: Set[Key]) -> str | None:
    """Why there is no score on clean items, where there is none."""
    for section in exam.sections:
        keys = {(section.name, item.id) for item in section.items}
        if keys <= without:
            why = "contaminated or not known to be clean" if keys & unknown else "contaminated"
            return f"Every item of '{section.name}' is {why}: there is no score on clean items."
    return None


def _alike(exam: Exam, marks: Mapping[Key, Mark], without: Set[Key]) -> list[str]:
    """Sections whose items, of those that are scored, were all marked alike."""
    kept = {
        section.name: [n for n, item in enumerate(section.items) if (section.name, item.id) not in without]
        for section in exam.sections
    }
    return [s.name for s in exam.sections if len({_value(s, number, marks) for number in kept[s.name]}) == 1]


def _value(section: Section, number: int, marks: Mapping[Key, Mark]) -> float:
    item = section.items[number]
    return worth(section.rule, marks[section.name, item.id], item.rubric is not None)


def _sit(
    exam: Exam,
    marks: Mapping[Key, Mark],
    tables: Mapping[str, PercentileTable],
    without: Set[Key],
    level: float,
    resamples: int,
    seed: int,
) -> Sitting:
    generator = np.random.default_rng(seed)
    results, total = [], np.zeros(1 + resamples)
    for section in exam.sections:
        raw = _raw_scores(section, marks, without, resamples, generator, exam.clip)
        scaled = scale_scores(section.scale, raw)
        count = sum((section.name, item.id) not in without for item in section.items)
        most = section.rule.right * sum(item.counts for item in section.items)
        results.append(_result(section.name, count, raw, most, scaled, tables.get(section.name), level))
        total += section.weight * scaled
    best = sum(
        section.weight * float(scale_scores(section.scale, np.array([result.most]))[0])
        for section, result in zip(exam.sections, results, strict=True)
    )
    items = sum(result.items for result in results)
    whole = _result(exam.name, items, total, best, scale_scores(exam.scale, total), tables.get(""), level)
    return Sitting(whole, tuple(results))


def _raw_scores(
    section: Section,
    marks: Mapping[Key, Mark],
    without: Set[Key],
    resamples: int,
    generator: np.random.Generator,
    clip: bool,
) -> Values:
    """The raw score as it is, and ``resamples`` that other items of the kind would have given.

    Each is what the items gave for each unit of their weight, times the weight of the whole section.
    """
    numbers = [number for number, item in enumerate(section.items) if (section.name, item.id) not in without]
    weights = np.array([section.items[number].counts for number in numbers])
    given = weights * np.array([_value(section, number, marks) for number in numbers])
    rates = [np.array([given.sum() / weights.sum()])]
    for first in range(0, resamples, AT_ONCE):
        drawn = generator.integers(0, len(numbers), (min(AT_ONCE, resamples - first), len(numbers)))
        rates.append(given[drawn].sum(1) / weights[drawn].sum(1))
    raw = np.concatenate(rates) * sum(item.counts for item in section.items)
    return np.maximum(raw, 0.0) if clip else raw


def _result(
    name: str, items: int, raw: Values, most: float, scaled: Values, table: PercentileTable | None, level: float
) -> Result:
    return Result(
        name, items, float(raw[0]), float(most), float(scaled[0]), _interval(scaled[1:], scaled[1:], level),
        _percentile(table, scaled, level) if table is not None else None,
    )  # fmt: skip


def _percentile(table: PercentileTable, scaled: Values, level: float) -> Percentile:
    lower, upper = table.range_of(scaled)
    interval = _interval(lower[1:], upper[1:], level)
    # the tie range of the score itself belongs to the interval whatever the draws were
    interval = min(interval[0], float(lower[0])), max(interval[1], float(upper[0]))
    return Percentile(float(lower[0]), float(upper[0]), interval, table.name, table.source, table.year)


def _interval(lower: Values, upper: Values, level: float) -> tuple[float, float]:
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(lower, tail, method="lower"), np.quantile(upper, 1.0 - tail, method="higher")
    return float(low), float(high)


def contaminated_items(names: Sequence[tuple[str, Any]], exam: Exam, method: str) -> tuple[set[Key], set[Key]]:
    """Items that are contaminated, and items of which that is not known, from verdicts.

    Args:
        names: ``section/item``, and whether it is; None where there was nothing to compare.
        exam: whose items they are.
        method: whose verdicts they are.

    Raises:
        UserError: where an item of the exam has no verdict or all of them are None: what was not checked is not clean.
    """
    verdicts = dict(names)
    wrong = next((name for name, verdict in names if verdict not in (True, False, None)), None)
    if wrong is not None:
        raise UserError(f"The verdict on '{wrong}' is {verdicts[wrong]!r}; true, false or null is expected.")
    unknown = [item_key(*key) for key in exam.item_keys if item_key(*key) not in verdicts]
    if unknown:
        raise UserError(
            f"The verdicts say nothing about the item '{unknown[0]}' ({len(unknown)} of {len(exam.item_keys)} items); "
            "check the exam itself: foretell contamination check INDEX EXAM."
        )
    by_verdict: dict[bool | None, set[Key]] = {True: set(), False: set(), None: set()}
    for key in exam.item_keys:
        by_verdict[verdicts[item_key(*key)]].add(key)
    if len(by_verdict[None]) == len(exam.item_keys):
        raise UserError(
            f"The verdicts have no column of the method '{method}' filled; run check with --method {method}, or pass "
            "the --method that it was run with."
        )
    return by_verdict[True], by_verdict[None]
