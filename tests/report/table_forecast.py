"""A forecast from a table, made in memory with figures that the tests know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from foretell.core.tables import read_records
from foretell.laws.forecast import forecast_runs
from foretell.laws.records import Finding, Forecast, Observation
from foretell.laws.tables.runs import Run, runs_of
from foretell.report.forecast_record import ForecastRecord, ShownRun, record_of_table

CONTEXT: dict[str, Any] = {
    "foretell": "0.1.0", "command": "foretell forecast 'a <b>.csv' --flops 1e+21",
    "created": "2026-01-02T03:04:05+00:00",
    "source": {"path": "a <b>.csv", "kind": "table", "sha256": "ab" * 32}, "git_commit": "c0ffee" * 6,
    "options": {"flops": 1e21, "metric": None, "params": 12345678.0},
}  # fmt: skip


def law(flops: float) -> float:
    return 12.0 * flops**-0.05 + 1.0


def rows() -> list[dict[str, Any]]:
    """Seven runs of a known law and seven that are 5 % worse, one checkpoint and one copy."""
    made: list[dict[str, Any]] = []
    for i in range(7):
        flops = 1e17 * 3**i
        params = (flops / 120) ** 0.5
        good = {
            "run": f"<good{i}>",
            "C": flops,
            "N": params,
            "D": 20 * params,
            "val_loss": law(flops),
            "stage": "final",
        }
        poor = good | {"run": f"poor{i}", "N": params / 3, "D": 60 * params, "val_loss": 1.05 * law(flops)}
        made += [good, poor]
    return [*made, made[0], made[1] | {"run": "half", "stage": "checkpoint"}]


def real_record(
    flops: float = 1e21, max_flops: float | None = 5e19, context: dict[str, Any] | None = None
) -> ForecastRecord:
    """A record made as the command makes it."""
    table = read_records(rows())
    runs = runs_of(table)
    made, _ = forecast_runs(runs, flops, max_flops=max_flops)
    return record_of_table(made, table, runs, max_flops, CONTEXT if context is None else context)


def plain_record(metric: str, values: list[float], *, refused: bool = False, **changes: Any) -> ForecastRecord:
    """A record with one point a value at 1e18, 1e19, ... FLOPs, whose law falls to half and whose target is next."""
    flops = [10.0 ** (18 + i) for i in range(len(values) + 1)]
    medians = [*values, values[-1] / 2]
    rungs = [
        {"label": f"s{i}", "flops": flops[i], "params": None, "tokens": None, "seeds": 1, "mean_loss": value,
         "standard_error": 0.01 * value, "residual": 0.001}
        for i, value in enumerate(values)
    ]  # fmt: skip
    band = {"flops": flops, "low": [0.9 * m for m in medians], "median": medians, "high": [1.1 * m for m in medians]}
    findings = (Finding("gap", "refusal", "Too far."),) if refused else ()
    made = Forecast(
        law={"name": "power law with offset", "formula": "L"}, target_flops=flops[-1], median=medians[-1],
        low=0.9 * medians[-1], high=1.1 * medians[-1], metric=metric, findings=findings, band=band, rungs=rungs,
        observations=tuple(Observation(f, v) for f, v in zip(flops, values, strict=False)),
    )  # fmt: skip
    runs = [Run(i + 2, "", "", f, None, None, v) for i, (f, v) in enumerate(zip(flops, values, strict=False))]
    return ForecastRecord(made, tuple(ShownRun(run, "used") for run in runs), (), CONTEXT | changes)


def png_pixels(path: Path) -> np.ndarray:
    """RGB of a PNG, shape (height, width, 3), 0 to 1."""
    import matplotlib.image

    return np.asarray(matplotlib.image.imread(path))[..., :3]
