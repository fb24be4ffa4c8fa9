"""The page: well-formed, alone, equal to its records, safe with any text, sensible with records missing."""

from __future__ import annotations

import itertools
import json
import re
import shutil
from pathlib import Path

import pytest
from html_page import Page
from run_builder import (
    BYTES,
    HOSTILE,
    SEAL,
    START,
    TARGET_FLOPS,
    TOKENS,
    WORDS,
    build_complete,
    build_forecast,
    build_interrupted,
    build_ladder,
    build_refused,
    edit,
    law,
    write_json,
)

from foretell.core.errors import UserError
from foretell.report import write_report
from foretell.report.records import RECORD_FILES


def report(folder: Path) -> Page:
    return Page(write_report(folder).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_complete(tmp_path_factory.mktemp("runs") / "laptop")


@pytest.fixture(scope="module")
def complete_page(complete: Path) -> Page:
    return report(complete)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave matplotlib's part out where a test is about the text."""
    monkeypatch.setattr("foretell.report.drawing._render", lambda *_: "<svg><g/></svg>")


def copy_of(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


@pytest.mark.parametrize("build", [build_complete, build_refused, build_interrupted, build_ladder])
def test_pages_are_well_formed_with_unique_ids_and_resolved_references(build, tmp_path):
    page = report(build(tmp_path / "run"))
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    targets = [h[1:] for h in page.values("href") if h.startswith("#")] + re.findall(r"url\(#([^)]+)\)", page.raw)
    targets += page.values("aria-labelledby") + page.values("data-copy")
    assert targets and set(targets) <= set(ids)
    assert not re.search(r"{{ |{%|\bNone\b|\bnan\b|Undefined", page.raw)


def test_headings_are_in_order_and_pictures_have_words(complete_page):
    levels = [int(tag[1]) for tag, _ in complete_page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(deeper <= level + 1 for level, deeper in itertools.pairwise(levels))
    pictures = [attrs for tag, attrs in complete_page.tags if tag == "svg"]
    assert len(pictures) == 5
    assert all(attrs["role"] == "img" and len(attrs["aria-label"] or "") > 60 for attrs in pictures)
    tags = {tag for tag, _ in complete_page.tags}
    assert {"main", "nav", "header", "footer"} <= tags


def test_nothing_is_loaded_from_elsewhere(complete_page):
    assert not complete_page.values("src") and "@import" not in complete_page.raw
    for tag, attrs in complete_page.tags:
        href = attrs.get("href") or attrs.get("xlink:href") or ""
        if tag == "a":
            assert re.match(r"#|\./|https://arxiv\.org/abs/|https://example\.org/", href), href
        else:
            assert href == "" or href.startswith(("#", "data:")), (tag, href)
    assert re.findall(r"url\((?!#)", complete_page.raw) == []
    policy = next(a["content"] for t, a in complete_page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")


def test_every_relative_link_leads_to_a_file(complete, complete_page):
    links = {href for href in complete_page.values("href") if href.startswith("./")}
    assert len(links) > 30
    assert [link for link in links if not (complete / link).exists()] == []
    assert {f"./{path}" for path in RECORD_FILES if (complete / path).is_file()} <= links


def test_sizes_are_sane_and_equal_records_give_equal_pages(complete, complete_page):
    assert 50_000 < len(complete_page.raw.encode()) < 1_500_000
    assert write_report(complete).read_text(encoding="utf-8") == complete_page.raw
    assert "2.13.0" in complete_page.text and "Matplotlib" not in complete_page.raw


def test_numbers_are_those_of_the_records(complete_page):
    factor, text = BYTES / WORDS, complete_page.text
    median, outcome = law(TARGET_FLOPS), law(TARGET_FLOPS) * 1.011
    assert f"The forecast was {median * factor:.3f} bits per word ({median:.3f} bits per byte)" in text
    assert f"the trained model reached {outcome * factor:.3f} bits per word" in text
    assert "inside the interval, 1.1 % above the median" in text
    assert f"{median * 0.953 * factor:.3f} to {median * 1.047 * factor:.3f}" in text
    assert "The largest rung used 1/210 of the target's compute" in text and "the smallest 1/5,000" in text
    ladder_flops = 3 * TARGET_FLOPS * sum(1 / n for n in (5000, 2200, 1000, 450, 210)) + 20 * 2e9
    assert f"cost {100 * ladder_flops / TARGET_FLOPS:.1f} % of the target's compute and 2m20s of time, " in text
    assert f"{100 * 140.2 / (TARGET_FLOPS / 9e10):.1f} % of the target's" in text  # the longer of stage and steps
    assert "the last one all of it" in text
    assert "2,883,584" in text and f"{TOKENS:,}" in text and SEAL in text
    assert "registered at 2026-01-05 08:05:00 UTC, 1.0s before the target's training began" in text
    assert "assumed: 20 W for the machine and 15 W for each of 2 cores in use" in text


@pytest.mark.parametrize(
    ("file", "key", "value", "shown"),
    [
        ("forecast.json", "forecast.median", 1.9, f"{1.9 * BYTES / WORDS:.3f} bits per word (1.900 bits per byte)"),
        ("forecast.json", "forecast.level", 0.8, "80 % interval"),
        ("forecast.json", "sha256", "77" * 32, "77" * 32),
        ("score.json", "outcome", 1.2345, "(1.234 bits per byte)"),
        ("score.json", "inside", False, "outside the interval"),
        ("target/result.json", "peak_share", 0.7345, "73.5 %"),
        ("target/result.json", "parameters.total", 7654321, "7,654,321"),
        ("target/result.json", "joules", 3.6e6, "1 kWh"),
        ("corpus/summary.json", "splits.train.documents", 98765, "98,765 documents"),
        ("environment.json", "matmul_peak", 3.33e12, "3.33 TFLOP/s"),
        ("plan.json", "target.ffn_width", 1717, "1,717"),
        ("tokens/index.json", "splits.train.tokens", 81818181, "81,818,181"),
        ("ladder/tuning.json", "sentence", "Tuned by hand.", "Tuned by hand."),
    ],
)
@pytest.mark.usefixtures("undrawn")
def test_a_changed_record_changes_the_page(file, key, value, shown, complete, complete_page, tmp_path):
    folder = copy_of(complete, tmp_path)
    edit(folder / file, key, value)
    assert shown not in complete_page.text
    assert shown in report(folder).text


@pytest.mark.usefixtures("undrawn")
def test_text_from_data_stays_text(tmp_path):
    page = report(build_complete(tmp_path / "run", hostile=True))
    assert [tag for tag, _ in page.tags if tag in ("img", "iframe")] == []
    assert len([tag for tag, _ in page.tags if tag == "script"]) == 1
    assert all(not name.startswith("on") for _, attrs in page.tags for name in attrs)
    assert not any(href.strip().lower().startswith("javascript") for href in page.values("href"))
    shown = "".join(page.words)
    assert shown.count(HOSTILE) > 10 and "javascript:alert(1)" in shown
    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]", page.raw)


@pytest.mark.parametrize("path", [path for path in RECORD_FILES if path != "recipe.yaml"])
@pytest.mark.usefixtures("undrawn")
def test_each_record_may_be_missing(path, complete, tmp_path):
    folder = copy_of(complete, tmp_path)
    (folder / path).unlink(missing_ok=True)
    page = report(folder)
    assert f"./{path}" not in page.values("href")
    assert f"{path} (not there)" in page.text or "; not there" in page.text


@pytest.mark.usefixtures("undrawn")
def test_missing_figures_are_named_and_never_zero(complete, tmp_path):
    folder = copy_of(complete, tmp_path)
    for key in ("joules", "peak_share", "tokens_per_second", "seconds"):
        edit(folder / "target/result.json", key, None)
    page = report(folder)
    assert "ladder and target together took" not in page.text
    target_row = re.search(r'<th scope="row">target</th>.*?</tr>', page.raw)
    assert target_row and target_row[0].count("not recorded") == 2


def test_a_bare_run_says_what_is_not_there(tmp_path):
    (tmp_path / "recipe.yaml").write_text("seed: 1\n")
    page = report(tmp_path)
    assert page.text.count("not yet") >= 6 and "No model has been trained yet" in page.text
    assert "svg" not in dict(page.tags)
    assert not re.search(r">\s*0(\.0+)?\s*<", page.raw.split("<main>")[1].split('id="settings"')[0])


@pytest.mark.usefixtures("undrawn")
def test_a_refused_run_gives_its_reasons_once(tmp_path):
    page = report(build_refused(tmp_path / "run"))
    assert "Refused: the ladder cannot carry this forecast" in page.text
    assert page.text.count("Local slopes rise from 0.07 to 0.10") == 1
    assert "for the record only" in page.text and "The target has not been trained." in page.text


@pytest.mark.usefixtures("undrawn")
def test_an_interrupted_target_shows_how_far_it_came(tmp_path):
    page = report(build_interrupted(tmp_path / "run"))
    assert re.search(r"The target is unfinished: 1\.58 million of 3\.94 million \(40\.0 %\) tokens trained", page.text)
    assert "the same command goes on from there" in page.text
    assert "The outcome is not measured yet" in page.text and "Training of the target" in page.text


@pytest.mark.usefixtures("undrawn")
def test_an_unfinished_ladder_lists_what_is_planned(tmp_path):
    page = report(build_ladder(tmp_path / "run", rungs=2))
    assert "6 rung runs finished, 9 rung runs of the plan to go" in page.text
    assert page.text.count("planned: width") == 9
    assert "No forecast is registered" in page.text


@pytest.mark.usefixtures("undrawn")
def test_a_forecast_dated_after_the_start_does_not_count(complete, tmp_path):
    folder = copy_of(complete, tmp_path)
    edit(folder / "forecast.json", "created_unix", START + 401.0)
    assert "1m40s after the target's training began: it does not count as a forecast" in report(folder).text


@pytest.mark.usefixtures("undrawn")
def test_a_diverged_run_is_named_as_such(tmp_path):
    folder = build_ladder(tmp_path / "run")
    write_json(folder / "ladder/runs/x/result.json", {
        "role": "tuning", "width": 16, "seed": 9, "flops": 2e9, "diverged": "Loss was not finite."
    })  # fmt: skip
    page = report(folder)
    row = re.search(r"width 16, seed 9</a>.*?</tr>", page.raw)
    assert row and row[0].count("diverged") == 2
    assert "Diverged: 0.064" in page.text


@pytest.mark.usefixtures("undrawn")
def test_many_projects_stay_a_readable_page(tmp_path):
    folder = build_forecast(build_ladder(tmp_path / "run"))
    names = [f"document {number}" for number in range(20_000)]
    projects = [{"project": name, "split": "train", "documents": 1, "bytes": 10, "licence": None} for name in names]
    edit(folder / "corpus/summary.json", "projects", projects)
    edit(folder / "corpus/summary.json", "heldout_projects", names)
    page = report(folder)
    assert len(page.raw.encode()) < 1_000_000
    assert "The 300 largest of 20,000 projects" in page.text and "and 19,988 more" in page.text


@pytest.mark.usefixtures("undrawn")
def test_citations_carry_name_version_and_seal(tmp_path):
    folder = build_forecast(build_ladder(tmp_path / "run", name="50% of R&D_{x}"))
    page = report(folder)
    assert "50% of R&D_{x} (Version 9f2c9f2c) [Language model]. (2026). Trained with Foretell 0.1.0." in page.text
    assert r"@misc{50-of-r-d-x-9f2c9f2c," in page.text
    assert r"{{50\% of R\&D\_\{x\}: a language model of 2.88 million parameters}}" in page.text
    assert f"Forecast registered with SHA-256 {SEAL}" in page.text
    entry = re.search(r"@misc\{.*?\n\}", "".join(page.words), flags=re.DOTALL)
    plain = re.sub(r"\\[{}]", "", entry[0]) if entry else ""
    assert plain.count("{") == plain.count("}") > 4


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("plan.json", "[1]", r"plan.json holds a list; a JSON object is expected"),
        ("plan.json", '{"target": 3}', r"plan.json: target is 3; an object is expected"),
        ("forecast.json", '{"forecast": {"median": "low"}}', r"forecast.json: forecast.median is 'low'; a number"),
        ("forecast.json", '{"forecast": {"target_flops": 1, "band": {"flops": [1]}}}', r"lists of forecast.band"),
        ("forecast.json", '{"forecast": {"target_flops": -1}}', r"target_flops is -1.0; a number above 0"),
        ("score.json", '{"inside": 1}', r"score.json: inside is 1; true or false is expected"),
        ("samples.json", '{"text": 1}', r"samples.json: samples is .*; a list is expected"),
        ("samples.json", '["x"]', r"a list of objects is expected"),
        ("tokens/index.json", '{"splits"', r"index.json is not readable as JSON"),
        ("corpus/manifest.csv", "a,b\n1,2\n", r"manifest.csv is not a manifest"),
        ("corpus/manifest.csv", "bytes,split\nmany,train\n", r"manifest.csv is not a manifest"),
        ("ladder/tuning.json", '{"candidates": [{"learning_rate": 1, "losses": [0]}]}', r"above 0, are expected"),
    ],
)
def test_broken_records_are_named(file, content, sentence, complete, tmp_path):
    folder = copy_of(complete, tmp_path)
    (folder / "score.json").unlink() if file != "score.json" else None
    (folder / file).write_text(content)
    with pytest.raises(UserError, match=sentence):
        write_report(folder)
    assert json.loads((folder / "environment.json").read_text())["foretell"] == "0.1.0"


def test_a_folder_without_a_recipe_is_no_run(tmp_path):
    with pytest.raises(UserError, match=r"holds no recipe\.yaml"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []
