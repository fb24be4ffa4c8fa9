"""No test measures the machine's matrix products, which takes seconds."""

import pytest

from foretell.posttrain import sft


@pytest.fixture(autouse=True)
def assumed_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sft, "matmul_peak", lambda device: 1e11)
