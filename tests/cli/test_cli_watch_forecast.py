"""The forecast that ``foretell watch`` takes, registered or printed, of runs or curves; and what else is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foretell.cli.main import main
from foretell.core.files import content_hash
from foretell.laws.records import Forecast, Observation
from foretell.laws.registry import register

CURVES = Path(__file__).parents[2] / "docs" / "examples" / "curves.csv"
PRINTED = {"metric": "loss", "flops": 1e15, "tokens": 1e9, "value": 2.0, "low": 1.9, "high": 2.1, "level": 0.9}
FUZZ = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


def losses(parts: int = 30) -> list[tuple[float, float]]:
    return [(part / 50, 2.0 * (part / 50) ** -0.07) for part in range(1, parts + 1)]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "train.csv"
    rows = [f"{1e9 * share:.0f},{loss:.4f}" for share, loss in losses()]
    path.write_text("\n".join(["tokens,loss", *rows]) + "\n")
    return path


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sealed") / "forecast.json"
    rungs = []
    for flops in (1e11, 1e12, 1e13):
        scale = (flops / 1e15) ** -0.05
        curve = tuple((flops * part / 20, scale * 2.0 * (part / 20) ** -0.07) for part in range(1, 21))
        rungs += [Observation(flops, scale * 2.0 * (1 + seed / 500), seed=seed, curve=curve) for seed in range(2)]
    made = Forecast({}, 1e15, 2.0, 1.9, 2.1, observations=tuple(rungs))
    register(path, made, {"plan": {"target": {"tokens": 1e9, "steps": 1000}}})
    return path


@pytest.fixture
def look(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Looks once; the code, and all that was said on one line."""

    def once(log: Path, forecast: Path, *options: str) -> tuple[int, str]:
        code = main(["watch", str(log), "--forecast", str(forecast), "--once", *options])
        captured = capsys.readouterr()
        return code, " ".join((captured.out + captured.err).split())

    return once


