"""Learning-rate schedules as pure functions of the step."""

from __future__ import annotations

import math

from foretell.train.config import TrainingConfig


def learning_rate_factor(config: TrainingConfig, step: int, steps: int) -> float:
    """Share of the peak learning rate at ``step`` (0-based) of ``steps``.

    Linear warmup over ``warmup_fraction``; then ``linear`` or ``cosine`` (Loshchilov & Hutter 2017) decay to
    ``final_fraction`` at the end, or ``wsd`` (Hu et al. 2024): constant, then linear decay over ``decay_fraction``.
    """
    warmup = round(config.warmup_fraction * steps)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    start = warmup if config.schedule != "wsd" else max(warmup, round(steps * (1 - config.decay_fraction)))
    if step < start:
        return 1.0
    done = (step - start) / max(1, steps - start)
    falling = 0.5 * (1 + math.cos(math.pi * done)) if config.schedule == "cosine" else 1.0 - done
    return config.final_fraction + (1 - config.final_fraction) * falling
