"""``foretell bench sft`` on a tiny model: every figure is there, and PEFT trains as many parameters as we do."""

import functools
import json

import pytest
from sft_runs import WIDE, wide_base

from chats import chat, write
from foretell.cli.main import main
from foretell.core.errors import UserError
from foretell.core.hardware import peak_memory_of_all
from foretell.model.config import count_parameters
from foretell.posttrain import bench
from foretell.posttrain.bench import FULL, LORA, PEFT, bench_sft, docstring_conversations


def test_all_peers_are_measured(tmp_path, monkeypatch, capfd) -> None:
    pytest.importorskip("peft")
    monkeypatch.setattr(bench, "bench_sft", functools.partial(bench_sft, load=wide_base))
    data = write(tmp_path / "a.jsonl", *[chat("q" * number, "a" * 100) for number in range(1, 81)])
    command = ["bench", "sft", "--model", "tiny", "--data", str(data), "--steps", "10", "--train-steps", "20"]
    assert main([*command, "--output", str(tmp_path / "bench.json")]) == 0
    record = json.loads((tmp_path / "bench.json").read_text())
    rows = record["rows"]
    assert LORA in capfd.readouterr().out and list(rows) == [LORA, FULL, PEFT]
    assert all(row["tokens_per_second"] > 0 and len(row["seconds"]) == 10 for row in rows.values())
    assert rows[LORA]["trained_parameters"] == rows[PEFT]["trained_parameters"]
    assert rows[FULL]["trained_parameters"] == count_parameters(WIDE).total
    assert record["heldout_against_full"] > 0 and record["what"].endswith("after 20 steps")
    for name in (LORA, FULL):
        assert rows[name]["peak_memory_bytes"] > 10**7 and 0 < rows[name]["heldout"]["nats_per_token"] < 20


def test_what_it_refuses(tmp_path) -> None:
    pytest.importorskip("peft")
    with pytest.raises(UserError, match="--steps is 9"):
        bench_sft("tiny", None, 9, load=wide_base)
    with pytest.raises(UserError, match="is missing"):
        bench_sft("tiny", tmp_path / "nothing.jsonl", 10, load=wide_base)


def test_docstrings_are_conversations() -> None:
    rows = [json.loads(line)["messages"] for line in docstring_conversations().splitlines()]
    assert len(rows) > 1_000 and {tuple(message["role"] for message in row) for row in rows} == {("user", "assistant")}


def test_memory_of_a_process_that_is_gone_is_not_told() -> None:
    assert peak_memory_of_all([2**22 + 1]) is None
