"""The figure of a table's forecast: what it holds, where it is drawn, in which colours, for few runs and thousands."""

from __future__ import annotations

import dataclasses
import re
import warnings
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from table_forecast import plain_record, png_pixels, real_record, rows

from foretell.core.errors import UserError
from foretell.laws.tables.runs import Run
from foretell.report.drawing import BOTTOM, LAW, LEGEND_ROW, LIGHT, OUTCOME, RUNG
from foretell.report.forecast_figure import (
    NARROW,
    WIDE,
    compute_label,
    figure_label,
    forecast_svg,
    limits_of,
    write_table_figure,
)
from foretell.report.forecast_record import ShownRun, ranges


@pytest.fixture(scope="module")
def record():
    return real_record()


def test_every_run_is_shown_for_what_it_was(record) -> None:
    assert Counter(shown.use for shown in record.runs) == {"used": 12, "kept back": 2}
    assert all(shown.run.flops > 5e19 for shown in record.runs if shown.use == "kept back")
    assert sum(rows.count for rows in record.left_out) == 2
    assert len(record.runs) + 2 == len(rows())


def test_the_figure_names_its_axes_and_entries_and_states_the_target(record) -> None:
    svg = forecast_svg(record)
    made = record.forecast
    for words in ("val_loss", "training compute, FLOPs", "runs used", "runs kept back", "points fitted", "90 % band",
                  f"{made.median:.3f}  ({made.low:.3f} to {made.high:.3f})", "10²⁰"):  # fmt: skip
        assert words in svg, words
    assert "left out" not in svg and "refused" not in svg
    assert "2 runs kept back" in figure_label(record)


def test_points_stand_where_log_log_axes_put_them(record) -> None:
    root = ElementTree.fromstring(re.sub(r'aria-label="[^"]*"', "", forecast_svg(record)))
    uses = [e.attrib for e in root.iter() if e.tag.endswith("use") and "var(--figure-outcome)" in e.get("style", "")]
    # the topmost is the legend's
    (x0, y0), (x1, y1) = sorted(((float(use["x"]), float(use["y"])) for use in uses), key=lambda place: place[1])[1:]
    limits = limits_of(record)
    high, low = sorted((shown.run.value for shown in record.runs if shown.use == "kept back"), reverse=True)
    assert x0 == pytest.approx(x1)  # both have the same compute
    height = (y1 - y0) / (np.log(high / low) / np.log(limits.loss[1] / limits.loss[0]))
    assert height == pytest.approx(WIDE[1] - BOTTOM - 2 * LEGEND_ROW, rel=0.01)


