"""TensorBoard files as another writer writes them: whole, cut anywhere, and damaged anywhere."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorboardX import SummaryWriter
from tensorboardX.proto import event_pb2, summary_pb2, tensor_pb2
from tensorboardX.record_writer import RecordWriter

from foretell.core.errors import UserError
from foretell.core.eventfiles import EventRun, event_files, read_events

STEPS = 40


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("board")
    with SummaryWriter(str(folder)) as writer:
        writer.add_text("args", "{}" * 50)
        for step in range(STEPS):
            writer.add_scalar("eval/loss", 4 - step / 100, step)
            writer.add_scalar("flops", 1e15 * (step + 1), step)
        writer.add_histogram("weights", list(range(3000)), STEPS)
    return folder


def read(folder: Path) -> EventRun:
    return read_events(event_files(folder))


def test_scalars_of_a_whole_file(board: Path) -> None:
    run = read(board)
    assert [step for step, _ in run.scalars["eval/loss"]] == list(range(STEPS))
    assert run.scalars["eval/loss"][-1][1] == pytest.approx(3.61)
    assert run.scalars["flops"][-1][1] == pytest.approx(4e16, rel=1e-6)
    assert set(run.scalars) == {"eval/loss", "flops"} and run.damage == []


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1))
def test_a_file_cut_anywhere_keeps_what_stands_before(board: Path, tmp_path: Path, share: float) -> None:
    content = event_files(board)[0].read_bytes()
    cut = int(share * len(content))
    (tmp_path / "events.out.tfevents.1").write_bytes(content[:cut])
    whole, run = read(board), read(tmp_path)
    for tag, points in run.scalars.items():
        assert points == whole.scalars[tag][: len(points)]
    found = sum(len(points) for points in run.scalars.values())
    assert found >= int(share * 2 * STEPS * 0.2) or share < 0.3
    assert len(run.damage) <= 1
    if found < 2 * STEPS and run.damage:
        assert "what stands before is used" in run.damage[0]


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 0.999), change=st.integers(1, 255))
def test_a_changed_byte_never_gives_a_wrong_value(board: Path, tmp_path: Path, place: float, change: int) -> None:
    content = bytearray(event_files(board)[0].read_bytes())
    content[int(place * len(content))] ^= change
    (tmp_path / "events.out.tfevents.1").write_bytes(content)
    whole, run = read(board), read(tmp_path)
    for tag, points in run.scalars.items():
        assert set(points) <= set(whole.scalars[tag])
    if run.scalars != whole.scalars:
        assert run.damage and "events.out.tfevents.1" in run.damage[0]


@given(st.binary(max_size=200))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.tfevents").write_bytes(content)
    run = read(tmp_path)
    assert run.scalars == {} and bool(run.damage) == bool(content)


def test_a_run_that_went_on_from_an_earlier_step(tmp_path: Path) -> None:
    for start, end, purge, value in ((0, 10, None, 3.0), (4, 8, 4, 2.0)):
        writer = SummaryWriter(str(tmp_path), filename_suffix=f".{start}", purge_step=purge)
        for step in range(start, end):
            writer.add_scalar("loss", value, step)
        writer.close()
    files = sorted(event_files(tmp_path), key=lambda path: path.suffix)
    points = read_events(files).scalars["loss"]
    assert [step for step, _ in points] == list(range(8)) and [value for _, value in points] == [3.0] * 4 + [2.0] * 4


def test_scalars_written_as_tensors_and_values_that_are_none(tmp_path: Path) -> None:
    record = RecordWriter(str(tmp_path / "events.out.tfevents.1"))
    tensors = {
        "listed": tensor_pb2.TensorProto(dtype=1, float_val=[2.5]),
        "packed": tensor_pb2.TensorProto(dtype=1, tensor_content=b"\x00\x00\x20\x40"),
        "double": tensor_pb2.TensorProto(dtype=2, double_val=[2.5]),
        "words": tensor_pb2.TensorProto(dtype=7, string_val=[b"2.5"]),
        "vector": tensor_pb2.TensorProto(dtype=1, float_val=[2.5, 3.5]),
    }
    values = [summary_pb2.Summary.Value(tag=tag, tensor=tensor) for tag, tensor in tensors.items()]
    values.append(summary_pb2.Summary.Value(tag="nan", simple_value=float("nan")))
    event = event_pb2.Event(step=3, summary=summary_pb2.Summary(value=values))
    record.write(event.SerializeToString())
    record.close()
    assert read(tmp_path).scalars == {"listed": [(3, 2.5)], "packed": [(3, 2.5)], "double": [(3, 2.5)]}


def test_hyper_parameters(tmp_path: Path) -> None:
    with SummaryWriter(str(tmp_path)) as writer:
        writer.add_hparams({"n_params": 7e7, "name": "a", "tied": True}, {"loss": 2.0}, name="1700000000.5")
    (inner,) = [path for path in event_files(tmp_path) if path.parent != tmp_path]
    assert read_events([inner]).settings == {"n_params": 7e7, "name": "a", "tied": True}


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_events([tmp_path / "gone.tfevents"])


def test_reading_imports_neither_torch_nor_the_writer(board: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from foretell.core.eventfiles import event_files, read_events; "
        f"run = read_events(event_files(Path({str(board)!r}))); "
        "sys.exit(not run.scalars or 'torch' in sys.modules or 'tensorboardX' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
