"""A registered forecast cannot be changed, overwritten or mistaken; its score is arithmetic."""

from __future__ import annotations

import json
import math
import stat
import time

import pytest
from law_ladders import TARGET, ladder

from foretell.core.errors import UserError
from foretell.core.files import content_hash
from foretell.laws.forecast import forecast
from foretell.laws.registry import load_registered, register, registered_forecast, score


@pytest.fixture(scope="module")
def made():
    return forecast(ladder(noise=0.004), TARGET)


@pytest.fixture
def sealed(tmp_path, made):
    path = tmp_path / "forecast.json"
    return path, register(path, made, {"recipe": "a1b2", "git": None, "records": [{"sha256": "00", "flops": 1e10}]})


def test_what_is_sealed_is_read_back(sealed, made):
    path, written = sealed
    read = load_registered(path)
    assert read == written
    assert registered_forecast(read) == made
    assert read["context"]["records"][0]["flops"] == 1e10
    assert len(read["observations"]) == len(made.observations)
    assert abs(read["created_unix"] - time.time()) < 60 and read["created"].endswith("+00:00")


def test_the_file_is_read_only_and_never_overwritten(sealed, made):
    path, written = sealed
    assert not path.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH)
    with pytest.raises(UserError, match="never overwritten"):
        register(path, made, {})
    assert load_registered(path) == written


def test_every_changed_byte_is_noticed_or_changes_nothing(sealed, tmp_path):
    path, written = sealed
    content = path.read_bytes()
    copy = tmp_path / "copy.json"
    noticed = 0
    for position in range(0, len(content), max(1, len(content) // 300)):
        changed = bytearray(content)
        changed[position] ^= 1
        copy.write_bytes(bytes(changed))
        try:
            assert load_registered(copy) == written
        except UserError as error:
            noticed += 1
            assert "copy.json" in str(error)
    assert noticed > 150  # the rest hit white space between values


def test_a_changed_figure_is_noticed(sealed, tmp_path):
    _, written = sealed
    written["forecast"]["high"] += 0.001
    copy = tmp_path / "copy.json"
    copy.write_text(json.dumps(written))
    with pytest.raises(UserError, match="changed since it was sealed"):
        load_registered(copy)


def test_the_order_of_keys_does_not_matter(sealed, tmp_path):
    _, written = sealed
    copy = tmp_path / "copy.json"
    copy.write_text(json.dumps(dict(reversed(written.items()))))
    assert load_registered(copy) == written


def test_what_is_not_a_registration_is_refused_by_name(tmp_path):
    with pytest.raises(UserError, match=r"absent\.json is missing"):
        load_registered(tmp_path / "absent.json")
    for content, words in (
        ("[1, 2]", "not a registered"),
        ('{"kind": "other"}', "not a registered"),
        ("{", "not readable"),
    ):
        other = tmp_path / "other.json"
        other.write_text(content)
        with pytest.raises(UserError, match=words):
            load_registered(other)


def test_a_later_version_is_refused(sealed, tmp_path):
    _, written = sealed
    body = {key: value for key, value in written.items() if key != "sha256"} | {"version": 2}
    copy = tmp_path / "copy.json"
    copy.write_text(json.dumps(body | {"sha256": content_hash(body)}))
    with pytest.raises(UserError, match="version 2"):
        load_registered(copy)


def test_a_missing_figure_is_written_as_missing(tmp_path, made):
    path = tmp_path / "forecast.json"
    register(path, made, {"energy": math.nan, "prices": [math.inf, 1.0]})
    assert "NaN" not in path.read_text() and "Infinity" not in path.read_text()
    assert load_registered(path)["context"] == {"energy": None, "prices": [None, 1.0]}


def test_a_context_that_json_cannot_hold_leaves_no_file(tmp_path, made):
    path = tmp_path / "forecast.json"
    with pytest.raises(UserError, match="context"):
        register(path, made, {"folder": tmp_path})
    assert not path.exists()


def test_scores(sealed, made):
    registered = load_registered(sealed[0])
    hit = score(registered, made.median * 1.01, {"run": "target", "energy": math.nan})
    assert hit["inside"] and hit["relative_error"] == pytest.approx(0.01)
    assert "inside the 90 % interval" in hit["sentence"] and "1.0 % above" in hit["sentence"]
    assert hit["context"] == {"run": "target", "energy": None} and hit["sha256"] == registered["sha256"]
    low = score(registered, made.low * 0.99, {})
    assert not low["inside"] and low["relative_error"] < 0 and "below the 90 % interval" in low["sentence"]
    high = score(registered, made.high * 1.01, {})
    assert not high["inside"] and "above the 90 % interval" in high["sentence"]
    assert score(registered, made.low, {})["inside"] and score(registered, made.high, {})["inside"]
    json.dumps(hit, allow_nan=False)


def test_the_score_says_when_the_ladder_had_been_refused(tmp_path):
    path = tmp_path / "forecast.json"
    register(path, forecast(ladder(seeds=1)[:2], TARGET), {})
    result = score(load_registered(path), 1.7, {})
    assert result["refused"] and "refused beforehand" in result["sentence"]


@pytest.mark.parametrize("outcome", [0.0, -1.0, math.nan, math.inf, None, "1.7"])
def test_a_bad_outcome_is_refused(sealed, outcome):
    with pytest.raises(UserError, match="outcome's loss"):
        score(load_registered(sealed[0]), outcome, {})
