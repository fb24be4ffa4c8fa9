"""Loss spikes and figures that are not finite: skip the update, then roll back, then stop with a clear sentence."""

from __future__ import annotations

import math
import statistics
from collections import deque
from typing import Any, Literal

from foretell.core.errors import DivergedError
from foretell.train.config import GuardConfig

Verdict = Literal["apply", "skip", "roll back"]


class Guard:
    """Judges each step by its mean loss and gradient norm; its state is part of the checkpoint."""

    def __init__(self, config: GuardConfig) -> None:
        self.config = config
        self.losses: deque[float] = deque(maxlen=config.window)
        self.skips = 0
        self.rollbacks = 0

    def judge(self, step: int, loss: float, gradient_norm: float) -> tuple[Verdict, str]:
        """What to do with the step, and the reason in words (empty for ``apply``).

        Args:
            loss: mean nats a token over the step.
            gradient_norm: before clipping.

        Raises:
            DivergedError: when rolling back has not helped.
        """
        reason = self._reason(loss, gradient_norm)
        if not reason:
            self.losses.append(loss)
            self.skips = 0
            return "apply", ""
        self.skips += 1
        if self.skips < self.config.skips_before_rollback:
            return "skip", reason
        if self.rollbacks >= self.config.rollbacks_before_stop:
            raise DivergedError(
                f"Training stopped at step {step}: {reason}, {self.skips} steps in a row and after {self.rollbacks} "
                "rollbacks. Lower the learning rate (or tune it again on the ladder) and start again."
            )
        self.skips = 0
        self.rollbacks += 1
        return "roll back", reason

    def forget(self) -> None:
        """Take no loss so far for usual: other data begins."""
        self.losses.clear()

    def _reason(self, loss: float, gradient_norm: float) -> str:
        if not math.isfinite(loss):
            return "the loss is not finite"
        if not math.isfinite(gradient_norm):
            return "the gradient is not finite"
        if len(self.losses) >= self.config.window // 2:
            usual = statistics.median(self.losses)
            if loss > usual + self.config.spike_nats:
                return f"the loss jumped to {loss:.2f} nats a token from a median of {usual:.2f}"
        return ""

    def state_dict(self) -> dict[str, Any]:
        """JSON-able state."""
        return {"losses": list(self.losses), "skips": self.skips, "rollbacks": self.rollbacks}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state_dict`."""
        self.losses = deque(state["losses"], maxlen=self.config.window)
        self.skips, self.rollbacks = state["skips"], state["rollbacks"]
