"""What goes into a forecast and what comes out of it; plain data that travels as JSON."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeGuard, get_args

from foretell.core.errors import UserError
from foretell.core.wording import as_json, factor, plural
from foretell.laws.tables.columns import Kind, share_asked

Severity = Literal["note", "warning", "refusal"]
ADDED = ("left_out", "kind", "unique_tokens", "references")  # what forecasts lack that were registered before


@dataclass(frozen=True)
class Observation:
    """One finished training run of the ladder.

    Attributes:
        flops: training compute, > 0.
        loss: held-out loss at the end, > 0, in the metric's unit.
        params: parameters, > 0, by any one convention; ``None`` where they are not known.
        tokens: training tokens, > 0; ``None`` where they are not known.
        seed: which repetition of its size this is.
        label: what to call the size in sentences; empty is allowed.
        curve: (tokens or FLOPs so far, loss) along the run, increasing in the first; may be empty.
        unique_tokens: different tokens among the training tokens, > 0, where some were read more than once; ``None``
            where none was, or where that is not known.
    """

    flops: float
    loss: float
    params: float | None = None
    tokens: float | None = None
    seed: int = 0
    label: str = ""
    curve: tuple[tuple[float, float], ...] = ()
    unique_tokens: float | None = None


@dataclass(frozen=True)
class Finding:
    """One thing a reader of the forecast must know, as one sentence with its figures."""

    code: str
    severity: Severity
    sentence: str


@dataclass(frozen=True)
class Forecast:
    """The loss of one training run, foretold with an interval.

    Attributes:
        law: name, formula, ``a``, ``b``, ``c`` and ``seed_noise`` (relative), each ``{"median", "low", "high"}``.
        target_flops: compute of the run that is foretold.
        median, low, high: its loss, with ``low`` and ``high`` enclosing ``level`` of the probability.
        level: probability of the interval, 0.5 to 0.999.
        metric: the unit of the losses in words, or the name of their column.
        findings: what the diagnostics say, refusals first.
        band: lists ``flops``, ``low``, ``median``, ``high`` from below the smallest rung up to the target.
        rungs: one summary a size: label, flops, params, tokens, seeds, mean_loss, standard_error (of it), residual (of
            ln(loss) from the law).
        observations: the runs it was made from.
        left_out: names of the runs that it was not made from, by the reason: "stray" for those that are far off their
            neighbours, "frontier" for those that are not near the best of their compute. With ``observations`` they are
            all runs up to the limit of compute.
        kind: "loss" or "share" where that was said; ``None`` where the metric's name decides.
        references: where runs on other corpora made the figures (:mod:`foretell.laws.token_law`): ``corpora``, their
            ``error``, and the ladder's own figures as ``law``; else empty.
    """

    law: dict[str, Any]
    target_flops: float
    median: float
    low: float
    high: float
    level: float = 0.9
    metric: str = "bits per byte"
    findings: tuple[Finding, ...] = ()
    band: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    rungs: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    observations: tuple[Observation, ...] = ()
    left_out: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    kind: Kind | None = None
    references: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def is_share(self) -> bool:
        """Whether the figures are an accuracy's, an error's or another share's, from 0 to 1, and no loss's."""
        return share_asked(self.metric, self.kind)

    @property
    def refused(self) -> bool:
        """True where the ladder cannot carry the forecast; the figures are then for the record only."""
        return any(finding.severity == "refusal" for finding in self.findings)

    @property
    def half_width(self) -> float:
        """Half the interval's logarithmic width: 0.05 means about plus or minus 5 %."""
        return math.log(self.high / self.low) / 2

    @property
    def sentence(self) -> str:
        """The forecast in one or two sentences of plain English."""
        gap = self.target_flops / max(rung["flops"] for rung in self.rungs)
        unit = f" {self.metric}" if " " in self.metric else ""  # a unit in words, or the name of a column
        figures = (
            f"{self.median:.3f}{unit}, with {100 * self.level:.0f} % probability between {self.low:.3f} and "
            f"{self.high:.3f}, at {self.target_flops:.3g} FLOPs ({factor(gap)} times the largest rung)"
        )
        if self.refused:
            reasons = " ".join(finding.sentence for finding in self.findings if finding.severity == "refusal")
            by = "references" if self.references else "the law"
            return f"This ladder cannot carry the forecast. {reasons} For the record only, {by} would say {figures}."
        warnings = sum(finding.severity == "warning" for finding in self.findings)
        noted = f" {plural(warnings, 'warning')} below." if warnings else ""
        return f"The target's {'loss' if unit else self.metric} is forecast at {figures}.{noted}"

    def to_dict(self) -> dict[str, Any]:
        """The forecast as JSON-ready values; :meth:`from_dict` restores an equal object."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        values["findings"] = [dataclasses.asdict(finding) for finding in self.findings]
        values["observations"] = [
            dataclasses.asdict(run) | {"curve": [list(point) for point in run.curve]} for run in self.observations
        ]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Forecast:
        """Restore a forecast from :meth:`to_dict`; other keys are passed over, and points of curves without a loss.

        Raises:
            UserError: where a field is missing or of another kind, by its name.
        """
        what = "This is not a forecast"
        kept = _fields(cls, values, what)
        findings = [_fields(Finding, item, f"{what}: finding {row}") for row, item in enumerate(kept["findings"], 1)]
        runs = [_fields(Observation, item, f"{what}: run {row}") for row, item in enumerate(kept["observations"], 1)]
        for row, run in enumerate(runs, start=1):
            run["curve"] = _curve(run["curve"], f"{what}: run {row}")
        return cls(**kept | {
            "findings": tuple(Finding(**finding) for finding in findings),
            "observations": tuple(Observation(**run) for run in runs),
        })  # fmt: skip


# What JSON may hold for each type of a field above.
_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "float": ((int, float), "a finite number"),
    "float | None": ((int, float, type(None)), "a finite number or null"),
    "int": ((int,), "a whole number"),
    "str": ((str,), "text"),
    "Severity": ((str,), "note, warning or refusal"),
    "Kind | None": ((str, type(None)), "loss, share or null"),
    "dict": ((dict,), "an object"),
    "list": ((list,), "a list"),
    "tuple": ((list, tuple), "a list"),
}


_WORDS = {"Severity": get_args(Severity), "Kind | None": get_args(Kind)}


def _fields(kind: type, values: Any, what: str) -> dict[str, Any]:
    """The fields of a dataclass out of a JSON object.

    Raises:
        UserError: beginning with ``what``, naming the field, its value and what is accepted.
    """
    if not isinstance(values, Mapping):
        raise UserError(f"{what}: {as_json(values)} is no object with named fields.")
    kept = {}
    for field in dataclasses.fields(kind):
        if field.name not in values:
            if field.name in ADDED:
                continue
            raise UserError(f"{what}: its {field.name!r} is missing.")
        value = kept[field.name] = values[field.name]
        types, accepted = _KINDS[str(field.type).partition("[")[0]]
        fits = isinstance(value, types) and (not isinstance(value, int | float) or _is_finite(value))
        if fits and field.type in _WORDS:
            fits = value is None or value in _WORDS[field.type]
        if not fits:
            raise UserError(f"{what}: its {field.name} is {as_json(value)}; {accepted} is expected.")
    return kept


def _curve(points: Sequence[Any], what: str) -> tuple[tuple[float, float], ...]:
    """Pairs of numbers; a loss that was not finite was recorded as missing and stays so."""
    curve: list[tuple[float, float]] = []
    for point in points:
        done, loss = point if isinstance(point, list | tuple) and len(point) == 2 else (None, None)
        if not _is_finite(done) or not (loss is None or _is_finite(loss)):
            raise UserError(f"{what}: its curve holds {as_json(point)}; pairs of finite numbers are expected.")
        if loss is not None:
            curve.append((done, loss))
    return tuple(curve)


def _is_finite(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