def test_what_forecast_prints_of_curves_is_a_forecast(
    tmp_path: Path, look: Callable[..., tuple[int, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["forecast", str(CURVES), "--tokens", "1e6", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    (tmp_path / "f.json").write_text(json.dumps(printed))
    for column, end in (("step", printed["steps"]), ("tokens", 1e6)):
        rows = [f"{round(end * share)},{printed['value'] / 2 * loss:.4f}" for share, loss in losses()]
        (tmp_path / "train.csv").write_text("\n".join([f"{column},loss", *rows]) + "\n")
        code, said = look(tmp_path / "train.csv", tmp_path / "f.json")
        assert code == 0 and "60% done, on track" in said, said


def test_a_printed_forecast_without_compute_needs_another_end(
    tmp_path: Path, log: Path, look: Callable[..., tuple[int, str]]
) -> None:
    bare = {name: PRINTED[name] for name in ("metric", "value", "low", "high", "level")}
    (tmp_path / "f.json").write_text(json.dumps(bare))
    code, said = look(log, tmp_path / "f.json")
    assert code == 2 and "where it ends: in the forecast, in a column total_steps, or --total" in said
    code, said = look(log, tmp_path / "f.json", "--total", "1B")
    assert code == 0 and "60% done" in said
    code, said = look(log, tmp_path / "f.json", "--total", "some")
    assert code == 2 and "argument --total: 'some' is no number; one such as 5000, 1e22, 7B or 1.4T is expected" in said


def test_a_forecast_from_another_shell_is_read(tmp_path: Path, log: Path, look: Callable[..., tuple[int, str]]) -> None:
    for encoding in ("utf-8-sig", "utf-16"):
        (tmp_path / "f.json").write_text(json.dumps(PRINTED), encoding=encoding)
        assert look(log, tmp_path / "f.json")[0] == 0


def test_a_refused_forecast_says_so(tmp_path: Path, log: Path, look: Callable[..., tuple[int, str]]) -> None:
    for change in ({"refused": True}, {"warnings": ["note: a", "refusal: too few sizes"]}):
        (tmp_path / "f.json").write_text(json.dumps(PRINTED | change))
        code, said = look(log, tmp_path / "f.json")
        assert code == 0 and "the forecast had been refused" in said


@pytest.mark.parametrize("metric", ["acc_hellaswag", "top-1 error", "mean_neg_log_pass_rate_gsm8k"])
def test_a_share_is_never_held_against_a_loss(
    metric: str, tmp_path: Path, log: Path, look: Callable[..., tuple[int, str]]
) -> None:
    share = {"metric": metric, "value": 0.5, "low": 0.4, "high": 0.6}
    (tmp_path / "f.json").write_text(json.dumps(PRINTED | share))
    made = Forecast({}, 1e15, 0.5, 0.4, 0.6, metric=metric)
    register(tmp_path / "sealed.json", made, {})
    for path in (tmp_path / "f.json", tmp_path / "sealed.json"):
        code, said = look(log, path)
        assert code == 2 and f"metric is '{metric}', an accuracy, a pass rate or another share" in said
        assert path.name in said and "the forecast of a loss is expected" in said


def test_only_a_loss_over_text_may_be_another_column(
    tmp_path: Path, log: Path, look: Callable[..., tuple[int, str]]
) -> None:
    for metric, code, words in (
        ("val_loss", 0, "the file's column loss stands for val_loss"),
        ("C4 loss", 0, "the file's column loss stands for C4 loss"),
        ("perplexity", 2, "a column is needed that is called 'perplexity', as what is forecast"),
        ("bpb_hellaswag", 2, "has the columns 'tokens', 'loss'; a column is needed that is called 'bpb_hellaswag'"),
    ):
        (tmp_path / "f.json").write_text(json.dumps(PRINTED | {"metric": metric}))
        given, said = look(log, tmp_path / "f.json")
        assert given == code and words in said, said


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is not readable as JSON (line 1, column 1)"),
        (b"tokens,loss\n1,2\n", "is not readable as JSON (line 1, column 1)"),
        (b'{"metric": "loss",', "is not readable as JSON (line 1, column 19)"),
        (b"\x89PNG\r\n\x1a\n", "is not readable as JSON (byte 1 is no text)"),
        (b"[" * 100_000, "is not readable as JSON (it is nested too deep)"),
        (b"1" * 5000, "is not readable as JSON (a number in it has thousands of digits)"),
        (b"[1, 2]", "holds [1, 2]; a registered forecast or the object that"),
        (b"null", "holds null; a registered forecast"),
        (b"{}", "prints: metric, value, low, high and level are missing"),
        ({"level": None}, "prints: level is missing"),
        ({"value": "2.0"}, 'value is "2.0"; a finite number is expected'),
        ({"value": True}, "value is true; a finite number is expected"),
        ({"high": float("inf")}, "high is Infinity; a finite number is expected"),
        ({"high": 10**400}, "; a finite number is expected"),
        ({"low": [1.9]}, "low is [1.9]; a finite number is expected"),
        ({"low": 2.05}, "low is 2.05, value 2 and high 2.1, which are no forecast of a loss"),
        ({"low": -1}, "numbers above zero in this order are expected"),
        ({"level": 90}, "level is 90; a probability between 0 and 1 is expected"),
        ({"flops": 0}, "flops is 0; a number above zero is expected"),
        ({"tokens": "1B"}, 'tokens is "1B"; a finite number is expected'),
        ({"steps": -3}, "steps is -3; a number above zero is expected"),
        ({"metric": 3}, "metric is 3; the name of what is foretold is expected"),
    ],
)
def test_what_is_no_forecast_is_named(
    content: Any, words: str, tmp_path: Path, log: Path, look: Callable[..., tuple[int, str]]
) -> None:
    raw = content if isinstance(content, bytes) else json.dumps(PRINTED | content).encode()
    (tmp_path / "f.json").write_bytes(raw)
    code, said = look(log, tmp_path / "f.json")
    assert code == 2 and words in said and "f.json" in said, said


def reseal(path: Path, change: Callable[[dict[str, Any]], Any], to: Path) -> None:
    """A registration as a program of another mind would seal it."""
    body = {key: value for key, value in json.loads(path.read_text()).items() if key != "sha256"}
    change(body)
    to.write_text(json.dumps(body | {"sha256": content_hash(body)}))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda body: body.pop("version"), "its version is missing"),
        (lambda body: body.pop("observations"), "its observations is missing"),
        (lambda body: body.update(context=3), "context is 3; an object is expected"),
        (lambda body: body.update(forecast=[]), "[] is no object with named fields"),
        (lambda body: body["forecast"].pop("low"), "its 'low' is missing"),
        (lambda body: body["forecast"].update(low=None), "its low is null; a finite number is expected"),
        (lambda body: body["forecast"].update(target_flops=-1), "target_flops is -1; a number above zero"),
        (lambda body: body["forecast"].update(findings=["x"]), 'finding 1: "x" is no object with named fields'),
        (lambda body: body["observations"][1].update(loss=0), "Run 2: loss is 0; a finite number above zero"),
        (lambda body: body["observations"][1].update(seed="a"), 'run 2: its seed is "a"; a whole number is expected'),
        (lambda body: body["observations"][0].update(curve=[1]), "run 1: its curve holds 1; pairs of finite numbers"),
        (lambda body: body["observations"][0].update(curve=[[2, 3], [1, 3]]), "Run 1: its curve does not go on"),
        (lambda body: body["context"]["plan"]["target"].update(tokens="x"), 'tokens is "x"; a finite number'),
    ],
)
def test_a_sealed_file_that_is_no_forecast_is_named(
    change: Callable[[dict[str, Any]], Any], words: str, sealed: Path, tmp_path: Path, log: Path,
    look: Callable[..., tuple[int, str]],
) -> None:  # fmt: skip
    reseal(sealed, change, tmp_path / "f.json")
    code, said = look(log, tmp_path / "f.json")
    assert code == 2 and words in said and "f.json" in said, said