@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_ids_and_colours_belong_in_a_page(record, size) -> None:
    svg = forecast_svg(record, size, "one")
    used = {a or b for a, b in re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', svg)}
    assert used <= set(re.findall(r' id="([^"]+)"', svg)) and all(name.startswith("one") for name in used)
    assert "#01020" not in svg and {"var(--figure-law)", "var(--figure-paper)"} <= set(re.findall(r"var\([^)]+\)", svg))


def test_a_png_has_the_light_palette_and_no_sentinel(record, tmp_path: Path) -> None:
    write_table_figure(tmp_path / "f.png", record)
    pixels = png_pixels(tmp_path / "f.png")
    found = {tuple(row) for row in np.unique((pixels.reshape(-1, 3) * 255).round().astype(int), axis=0)}
    for sentinel in (LAW, RUNG):
        assert tuple(round(255 * part) for part in to_rgb(LIGHT[sentinel])) in found
    assert tuple(pixels[0, 0]) == (1, 1, 1)
    assert min(map(sum, found)) >= sum(round(255 * part) for part in to_rgb(LIGHT[RUNG]))
    warm = [colour for colour in found if colour[0] > colour[2] + 60]  # the kept back, half transparent
    assert warm and to_rgb(LIGHT[OUTCOME])[0] > to_rgb(LIGHT[OUTCOME])[2]


def test_equal_records_give_equal_files_and_other_suffixes_are_refused(record, tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        write_table_figure(tmp_path / name, record)
    assert (tmp_path / "a.svg").read_text() == (tmp_path / "b.svg").read_text()
    with pytest.raises(UserError, match=r"ends in \.svg or \.png"):
        write_table_figure(tmp_path / "a.pdf", record)


def test_a_refusal_is_drawn_as_one() -> None:
    svg = forecast_svg(plain_record("loss", [3.0, 2.8, 2.7], refused=True))
    assert "refused: 1.350" in svg
    assert "refused" in figure_label(plain_record("loss", [3.0, 2.8], refused=True))


def test_runs_that_were_used_stay_on_the_axes_and_a_diverged_one_may_leave() -> None:
    record = plain_record("loss", [3.0, 2.8, 2.7])
    spoilt = ShownRun(Run(9, "bad", "", 1e18, None, None, 900.0), "far from the frontier")
    limits = limits_of(dataclasses.replace(record, runs=(*record.runs, spoilt)))
    assert limits.above == 1 and limits.loss[1] < 5 and limits.flops[0] < 1e18 and limits.flops[1] > 1e21
    early = ShownRun(Run(9, "early", "", 1e15, None, None, 30.0), "used")
    limits = limits_of(dataclasses.replace(record, runs=(early, *record.runs)))
    assert limits.above == 0 and limits.loss[1] > 30 and limits.flops[0] < 1e15


def test_a_share_has_an_axis_from_0_to_1() -> None:
    record = plain_record("arc_acc", [0.98, 0.5, 0.2])
    zero = ShownRun(Run(9, "", "", 1e18, None, None, 0.0), "used")
    record = dataclasses.replace(record, runs=(*record.runs, zero))
    limits = limits_of(record)
    assert limits.loss[0] == 0 and 0.98 < limits.loss[1] <= 1.05
    svg = forecast_svg(record)
    assert "arc_acc" in svg and {"0", "0.2", "0.4", "0.6", "0.8", "1"} <= set(re.findall(r">([^<>]*)</text>", svg))


def test_the_figures_of_the_target_stand_where_the_law_leaves_room() -> None:
    for values, above in (([0.8, 0.6, 0.5], False), ([0.1, 0.2, 0.4], True)):
        record = plain_record("arc_acc", values)
        made = record.forecast
        if above:  # the made-up law ends at half of the last value; let it end above
            band = made.band | {name: [*made.band[name][:-1], 0.5] for name in ("low", "median", "high")}
            made = dataclasses.replace(made, band=band, median=0.5, low=0.5, high=0.5)
        svg = forecast_svg(dataclasses.replace(record, forecast=made))
        bar = re.search(r'"M ([\d.]+) ([\d.]+) \nL \1 ([\d.]+)[^>]*stroke: var\(--figure-law\)', svg)
        place = re.search(r'<text [^>]*?y="([\d.]+)"[^>]*>\d.\d+  \(', svg)
        assert place is not None and bar is not None
        assert (float(place[1]) < min(float(bar[2]), float(bar[3]))) is above


def test_any_name_of_a_metric_is_a_label_and_the_file_is_xml(tmp_path: Path) -> None:
    name = "损失 <b>&$x_1$ \x00\n" + "very_long" * 20
    record = plain_record(name, [3e-8, 2e-8, 1.5e-8])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for suffix in ("svg", "png"):
            write_table_figure(tmp_path / f"f.{suffix}", record)
    root = ElementTree.parse(tmp_path / "f.svg").getroot()
    texts = ["".join(element.itertext()).strip() for element in root.iter() if element.tag.endswith("text")]
    assert any(text.startswith("损失 <b>&$x_1$ very_long") and text.endswith("…") for text in texts)
    assert "2e-08" in texts


def test_thousands_of_runs_make_a_file_of_bounded_size() -> None:
    record = plain_record("loss", [3.0, 2.8, 2.7])
    generator = np.random.default_rng(0)
    many = tuple(
        ShownRun(Run(i, "", "", float(flops), None, None, float(value)), "used")
        for i, (flops, value) in enumerate(zip(10 ** generator.uniform(17, 20.9, 10_000),
                                               generator.uniform(2, 4, 10_000), strict=True))
    )  # fmt: skip
    crowded = forecast_svg(dataclasses.replace(record, runs=many))
    assert 3000 < crowded.count("<use") < 10_000 and len(crowded) < 1_200_000


@given(st.sets(st.integers(1, 60), min_size=1))
def test_ranges_name_exactly_the_numbers(numbers: set[int]) -> None:
    found: set[int] = set()
    for part in ranges(numbers).split(", "):
        first, _, last = part.partition(" to ")
        found |= set(range(int(first), int(last or first) + 1))
    assert found == numbers


def test_numbers_beside_each_other() -> None:
    assert ranges([5, 3, 4, 9, 10, 12]) == "3 to 5, 9, 10, 12"
    assert [compute_label(value) for value in (1e21, 5e18, 2e10)] == ["10²¹", "5×10¹⁸", "2×10¹⁰"]
