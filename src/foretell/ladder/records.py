"""A ladder's records as the laws read them."""

from __future__ import annotations

from pathlib import Path

from foretell.core.files import read_json
from foretell.core.runlog import read_log
from foretell.laws.records import Observation

CURVE_POINTS = 20


def training_curve(folder: Path) -> tuple[tuple[float, float], ...]:
    """The training curve of a run as (FLOPs, bits per byte), each point the mean of a twentieth of the run."""
    points = [(record["flops"], record["bits_per_byte"]) for record in read_log(folder / "log.jsonl", "step")]
    points = [(flops, bits) for flops, bits in points if bits is not None]
    size = max(1, len(points) // CURVE_POINTS)
    groups = [points[start : start + size] for start in range(0, len(points) - size + 1, size)]
    return tuple((group[-1][0], sum(bits for _, bits in group) / size) for group in groups)


def ladder_observations(run_folder: Path) -> list[Observation]:
    """The finished rungs of a run directory.

    Raises:
        UserError: where its ladder is not finished.
    """
    ladder = run_folder / "ladder"
    return [
        Observation(
            flops=result["flops"],
            loss=result["heldout"]["bits_per_byte"],
            params=result["parameters"]["with_head"],
            tokens=result["tokens"],
            seed=result["seed"],
            label=f"width {result['width']}",
            curve=training_curve(ladder / "runs" / result["folder"]),
        )
        for result in read_json(ladder / "rungs.json")
    ]