def test_a_folder_and_an_unreadable_result(tmp_path: Path, log: Path, sealed: Path, look: Any) -> None:
    (tmp_path / "empty").mkdir()
    assert "forecast.json is missing" in look(log, tmp_path / "empty")[1]
    (tmp_path / "empty" / "forecast.json").mkdir()
    assert "forecast.json cannot be read (Is a directory)" in look(log, tmp_path / "empty")[1]
    run = tmp_path / "run" / "target"
    run.mkdir(parents=True)
    (run / "log.jsonl").write_text('{"kind": "step", "step": 1000, "bits_per_byte": 2}\n')
    (run.parent / "forecast.json").write_bytes(sealed.read_bytes())
    for record, code, words in (
        ([], 3, "the outcome is not finite"),
        ({"heldout": {"bits_per_byte": "two"}}, 2, 'result.json: heldout.bits_per_byte is "two"'),
        ({"heldout": {"bits_per_byte": 2.0}}, 0, "finished at 2.000"),
    ):
        (run / "result.json").write_text(json.dumps(record))
        given, said = look(run.parent, run.parent / "forecast.json")
        assert given == code, said
        assert words in said or code == 3, said


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 10**30), st.floats(), st.just(10**400), st.text(max_size=4),
    st.sampled_from(["loss", "2.0", "nan", "1e9", "7B", "", "1" * 400]),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place inside a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inner for place in places(item, (*path, key)))]


def mutate(data: st.DataObject, value: Any) -> None:
    """Put anything into one to three places of a JSON value, or take them out."""
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from([place for place in places(value) if place]))
        *above, last = path
        holder = value
        for key in above:
            holder = holder[key]
        if data.draw(st.booleans()):
            holder[last] = data.draw(VALUES)
        else:
            del holder[last]
        if not value:
            return


@FUZZ
@given(data=st.data())
def test_no_mutated_forecast_ends_in_a_traceback(data: st.DataObject, sealed: Path, tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text(
        "step,tokens,loss\n" + "".join(f"{s * 1000},{s * 1e9},{v}\n" for s, v in losses())
    )
    path = tmp_path / "f.json"
    if data.draw(st.booleans()):
        record = json.loads(json.dumps(PRINTED | {"steps": 1000, "warnings": ["note: a"], "refused": False}))
        mutate(data, record)
        path.write_text(json.dumps(record))
    else:
        body = {key: value for key, value in json.loads(sealed.read_text()).items() if key != "sha256"}
        mutate(data, body)
        try:
            path.write_text(json.dumps(body | {"sha256": content_hash(body)}))
        except ValueError:  # a figure that is not finite cannot be sealed
            return
    code = main(["watch", str(tmp_path / "train.csv"), "--forecast", str(path), "--once", "--json"])
    assert code in (0, 2, 3)


@FUZZ
@given(raw=st.binary(max_size=40) | st.text(max_size=40).map(lambda text: text.encode(errors="replace")))
def test_no_broken_forecast_file_ends_in_a_traceback(raw: bytes, sealed: Path, tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("tokens,loss\n5e8,2\n")
    path = tmp_path / "f.json"
    content = sealed.read_bytes() if len(raw) % 2 else json.dumps(PRINTED).encode()
    at = sum(raw) % len(content)
    path.write_bytes(content[:at] + raw + content[at + len(raw) // 2 :])
    assert main(["watch", str(tmp_path / "train.csv"), "--forecast", str(path), "--once"]) in (0, 2, 3)


NAMES = st.sampled_from(
    ["step", "tokens", "flops", "loss", "val_loss", "progress", "total_steps", "time", "kind", "", "x"]
)


@FUZZ
@given(data=st.data())
def test_no_log_ends_in_a_traceback(data: st.DataObject, sealed: Path, tmp_path: Path) -> None:
    suffix = data.draw(st.sampled_from(["csv", "tsv", "jsonl"]))
    names = data.draw(st.lists(NAMES, min_size=1, max_size=5))
    cells = SCALARS | st.floats(0, 2) | st.floats(1.5, 5) | st.integers(0, 1000)
    rows = data.draw(st.lists(st.lists(cells if suffix != "jsonl" else cells | VALUES, min_size=len(names),
                                       max_size=len(names)), max_size=8))  # fmt: skip
    if suffix == "jsonl":
        lines = [json.dumps(dict(zip(names, row, strict=True))) for row in rows]
    else:
        separator = "," if suffix == "csv" else "\t"
        lines = [separator.join(map(str, row)) for row in [names, *rows]]
    path = tmp_path / f"train.{suffix}"
    raw = "\n".join([*lines, ""]).encode(errors="replace")
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(raw)))
        raw = raw[:at] + data.draw(st.binary(max_size=4)) + raw[at:]
    path.write_bytes(raw)
    assert main(["watch", str(path), "--forecast", str(sealed), "--once", "--json"]) in (0, 2, 3)
