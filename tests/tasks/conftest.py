"""What several tests of programs share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from foretell.tasks.code.grading import Grader
from isolation import isolated


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    made = Grader(workers=2)
    isolated(made.sandbox)
    yield made
    made.close()
