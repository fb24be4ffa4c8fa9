"""Counters and histograms in Prometheus' text format (version 0.0.4)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass
class Histogram:
    """How many values were at most so large."""

    bounds: Sequence[float] = SECONDS
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def lines(self, name: str) -> Iterable[str]:
        """Its samples."""
        seen = 0
        for bound, count in zip([*self.bounds, "+Inf"], self.counts, strict=True):
            seen += count
            yield f'{name}_bucket{{le="{bound}"}} {seen}'
        yield f"{name}_sum {self.total:.6f}"
        yield f"{name}_count {seen}"


@dataclass
class Metrics:
    """What the server itself has seen; used by the event loop's thread only."""

    requests: dict[tuple[str, int], int] = field(default_factory=dict)
    first_token: Histogram = field(default_factory=Histogram)
    per_token: Histogram = field(default_factory=Histogram)
    duration: Histogram = field(default_factory=Histogram)
    cancelled: int = 0

    def count(self, route: str, status: int) -> None:
        """A request has been answered."""
        self.requests[route, status] = self.requests.get((route, status), 0) + 1

    def text(self, gauges: Mapping[str, tuple[str, float]], counters: Mapping[str, tuple[str, float]]) -> str:
        """All of it, with values of the engine, each under its name with a description."""
        lines = [
            "# HELP foretell_requests_total Requests by route and status.",
            "# TYPE foretell_requests_total counter",
        ]
        lines += [
            f'foretell_requests_total{{route="{route}",status="{status}"}} {count}'
            for (route, status), count in sorted(self.requests.items())
        ]
        mine = {"cancelled_total": ("Requests whose client had gone.", self.cancelled)}
        for kind, values in (("counter", {**mine, **counters}), ("gauge", gauges)):
            for name, (meaning, value) in values.items():
                lines += [f"# HELP foretell_{name} {meaning}", f"# TYPE foretell_{name} {kind}",
                          f"foretell_{name} {value:.10g}"]  # fmt: skip
        for name, meaning, histogram in (
            ("time_to_first_token_seconds", "From a request's arrival to its first token.", self.first_token),
            ("time_per_output_token_seconds", "Between two tokens of an answer, its mean.", self.per_token),
            ("request_duration_seconds", "From a request's arrival to its answer's end.", self.duration),
        ):
            lines += [f"# HELP foretell_{name} {meaning}", f"# TYPE foretell_{name} histogram"]
            lines += histogram.lines(f"foretell_{name}")
        return "\n".join(lines) + "\n"
