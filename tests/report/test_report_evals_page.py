"""The page of an evaluation: well-formed, alone, safe with any text, its numbers those of the records."""

import re
from pathlib import Path

import pytest
from html_page import Page

from foretell.core.errors import UserError
from foretell.evals.calibration import Confidences, calibrate, option_confidences
from foretell.evals.records import ItemRecord, write_records
from foretell.report.evals_figures import reliability_label, write_reliability_figure
from foretell.report.evals_page import render_evals, write_evals_report

PROMPT = "Which <b>&\x07 one?\nAnswer:"


def result(model: str = "small <i>model</i>", **changes):
    score = {"value": 0.6, "stderr": 0.1, "n": 20}
    groups = {
        group: {"acc": {"value": value, "stderr": 0.15, "n": 10}} for group, value in (("law", 0.5), ("art", 0.7))
    }
    return {"metric": "acc", **score, "version": 3, "average": "items", "metrics": {"acc": score, "acc_norm": score},
            "groups": groups, "shots": 5, "chat": False, "seed": 0, "prompt": PROMPT, "options": [" A", " <B>"],
            "model": model, "model_hash": "0123456789abcdef", "model_hash_of": "weights", **changes}  # fmt: skip


def rows(task: str, right: int, choices: bool = True) -> list[ItemRecord]:
    logs = (-1.0, -2.0) if choices else ()
    said = () if choices else ("Confidence: 80%",)
    return [
        ItemRecord(task, str(n), "law" if n % 2 else "art", "d", logs, (False, False) if choices else (), (), said,
                   ("0",) if n < right else ("1",), "A", float(n < right), n < right, {"acc": float(n < right)})
        for n in range(20)
    ]  # fmt: skip


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    before, after = tmp_path / "before", tmp_path / "after"
    write_records(before, {"choose": result("base")}, rows("choose", 8))
    write_records(after, {"choose": result(), "say": result(groups={})},
                  [*rows("choose", 12), *rows("say", 15, choices=False)])  # fmt: skip
    return before, after


def test_the_page_needs_nothing_but_itself(folders: tuple[Path, Path]) -> None:
    page = Page(render_evals(folders[1], folders[0]))
    assert not [value for name in ("src", "srcset") for value in page.values(name)]
    links = page.values("href")
    assert all(value.startswith(("#", "data:", "./")) for value in links)
    assert "default-src 'none'" in page.raw and not re.search(r"@import|url\((?!#)", page.raw)
    identities = page.values("id")
    assert len(identities) == len(set(identities))
    assert {value[1:] for value in links if value.startswith("#")} <= set(identities)


def test_its_numbers_are_those_of_the_records(folders: tuple[Path, Path]) -> None:
    before, after = folders
    path = write_evals_report(after, before)
    page = Page(path.read_text(encoding="utf-8"))
    for said in ("small <i>model</i>", "Compared with base", "0123456789ab", "40.4 to 79.6", "acc (headline)",
                 "+20.00", "0.12", "the exact prompt of its first item", "Which <b>&\ufffd one?"):  # fmt: skip
        assert said in page.text, said
    assert page.text.index("law") < page.text.index("art")  # the lowest group first
    found = calibrate(option_confidences(rows("choose", 12)))
    assert f"{found.ece:.4f}" in page.text and f"{found.brier:.4f}" in page.text
    assert "what answers say" in page.text
    assert render_evals(after, before) == path.read_text(encoding="utf-8")


def test_one_model_alone_and_the_same_name_twice(folders: tuple[Path, Path]) -> None:
    before, after = folders
    alone = Page(render_evals(after))
    assert "Comparison" not in alone.text
    both = Page(render_evals(before, before))
    assert "base (first)" in both.text and "base (second)" in both.text and "+0.00" in both.text


def test_the_tasks_that_are_compared_can_be_chosen(folders: tuple[Path, Path]) -> None:
    before, after = folders
    write_records(before, {"say": result("base", version=2, groups={})}, rows("say", 15, choices=False))
    with pytest.raises(UserError, match="say was scored by version 2 and 3"):
        render_evals(after, before)
    assert "+20.00" in Page(render_evals(after, before, ["choose"])).text


def test_two_models_share_a_reliability_figure(tmp_path: Path) -> None:
    two = [(name, calibrate(option_confidences(rows("t", right)))) for name, right in (("base", 8), ("tuned", 12))]
    write_reliability_figure(tmp_path / "both.svg", two)
    drawn = (tmp_path / "both.svg").read_text(encoding="utf-8")
    assert "base: ECE" in drawn and "tuned: ECE" in drawn
    assert f"{two[1][1].ece:.3f}" in reliability_label(two)
    write_reliability_figure(tmp_path / "one.png", two[:1])
    with pytest.raises(UserError, match=r"ends in \.svg or \.png"):
        write_reliability_figure(tmp_path / "one.pdf", two)
    assert calibrate(Confidences(*map(pytest.importorskip("numpy").array, ([0.5], [1.0], [0])))).ece == 0.5


def test_a_folder_without_results_is_named(tmp_path: Path, folders: tuple[Path, Path]) -> None:
    with pytest.raises(UserError, match=r"holds no results\.json"):
        render_evals(tmp_path)
    with pytest.raises(UserError, match=r"holds no results\.json"):
        render_evals(folders[0], tmp_path)
