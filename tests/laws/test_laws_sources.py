"""Runs from W&B's exports, TensorBoard folders, this project's trainings and data frames."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from tensorboardX import SummaryWriter

import foretell
from foretell.cli.main import main
from foretell.core.errors import UserError
from foretell.laws.tables.run_records import Runs
from foretell.laws.tables.runs import read_runs, runs_of
from foretell.laws.tables.sources import is_source, read_source

SIZES = [1e7 * 2**i for i in range(6)]


def loss(params: float) -> float:
    return 1.5 + 40 * params**-0.2


def said(runs: Runs) -> dict[str, str]:
    return {finding.code: finding.sentence for finding in runs.findings}


def quoted(rows: list[list[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows(rows)
    return text.getvalue()


WANDB_RUNS = ["Name", "State", "Notes", "User", "Tags", "Created", "Runtime", "Sweep", "config.n_params", "lr",
              "_step", "eval/loss", "train/loss", "train/tokens"]  # fmt: skip


def wandb_row(name: str, state: str, params: float) -> list[object]:
    return [name, state, "-", "someone", "", "2024-03-01T12:00:00.000Z", 3600, "", int(params), 0.001, 9999,
            loss(params) if state == "finished" else "", loss(params) - 0.1, 20 * params]  # fmt: skip


def test_the_table_of_runs_that_wandb_exports(tmp_path: Path) -> None:
    rows = [wandb_row(f"sunny-sun-{i}", "finished", size) for i, size in enumerate(SIZES)]
    rows += [wandb_row("dark-moon-7", "crashed", 3e7), wandb_row("new-dawn-8", "running", 4e7)]
    (tmp_path / "wandb_export_2024-03-02T10_00_00.csv").write_text(quoted([WANDB_RUNS, *rows]))
    runs = read_runs(tmp_path / "wandb_export_2024-03-02T10_00_00.csv")
    assert [run.name for run in runs.runs] == [f"sunny-sun-{i}" for i in range(6)]
    assert runs.metric == "eval/loss" and runs.runs[0].flops == pytest.approx(6 * 1e7 * 2e8)
    assert "rows 8 and 9" in said(runs)["checkpoints"] and "State (crashed, running)" in said(runs)["checkpoints"]
    assert "'train/loss'" in said(runs)["metric"] and runs.left_out == {"checkpoints": (8, 9)}


def test_the_table_that_wandbs_documentation_shows(tmp_path: Path) -> None:
    rows = [[str({"loss": loss(n), "_wandb": {"runtime": 5}}), str({"n_params": n, "tokens": 20 * n}), f"r{n:.0f}"]
            for n in SIZES]  # fmt: skip
    (tmp_path / "project.csv").write_text(quoted([["summary", "config", "name"], *rows]))
    assert [run.value for run in read_runs(tmp_path / "project.csv").runs] == [loss(n) for n in SIZES]


def chart(axis: str, names: list[str], lines: list[list[object]], metric: str = "eval/loss") -> str:
    header = [axis]
    for name in names:
        header += [f"{name} - {part}{band}" for part in ("_step", metric) for band in ("", "__MIN", "__MAX")]
    body = [[line[0], *(cell for value in line[1:] for cell in (1, 1, 1, value, value, value))] for line in lines]
    return quoted([header, *body])


def test_a_chart_over_compute(tmp_path: Path) -> None:
    lines = [[1e18, 3.5, ""], [2e18, 3.2, 3.4], [4e18, "", 3.0], [8e18, "", ""]]
    (tmp_path / "chart.csv").write_text(chart("train/flops", ["a - 1", "b"], lines))
    runs = read_runs(tmp_path / "chart.csv")
    assert [(run.name, run.flops, run.value) for run in runs.runs] == [("a - 1", 2e18, 3.2), ("b", 4e18, 3.0)]
    assert runs.metric == "eval/loss" and "last point of each" in said(runs)["source"]


def test_a_chart_over_tokens_needs_the_parameters(tmp_path: Path) -> None:
    header = ["tokens", "a - loss", "a - n_params", "b - loss", "b - n_params"]
    (tmp_path / "chart.csv").write_text(quoted([header, [1e8, 3.5, 1e7, 3.4, 2e7], [2e8, 3.2, "", 3.1, ""]]))
    assert [run.flops for run in read_runs(tmp_path / "chart.csv").runs] == pytest.approx([1.2e16, 2.4e16])
    for axis in ("tokens", "Step", "Relative Time (Process)"):
        (tmp_path / "chart.csv").write_text(chart(axis, ["a", "b"], [[1, 3, 3]]))
        with pytest.raises(UserError, match=r"chart over .* export the chart with training FLOPs") as caught:
            read_runs(tmp_path / "chart.csv")
        assert axis in str(caught.value)


def test_a_run_without_a_point_in_the_chart_is_named(tmp_path: Path) -> None:
    (tmp_path / "chart.csv").write_text(chart("flops", ["a", "b", "c"], [[1e18, 3, "", 3.1], [2e18, 2.9, "", 3]]))
    runs = read_runs(tmp_path / "chart.csv")
    assert "run b" in said(runs)["no-value"] and len(runs.runs) == 2
    (tmp_path / "chart.csv").write_text(chart("flops", ["a"], [["x", 3]]))
    with pytest.raises(UserError, match="row 2: flops is 'x'; a number is expected along the x axis"):
        read_runs(tmp_path / "chart.csv")


def board(folder: Path, params: float, *, settings: bool = False, evaluated: bool = True) -> None:
    with SummaryWriter(str(folder)) as writer:
        if not settings:
            writer.add_scalar("model/params", params, 0)
        for step in range(1, 11):
            writer.add_scalar("train/loss", loss(params) - 0.1, step)
            writer.add_scalar("train/tokens", 2 * params * step, step)
            if evaluated and step % 4 == 0:
                writer.add_scalar("eval/loss", loss(params) * (18 - step) / 10, step)
        if settings:
            writer.add_hparams({"n_params": params}, {}, name="1700000000.25")


def test_tensorboard_folders(tmp_path: Path) -> None:
    for i, size in enumerate(SIZES):
        board(tmp_path / "group" / f"run{i}", size, settings=i % 2 == 1)
    board(tmp_path / "early", 1e7, evaluated=False)
    runs = read_runs(tmp_path)
    assert runs.metric == "eval/loss" and [run.name for run in runs.runs] == [f"group/run{i}" for i in range(6)]
    assert [run.value for run in runs.runs] == pytest.approx([loss(size) for size in SIZES])
    assert [run.tokens for run in runs.runs] == pytest.approx([16 * size for size in SIZES]), "those of the evaluation"
    assert "run early" in said(runs)["no-value"] and "do not say which runs are finished" in said(runs)["source"]
    assert read_runs(tmp_path, "train/loss").runs[-1].value == pytest.approx(loss(SIZES[-1]) - 0.1)
    with pytest.raises(UserError, match="no metric 'eval/los'; --metric takes one of eval/loss"):
        read_runs(tmp_path, "eval/los")


def test_a_tensorboard_folder_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i, size in enumerate(SIZES):
        board(tmp_path / f"run{i}", size)
    arguments = ["forecast", str(tmp_path), "--metric", "eval/loss", "--flops", "1e21", "--json"]
    assert main(arguments) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["n_runs"] == 6 and record["metric"] == "eval/loss" and record["low"] < 1.95 < record["high"]


def test_folders_are_forecast_without_torch(tmp_path: Path) -> None:
    board(tmp_path / "boards" / "a", 1e7)
    training(tmp_path / "trainings" / "a", 1e7)
    code = (
        "import sys; from foretell.cli.main import main; "
        f"folders = [{str(tmp_path / 'boards')!r}, {str(tmp_path / 'trainings')!r}]; "
        "codes = [main(['forecast', folder, '--flops', '1e22']) for folder in folders]; "
        "sys.exit(codes != [3, 3] or 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_damaged_file_costs_its_tail_only(tmp_path: Path) -> None:
    board(tmp_path / "a", 1e7)
    board(tmp_path / "b", 2e7)
    (file,) = (tmp_path / "a").glob("*tfevents*")
    file.write_bytes(file.read_bytes()[:-20])
    runs = read_runs(tmp_path, "eval/loss")
    assert len(runs.runs) == 2 and any("ends in the middle" in finding.sentence for finding in runs.findings)


def test_tensorboard_without_compute(tmp_path: Path) -> None:
    with SummaryWriter(str(tmp_path / "a")) as writer:
        writer.add_scalar("eval/loss", 3.0, 1)
    with pytest.raises(UserError, match=r"hold eval/loss; compute is needed"):
        read_runs(tmp_path)


def training(folder: Path, params: float, *, role: str = "rung", finished: bool = True) -> None:
    folder.mkdir(parents=True)
    (folder / "settings.json").write_text("{}")
    record = {"kind": "eval", "time": 1, "flops": 3e15, "tokens": 5e8, "bits_per_byte": 1.5}
    (folder / "log.jsonl").write_text(json.dumps(record) + '\n[1]\n{"kind": "ev')
    result = {"seed": 3, "flops": 130 * params**2, "tokens": 20 * params, "parameters": {"with_head": params},
              "role": role, "heldout": {"bits_per_byte": loss(params) / 2, "nats_per_token": loss(params),
                                        "bits_per_word": 9.0}}  # fmt: skip
    if finished:
        (folder / "result.json").write_text(json.dumps(result))


def test_folders_of_trainings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i, size in enumerate(SIZES):
        training(tmp_path / f"size{i}", size)
    training(tmp_path / "sweep" / "one", 1e7, role="tuning")
    training(tmp_path / "going", 3e7, finished=False)
    runs = read_runs(tmp_path)
    assert [run.name for run in runs.runs] == [f"size{i}" for i in range(6)] and runs.runs[0].seed == 3
    assert runs.unit == "bits per byte" and runs.runs[0].value == loss(1e7) / 2
    assert "runs going and sweep/one" in said(runs)["checkpoints"]
    assert main(["forecast", str(tmp_path), "--flops", "1e21", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["n_runs"] == 6 and record["low"] < record["value"] < record["high"]


def test_trainings_of_two_recipes_are_two_families(tmp_path: Path) -> None:
    for recipe in ("english", "python"):
        for i, size in enumerate(SIZES[:3]):
            training(tmp_path / recipe / "ladder" / "runs" / f"size{i}", size)
        (tmp_path / recipe / "recipe.yaml").write_text("")
    with pytest.raises(UserError, match=r"2 families.*--family takes one of english, python"):
        read_runs(tmp_path)
    assert len(read_runs(tmp_path, family="python").runs) == 3


def test_a_result_that_is_none(tmp_path: Path) -> None:
    training(tmp_path / "a", 1e7)
    (tmp_path / "a" / "result.json").write_text('{"seed": 1}')
    with pytest.raises(UserError, match=r"result.json is no record of a finished training \('flops'\)"):
        read_runs(tmp_path)


def test_what_is_read_as_a_table(tmp_path: Path) -> None:
    assert not is_source(tmp_path) and not is_source(tmp_path / "gone") and is_source(tmp_path / "gone.csv")
    training(tmp_path / "laptop" / "ladder" / "runs" / "a", 1e7)
    assert is_source(tmp_path)
    for name in ("recipe.yaml", "plan.json", "forecast.json"):
        (tmp_path / "laptop" / name).write_text("{}")
        assert not is_source(tmp_path / "laptop") and is_source(tmp_path / "laptop" / "ladder")
        (tmp_path / "laptop" / name).unlink()
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no runs; a folder with trainings"):
        read_source(tmp_path / "empty")


def test_an_empty_path_is_not_the_folder_one_is_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    training(tmp_path / "laptop" / "ladder" / "runs" / "a", 1e7)
    monkeypatch.chdir(tmp_path)
    assert len(read_source(".").rows) == 1
    with pytest.raises(UserError, match="path of the runs is empty"):
        read_source("")
    assert main(["forecast", "", "--flops", "1e22"]) == 2
    assert "or . for this folder is expected" in " ".join(capsys.readouterr().err.split())


class Frame:
    def __init__(self, rows: list[dict]) -> None:
        self.rows = rows

    def to_dict(self, orient: str) -> list[dict]:
        assert orient == "records"
        return self.rows


def test_a_data_frame_whose_missing_cells_are_nan() -> None:
    nan = float("nan")
    rows = [{"flops": 120 * n * n if i else nan, "N": n, "D": 20 * n, "loss": loss(n), "family": nan, "seed": nan,
             "stage": nan, "epochs": nan, "unique_tokens": 20 * n} for i, n in enumerate(SIZES)]  # fmt: skip
    runs = runs_of(read_source(Frame(rows)))
    assert [run.flops for run in runs.runs] == pytest.approx([120 * n * n for n in SIZES])
    assert runs.runs[0].family == "" and runs.runs[0].seed == 0 and runs.findings == ()
    assert runs.runs[0].epochs is None and runs.runs[0].unique_tokens == 2e8
    made = foretell.forecast(Frame(rows), flops=1e21)
    assert made.median == foretell.forecast(rows, flops=1e21).median and made.low < made.median < made.high


def test_bits_per_byte_have_their_own_prior() -> None:
    rows = [{"C": 120 * n * n, "bpb": loss(n) / 2.5, "bpb_task": loss(n) / 2.5} for n in SIZES]
    own, task = (foretell.forecast(rows, flops=1e22, metric=name) for name in ("bpb", "bpb_task"))
    assert own.metric == "bpb" and own.median != task.median
    unit = foretell.forecast([row | {"loss": row["bpb"]} for row in rows], flops=1e22, metric="loss")
    assert unit.median == task.median


def test_runs_of_several_kinds_are_warned_of_with_their_rows() -> None:
    rows = [{"C": 1e18 * 2**i, "loss": 3 - i / 10, "tokenizer": "gpt2" if i < 4 else "llama"} for i in range(6)]
    sentence = said(runs_of(read_source(rows)))["mixed-kinds"]
    assert "tokenizer: gpt2 (rows 1, 2, 3 and 4), llama (rows 5 and 6)" in sentence


def test_blank_families_and_metrics_are_named() -> None:
    rows = [{"C": 1e18 * 2**i, "loss": 3 - i / 10, "family": "a" if i < 4 else None} for i in range(6)]
    with pytest.raises(UserError, match=r"2 families \(rows 5 and 6 name none\).*takes one of a\."):
        runs_of(read_source(rows))
    assert runs_of(read_source(rows), family="a").left_out == {"other-family": (5, 6)}
    tidy = [{"C": 1e18 * 2**i, "value": 3 - i / 10, "metric": "loss" if i < 4 else None} for i in range(6)]
    runs = runs_of(read_source(tidy))
    assert len(runs.runs) == 4 and "rows 5 and 6" in said(runs)["no-metric"]
