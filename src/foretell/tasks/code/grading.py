"""Grading answers that are programs: one sandbox for all tasks, started when the first answer is graded."""

from __future__ import annotations

import atexit
import re
import threading
from collections.abc import Callable, Sequence

from foretell.tasks.code.passk import pass_at_k
from foretell.tasks.code.sandbox import Check, Outcome, Sandbox
from foretell.tasks.task import Grade, Item, Response

RATES = (1, 10, 100)
FENCE = re.compile(r"```[ \t]*(?:[Pp]y(?:thon)?3?)?[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL)


class Grader:
    """A sandbox that starts when it is first needed.

    Args:
        unsafe: run programs unprotected where the machine cannot isolate them.
        workers: programs at once; as many as processors where None.
    """

    def __init__(self, unsafe: bool = False, workers: int | None = None) -> None:
        self.unsafe, self.workers = unsafe, workers
        self._sandbox: Sandbox | None = None
        self._lock = threading.Lock()

    def sandbox(self) -> Sandbox:
        """The sandbox.

        Raises:
            UserError: where the machine cannot isolate programs and ``unsafe`` is False.
        """
        with self._lock:
            if self._sandbox is None:
                self._sandbox = Sandbox(workers=self.workers, unsafe=self.unsafe)
            return self._sandbox

    def close(self) -> None:
        """End the sandbox; the next answer starts another."""
        with self._lock:
            if self._sandbox is not None:
                self._sandbox.close()
                self._sandbox = None

    def grade(self, checks: Sequence[Check]) -> Grade:
        """pass@1, and pass@10 and pass@100 where there are as many samples; equal programs run once."""
        different = list(dict.fromkeys(checks))
        outcomes = dict(zip(different, self.sandbox().check_all(different), strict=True))
        found = [outcomes[check] for check in checks]
        correct = sum(outcome.passed for outcome in found)
        rates = {f"pass@{k}": pass_at_k(len(found), correct, k) for k in RATES if k <= len(found)}
        return Grade(rates, _describe(found[0]))


def _describe(outcome: Outcome) -> str:
    return f"{outcome.status}: {outcome.detail}" if outcome.detail else outcome.status


GRADER = Grader()
atexit.register(GRADER.close)


def program_grader(
    make: Callable[[Item, str], Check], grader: Grader | None = None
) -> Callable[[Item, Response], Grade]:
    """A task's ``grade``: each text becomes a program with its tests.

    Args:
        make: gives the program of an item and a text.
        grader: the one that all tasks share where None.
    """

    def grade(item: Item, response: Response) -> Grade:
        return (grader or GRADER).grade([make(item, text) for text in response.texts])

    return grade


def fenced_code(text: str, entry: str = "") -> str | None:
    """The code block of an answer in Markdown: the first that defines ``entry``, else the first; None without any."""
    blocks = [block for block in FENCE.findall(text) if block.strip()]
    if not blocks:
        return None
    return next((block for block in blocks if defines(block, entry)), blocks[0])


def defines(source: str, entry: str) -> bool:
    """Whether a line of ``source`` starts the definition of the function ``entry``."""
    return bool(entry) and re.search(rf"^(?:async )?def {re.escape(entry)}\b", source, re.MULTILINE) is not None
