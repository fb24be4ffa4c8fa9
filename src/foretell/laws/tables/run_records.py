"""Training runs as the laws take them from a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from foretell.laws.records import Finding
from foretell.laws.tables.columns import Kind, is_bits_per_byte, share_asked

REPEATED = 1.01  # epochs from which a run counts as one that read tokens twice


@dataclass(frozen=True)
class Run:
    """One row: a finished run, or a point of one.

    Attributes:
        row: its line or position in the file.
        name, family: as the table says, empty where it does not.
        flops: training compute, > 0.
        params, tokens: > 0, or ``None`` where the table has none.
        seed: 0 where the table has none.
        value: of the metric.
        unique_tokens: different tokens in the training data, > 0, or ``None`` where the table does not say.
        epochs: passes over them, > 0, or ``None`` where the table does not say.
    """

    row: int
    name: str
    family: str
    flops: float
    params: float | None
    tokens: float | None
    value: float
    seed: int = 0
    unique_tokens: float | None = None
    epochs: float | None = None

    @property
    def different_tokens(self) -> float | None:
        """Different tokens, > 0, where the run read some more than once; ``None`` where it did not, or nobody knows."""
        unique = self.unique_tokens
        if unique is None and self.epochs is not None and self.tokens is not None:
            unique = self.tokens / self.epochs
        return unique if unique is not None and self.tokens is not None and self.tokens > REPEATED * unique else None

    @property
    def called(self) -> str:
        """What to call it in a sentence: its name and its row."""
        return f"{self.name} (row {self.row})" if self.name else f"row {self.row}"


@dataclass(frozen=True)
class Runs:
    """The runs of one family and metric, in order of compute, with what was said about the table on the way.

    Attributes:
        metric: as the table calls it.
        runs: in order of compute.
        findings: what was left out or is doubtful, with its rows.
        left_out: the rows that are not among the runs by the reason: the ``code`` of the finding that names them, or
            "other-metric" or "other-family". With the runs' they are all rows of the table.
        kind: what the values are, where that was said; ``None`` where the metric's name decides.
    """

    metric: str
    runs: tuple[Run, ...]
    findings: tuple[Finding, ...] = ()
    left_out: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    kind: Kind | None = None

    @property
    def is_share(self) -> bool:
        """Whether the values are accuracies, error rates or other shares from 0 to 1, as was said or as named."""
        return share_asked(self.metric, self.kind)

    @property
    def unit(self) -> str:
        """The unit that the prior of a loss goes by: "bits per byte" where the metric is that, else its name."""
        return "bits per byte" if is_bits_per_byte(self.metric) else self.metric
