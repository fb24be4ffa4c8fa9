"""Whether a model's confidence is right: reliability diagrams, expected calibration error, Brier score.

Confidence is the probability that a model gives an option, or what it says in words ("90 %"). GPT-4's report (figure 8)
draws the former for the options of MMLU before and after post-training.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from foretell.core.errors import UserError
from foretell.evals.records import ItemRecord

BINS = 10
DRAWS = 1000
LEVEL = 0.95
Of = Literal["options", "chosen"]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Confidences:
    """Statements with a confidence, and whether each was true.

    Attributes:
        probability: [N], 0 to 1.
        true: [N], 0 or 1.
        item: [N], the number of the item that each belongs to; items are what intervals are drawn over.
    """

    probability: Floats
    true: Floats
    item: NDArray[np.int64]

    def __post_init__(self) -> None:
        """Refuse what is no probability.

        Raises:
            UserError: naming the value, or where there is nothing.
        """
        if not len(self.probability):
            raise UserError("There is no confidence to calibrate: no item has options, or none says how sure it is.")
        wrong = self.probability[~((self.probability >= 0) & (self.probability <= 1))]
        if len(wrong):
            raise UserError(f"A confidence is {wrong[0]:g}; numbers from 0 to 1 are accepted.")


@dataclass(frozen=True)
class Bin:
    """Statements with a confidence between ``low`` and ``high``: their mean confidence, the share that was true and its
    interval (Wilson 1927), how many.
    """

    low: float
    high: float
    confidence: float
    true: float
    true_low: float
    true_high: float
    n: int


@dataclass(frozen=True)
class Calibration:
    """What the confidences of one model are worth.

    Attributes:
        bins: those that hold any, ascending.
        ece: expected calibration error (Naeini et al. 2015): mean distance of confidence and share over bins of equal
            width, by their numbers.
        ece_low, ece_high: bootstrap interval over items.
        brier: mean squared distance of confidence and truth (Brier 1950), with ``brier_low`` and ``brier_high``.
        n: statements; ``items``: of how many items.
        level: of the intervals.
    """

    bins: tuple[Bin, ...]
    ece: float
    ece_low: float
    ece_high: float
    brier: float
    brier_low: float
    brier_high: float
    n: int
    items: int
    level: float

    def record(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**vars(self), "bins": [vars(one) for one in self.bins]}


def option_confidences(rows: Sequence[ItemRecord], of: Of = "options") -> Confidences:
    """Probabilities of options, from their log-likelihoods taken as all there is (a softmax over an item's options).

    Args:
        rows: of ``items.parquet``; those without options are left out.
        of: every option with whether it is right, as in GPT-4's report; or the chosen one alone.

    Raises:
        UserError: where no row has options.
    """
    probability: list[float] = []
    true: list[float] = []
    items: list[int] = []
    for number, row in enumerate(row for row in rows if row.loglikelihoods):
        shares = _softmax(np.asarray(row.loglikelihoods))
        places = range(len(shares)) if of == "options" else [int(shares.argmax())]
        for place in places:
            probability.append(float(shares[place]))
            true.append(float(str(place) in row.gold))
            items.append(number)
    return Confidences(np.asarray(probability), np.asarray(true), np.asarray(items, np.int64))


def verbal_confidences(rows: Sequence[ItemRecord]) -> Confidences:
    """What answers say of how sure they are, with whether the item was answered right; silent ones are left out.

    Items of several samples that differ are left out too: the answer is the majority's, and which of them gave it is
    not recorded.

    Raises:
        UserError: where none says it.
    """
    single = [row for row in rows if len(set(row.texts)) == 1]
    stated = [(row, said) for row in single if (said := stated_confidence(row.texts[0])) is not None]
    return Confidences(
        np.asarray([said for _, said in stated]), np.asarray([float(row.correct) for row, _ in stated]),
        np.arange(len(stated)),
    )  # fmt: skip


_NUMBER = r"(?<![\d.,])(\d{1,3}(?:[.,]\d+)?|[.]\d+)"
_SIGN = r"\s*(?:%|percent\b|per\s+cent\b)"
_PER_CENT = re.compile(_NUMBER + _SIGN, re.IGNORECASE)
# "confidence (0-100): 90", "Probability is about 0.8", "certainty of 8/10", "Confidence: 9%"; not "sure that it is 12".
_NAMED = re.compile(
    r"\b(?:confidence|certainty|probability|likelihood)(?:\s+(?:level|score))?(?:\s*\([^)\n]*\))?"
    r"(?:\s*(?:\b(?:is|of)\b(?:\s+about\b)?|[:=*~]))*\s*" + _NUMBER + r"(?:\s*/\s*([1-9]\d{0,2}))?"
    rf"(?!\d)({_SIGN})?",
    re.IGNORECASE,
)
_OF = re.compile(r"\s*(?:confiden\w*|certain\w*|sure|probab\w*|likel\w*)\b", re.IGNORECASE)
_NEAR = re.compile(r"\b(?:confiden\w*|certain\w*|sure|probab\w*|likel\w*)\b", re.IGNORECASE)
# "not 100% sure", "isn't even 50% likely", "not a 100% certainty"
_DENIED = re.compile(
    r"(?:\bnot|n['’]t)\s+(?:(?:a|about|at|be|being|completely|entirely|even|exactly|feel|fully|necessarily|quite|really)\s+)*$",
    re.IGNORECASE,
)
NEAR = 60  # characters between a per cent and the word that makes it a confidence


def stated_confidence(text: str) -> float | None:
    """The confidence, 0 to 1, that a text states last: "Confidence: 90%", "I am 80 percent sure", "confidence 0.9".

    One that is named, or a per cent directly before "sure", "certain", "confident" or "likely", counts before a per
    cent with such a word near it, or that is the only number of a text (an answer to "how sure are you?"). What is
    denied ("not 100% sure") does not count. A number above 1 without a sign is per cent.

    Returns:
        ``None`` where there is none, or it is above 100 %.
    """
    found: list[tuple[bool, int, float]] = []  # whether it is named, where it is, value
    for match in _PER_CENT.finditer(text):
        before = text[max(0, match.start() - NEAR) : match.start()]
        direct = _OF.match(text, match.end()) is not None
        alone = re.fullmatch(r"\D*", text[: match.start()] + text[match.end() :])
        near = _NEAR.search(before + match[0] + text[match.end() : match.end() + NEAR])
        if (direct or near or alone) and not _DENIED.search(before):
            found.append((direct, match.start(), _value(match[1]) / 100))
    for match in _NAMED.finditer(text):
        value = _value(match[1])
        whole = 100 if match[3] else int(match[2]) if match[2] else 1 if value <= 1 else 100
        found.append((True, match.start(1), value / whole))
    if not found:
        return None
    value = max(found)[2]
    return value if value <= 1 else None


def _value(number: str) -> float:
    return float(number.replace(",", "."))


def calibrate(
    confidences: Confidences, bins: int = BINS, draws: int = DRAWS, seed: int = 0, level: float = LEVEL
) -> Calibration:
    """Reliability, expected calibration error and Brier score.

    Args:
        confidences: of one model.
        bins: of equal width from 0 to 1; a confidence on a border belongs to the bin below, as in Guo et al. (2017).
        draws: of the bootstrap, items with replacement.
        seed: of the bootstrap.
        level: of the percentile intervals, between 0 and 1.

    Raises:
        UserError: for no bins, draws or a level outside.
    """
    if bins < 1 or draws < 1 or not 0 < level < 1:
        raise UserError(f"bins is {bins}, draws {draws} and level {level:g}; 1 or more, and a level within 0 and 1.")
    where = _bin_of(confidences.probability, bins)
    sums = _sums(confidences, where, bins)  # [items, bins, 4]
    whole = sums.sum(axis=0)
    generator = np.random.default_rng(seed)
    count = len(sums)
    flat = sums.reshape(count, -1)
    drawn = np.empty((draws, 2))
    for draw in range(draws):
        weights = np.bincount(generator.integers(0, count, count), minlength=count).astype(np.float64)
        drawn[draw] = _figures((weights @ flat).reshape(bins, 4))
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
    ece, brier = _figures(whole)
    return Calibration(
        tuple(_shown(number, row, bins, level) for number, row in enumerate(whole) if row[0]),
        ece, float(low[0]), float(high[0]), brier, float(low[1]), float(high[1]),
        len(confidences.probability), count, level,
    )  # fmt: skip


def _bin_of(probability: Floats, bins: int) -> NDArray[np.int64]:
    """[N], the bin whose half-open interval (low, high] holds each; zero belongs to the first."""
    edges = np.linspace(0, 1, bins + 1)
    return np.clip(np.searchsorted(edges, probability, side="left") - 1, 0, bins - 1).astype(np.int64)


def _sums(confidences: Confidences, where: NDArray[np.int64], bins: int) -> Floats:
    """[items, bins, 4]: number, confidences, truths and squared distances of each item in each bin."""
    _, items = np.unique(confidences.item, return_inverse=True)
    sums = np.zeros((int(items.max()) + 1, bins, 4))
    distance = (confidences.probability - confidences.true) ** 2
    columns = (np.ones_like(distance), confidences.probability, confidences.true, distance)
    np.add.at(sums, (items, where), np.stack(columns, axis=1))
    return sums


def _figures(sums: Floats) -> tuple[float, float]:
    """Expected calibration error and Brier score from [bins, 4] sums."""
    total = sums[:, 0].sum()
    return float(np.abs(sums[:, 1] - sums[:, 2]).sum() / total), float(sums[:, 3].sum() / total)


def _shown(number: int, sums: Floats, bins: int, level: float) -> Bin:
    n, right = int(sums[0]), round(float(sums[2]))
    interval = binomtest(right, n).proportion_ci(level, method="wilson")
    return Bin(
        number / bins, (number + 1) / bins, float(sums[1] / n), right / n, float(interval.low), float(interval.high), n
    )  # fmt: skip


def _softmax(values: Floats) -> Floats:
    highest = values.max()
    if not math.isfinite(highest):
        return np.full(len(values), 1 / len(values))
    shares = np.exp(values - highest)
    return shares / shares.sum()
