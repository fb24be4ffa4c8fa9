"""A ladder's records as the laws read them."""

from __future__ import annotations

from pathlib import Path

from foretell.core.files import read_json
from foretell.core.runlog import read_log
from foretell.laws.records import Observation

CURVE_POINTS = 20


def training_curve(folder: Path, measure: str = "bits_per_byte") -> tuple[tuple[float, float], ...]:
    """The training curve of a run as (FLOPs, ``measure``), each point the mean of a twentieth of the run."""
    records = read_log(folder / "log.jsonl", "step")
    points = [(record["flops"], float(record[measure])) for record in records if record.get(measure) is not None]
    size = max(1, len(points) // CURVE_POINTS)
    groups = [points[start : start + size] for start in range(0, len(points) - size + 1, size)]
    return tuple((group[-1][0], sum(loss for _, loss in group) / size) for group in groups)


def ladder_observations(run_folder: Path, measure: str = "bits_per_byte") -> list[Observation]:
    """The finished rungs of a run directory, with the held-out loss that ``measure`` names.

    Raises:
        UserError: where its ladder is not finished.
    """
    ladder = run_folder / "ladder"
    return [
        Observation(
            flops=result["flops"],
            loss=result["heldout"][measure],
            params=result["parameters"]["with_head"],
            tokens=result["tokens"],
            seed=result["seed"],
            label=f"width {result['width']}",
            curve=training_curve(ladder / "runs" / result["folder"], measure),
        )
        for result in read_json(ladder / "rungs.json")
    ]
