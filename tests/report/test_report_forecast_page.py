"""The page of a forecast: well-formed, alone, safe with any text, its numbers those of the record."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from html_page import Page
from table_forecast import CONTEXT, plain_record, real_record

from foretell.core.errors import UserError
from foretell.laws.records import Finding
from foretell.laws.tables.runs import Run
from foretell.report.forecast_page import RUNS_LISTED, laws, render_forecast, write_forecast_page
from foretell.report.forecast_record import ShownRun, record_of_folder


@pytest.fixture(scope="module")
def record():
    return real_record()


@pytest.fixture(scope="module")
def page(record) -> Page:
    return Page(render_forecast(record))


def cells(page: Page, caption: str) -> list[list[str]]:
    """Rows of the table of a caption."""
    table = page.raw.split(f"<caption>{caption}</caption>")[1].split("</table>")[0]
    found = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", table, re.DOTALL)
    width = table.split("</thead>")[0].count("<th ")
    return [found[start : start + width] for start in range(width, len(found), width)]


def test_the_page_needs_nothing_but_itself(page: Page) -> None:
    assert not [value for name in ("src", "srcset") for value in page.values(name)]
    assert all(value.startswith(("#", "data:")) for value in page.values("href"))
    assert "http-equiv" in page.raw and "default-src 'none'" in page.raw
    assert not re.search(r"@import|url\((?!#)", page.raw)
    identities = page.values("id")
    assert len(identities) == len(set(identities))
    assert {value[1:] for value in page.values("href") if value.startswith("#")} <= set(identities)


def test_its_figures_are_those_of_the_record(page: Page, record) -> None:
    made = record.forecast
    assert made.sentence in page.text
    tiles = re.findall(r'class="value">([^<]*)<', page.raw)
    assert tiles[0] == f"{made.median:.3f}" and tiles[1] == f"{made.low:.3f} to {made.high:.3f}"
    assert tiles[4] == "12 of 14" and tiles[5] == str(len(made.rungs))
    for row, rung in zip(cells(page, "Points that the law is fitted to"), made.rungs, strict=True):
        assert row[0] == rung["label"] and float(row[-3]) == pytest.approx(rung["mean_loss"], abs=5e-4)
        assert float(row[-2]) == pytest.approx(rung["standard_error"], rel=0.01)
        assert float(row[-1].rstrip(" %")) / 100 == pytest.approx(rung["residual"], abs=5.1e-5)
    for finding in made.findings:
        assert finding.sentence in page.text
    severities = [tag[1]["class"] for tag in page.tags if tag[0] == "li" and "data-code" in tag[1]]
    assert severities == sorted(severities, reverse=True)  # warnings before notes


def test_every_law_has_its_constants_and_share(page: Page, record) -> None:
    law = record.forecast.law
    shown = laws(law)
    assert [one.name for one in shown] == [law["name"], *(other["name"] for other in law.get("averaged_with", []))]
    for one, fitted in zip(shown, (law, *law.get("averaged_with", [])), strict=True):
        assert one.formula in page.text
        rows = cells(page, f"Constants of the {one.name}")
        assert len(rows) >= 3
        for name, *figures in rows:
            expected = [fitted[name][key] for key in ("median", "low", "high")]
            assert list(map(float, figures)) == pytest.approx(expected, rel=1e-3)


def test_laws_that_are_averaged_are_all_there() -> None:
    constant = {"median": 1.0, "low": 0.5, "high": 2.0}
    law = {"name": "power law", "formula": "aC", "a": constant, "seed_noise": constant, "probability": 0.7}
    law["averaged_with"] = [{"name": "relaxing slope", "formula": "m - e x", "probability": 0.3, "m": constant}]
    record = plain_record("loss", [3.0, 2.8, 2.7])
    page = Page(render_forecast(dataclasses.replace(record, forecast=dataclasses.replace(record.forecast, law=law))))
    assert "probability 70 %" in page.text and "Relaxing slope, probability 30 %" in page.text
    assert "differ by 1e+02 % (50 to 2e+02 %)" in page.text
    assert cells(page, "Constants of the relaxing slope") == [["m", "1", "0.5", "2"]]


def test_every_row_is_accounted_for(page: Page, record) -> None:
    runs = cells(page, "Runs")
    assert len(runs) == 14 and runs[0][-1] == "kept back"
    for row, shown in zip(runs, reversed(record.runs), strict=True):
        assert float(row[-2]) == pytest.approx(shown.run.value, abs=5e-4) and row[-1] == shown.use
    left = cells(page, "Rows left out")
    assert sum(int(row[1]) for row in left) == 2 and all(row[2] for row in left)


def test_where_it_came_from_is_shown_and_no_text_is_markup(page: Page) -> None:
    for words in (
        CONTEXT["command"],
        CONTEXT["source"]["sha256"],
        CONTEXT["git_commit"],
        CONTEXT["created"],
        "<good6>",
    ):
        assert words in page.text
    assert "12.3 million" in page.text and "Foretell 0.1.0" in page.text
    assert "its seal" not in page.text


def test_a_seal_and_a_missing_commit() -> None:
    context = {"registered": {"path": "s.json", "sha256": "cd" * 32}, "git_commit": None}
    page = Page(render_forecast(plain_record("loss", [3.0, 2.8, 2.7], **context)))
    assert "s.json" in page.text and "cd" * 32 in page.text and "not in a repository" in page.text
    assert "Nothing speaks against this forecast" in page.text


def test_a_refusal_is_said_first() -> None:
    record = plain_record("loss", [3.0, 2.8, 2.7], refused=True)
    page = Page(render_forecast(record))
    assert page.text.index("Refused: these runs cannot carry the forecast") < page.text.index(record.forecast.sentence)
    assert "1 refusal" in page.text and "Refused. Too far." in page.text


def test_public_forecasts_have_a_place_of_their_own(page: Page) -> None:
    assert "on public families the median error at about that distance" in page.text
    record = plain_record("loss", [3.0, 2.8, 2.7])
    untold = Page(
        render_forecast(dataclasses.replace(record, forecast=dataclasses.replace(record.forecast, findings=())))
    )
    assert "No public forecasts at about this distance" in untold.text
    said = Finding("track-record", "note", "The median error at about that distance was 4.0 %.")
    told = dataclasses.replace(record.forecast, findings=(said,))
    page = Page(render_forecast(dataclasses.replace(record, forecast=told)))
    assert page.text.count(said.sentence) == 1 and "No public forecasts" not in page.text


def test_of_many_runs_the_largest_are_listed_and_it_is_said() -> None:
    record = plain_record("loss", [3.0, 2.8, 2.7])
    many = tuple(ShownRun(Run(i, "", "", 1e17 * (1 + i), None, None, 3.0), "used") for i in range(RUNS_LISTED + 500))
    page = Page(render_forecast(dataclasses.replace(record, runs=many)))
    assert len(cells(page, "Runs")) == RUNS_LISTED and cells(page, "Runs")[0][0] == f"row {RUNS_LISTED + 499}"
    assert "The largest 1,000 of 1,500 runs" in page.text


def test_a_run_directory_has_the_page_too(record, tmp_path: Path) -> None:
    folder = record_of_folder(record.forecast, {"options": {}})
    write_forecast_page(tmp_path / "a.html", folder)
    page = Page((tmp_path / "a.html").read_text(encoding="utf-8"))
    assert f"{len(record.forecast.observations)} of {len(record.forecast.observations)}" in page.text
    with pytest.raises(UserError):
        write_forecast_page(tmp_path, folder)


def test_equal_records_give_equal_pages(record) -> None:
    assert render_forecast(record) == render_forecast(record)
