"""Scores, scales, percentiles and intervals of exams against figures worked out by other means."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from exam_papers import make_exam
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from foretell.cli.main import main
from foretell.core.errors import UserError
from foretell.evals.exams.form import Exam, ExamItem, Human, Rule, Scale, read_exam
from foretell.evals.exams.marking import Mark
from foretell.evals.exams.scoring import contaminated_items, scale_scores, score_exam, worth
from foretell.evals.exams.tables import find_table, from_shares, make_table

TABLES = Path(__file__).parents[3] / "shared" / "data" / "percentiles"
here = pytest.mark.skipif(not TABLES.is_dir(), reason="the shared tables are not here")


def marks_of(exam: Exam, shares: str) -> dict[tuple[str, str], Mark]:
    """Marks by letters: r right, w wrong, b blank."""
    values = {"r": 1.0, "w": 0.0, "b": None}
    return {key: Mark(values[letter], None, "key") for key, letter in zip(exam.item_keys, shares, strict=True)}


def with_rule(exam: Exam, **rule: float) -> Exam:
    sections = [section.model_copy(update={"rule": Rule(**rule)}) for section in exam.sections]
    return exam.model_copy(update={"sections": tuple(sections)})


def test_amc_rights_only_and_a_penalty() -> None:
    exam = make_exam({"one": 25})
    marks = marks_of(exam, "r" * 12 + "w" * 8 + "b" * 5)
    amc = score_exam(with_rule(exam, right=6, wrong=0, blank=1.5), marks, {}).all.exam
    assert (amc.raw, amc.most) == (12 * 6 + 5 * 1.5, 150)
    assert score_exam(exam, marks, {}).all.exam.raw == 12
    assert score_exam(with_rule(exam, wrong=-0.25), marks, {}).all.exam.raw == pytest.approx(10)
    nothing = marks_of(exam, "w" * 25)
    assert score_exam(with_rule(exam, wrong=-0.25), nothing, {}).all.exam.raw == 0
    unclipped = with_rule(exam, wrong=-0.25).model_copy(update={"clip": False})
    assert score_exam(unclipped, nothing, {}).all.exam.raw == pytest.approx(-6.25)


def test_free_responses_are_not_penalised() -> None:
    rule = Rule(right=1, wrong=-1, blank=0.25)
    assert worth(rule, Mark(0.5, None, "person"), free=True) == 0.5
    assert worth(rule, Mark(0.0, None, "person"), free=True) == 0
    assert worth(rule, Mark(None, None, "key"), free=True) == 0.25


def test_weights_of_items_and_sections() -> None:
    """UBE's: a section of half the weight, and parts of three tenths and two."""
    exam = make_exam({"mbe": 10, "mee": 2, "mpt": 1})
    weighted = [section.model_copy(update={"weight": 400 * share / len(section.items)})
                for section, share in zip(exam.sections, (0.5, 0.3, 0.2), strict=True)]  # fmt: skip
    exam = exam.model_copy(update={"sections": tuple(weighted)})
    marks = marks_of(exam, "rrrrrrrwww" + "rw" + "r")
    assert score_exam(exam, marks, {}).all.exam.scaled == pytest.approx(400 * (0.5 * 0.7 + 0.3 * 0.5 + 0.2))
    item = ExamItem(id="1", question="?", rubric="r", points=6)
    assert (item.counts, item.model_copy(update={"weight": 2.0}).counts) == (6, 2)


def test_scales() -> None:
    table = Scale(table=((0, 120), (10, 140), (20, 180)))
    assert scale_scores(table, np.array([-1, 0, 9.99, 10, 19, 20, 99])).tolist() == [120, 120, 120, 140, 140, 180, 180]
    line = Scale(slope=2, intercept=200, step=10, least=200, most=240)
    assert scale_scores(line, np.array([0, 2.4, 2.5, 12, 50])).tolist() == [200, 200, 210, 220, 240]
    assert scale_scores(None, np.array([1.5])).tolist() == [1.5]


def test_a_percentile_is_who_scored_lower_and_the_range_who_scored_the_same() -> None:
    table = from_shares({5: 2, 4: 3, 3: 1, 1: 4}, name="t", source="s", year="2020")
    assert (table.scores, table.below) == ((1, 3, 4, 5), (0, 40, 50, 80))
    lower, upper = table.range_of(np.array([0, 1, 2, 3, 4, 5, 6]))
    assert lower.tolist() == [0, 0, 0, 40, 50, 80, 80]
    assert upper.tolist() == [0, 40, 40, 50, 80, 100, 100]


@given(st.lists(st.integers(0, 12), min_size=1, max_size=60))
def test_ranges_are_those_of_the_people_themselves(people: list[int]) -> None:
    shares = {float(score): float(people.count(score)) for score in set(people)}
    table = from_shares(shares, name="t", source="s", year="2020")
    lower, upper = table.range_of(np.arange(13))
    for score in set(people):
        assert lower[score] == pytest.approx(100 * sum(other < score for other in people) / len(people))
        assert upper[score] == pytest.approx(100 * sum(other <= score for other in people) / len(people))


@here
def test_known_tables_give_the_published_figures() -> None:
    """Spot values of the tables' files; AP Art History 5 is the report's kind of range, from its lower end to 100."""
    lsat = find_table(Human(table="lsat", form="2002_to_2005"), TABLES)
    assert [float(part[0]) for part in lsat.range_of(np.array([163]))] == [89.4, 91.0]
    assert find_table(Human(table="lsat"), TABLES).name == "lsat 2010_to_2013"
    gre = find_table(Human(table="gre", form="quant"), TABLES)
    assert [part.tolist() for part in gre.range_of(np.array([163, 164, 170, 100]))] == [
        [82, 82, 96, 0],
        [93, 93, 100, 9],
    ]
    ube = find_table(Human(table="ube"), TABLES)
    assert [float(part[0]) for part in ube.range_of(np.array([298]))] == [73, 90]
    amc = find_table(Human(table="amc", form="AMC12A 2021 Fall"), TABLES)
    assert [part.tolist() for part in amc.range_of(np.array([91.5, 91]))] == [[95, 0], [100, 95]]
    ap = find_table(Human(table="ap", form="AP Calculus BC 2023"), TABLES)
    lower, upper = ap.range_of(np.array([5, 1]))
    assert lower[0] == pytest.approx(58) and upper[0] == 100 and (lower[1], upper[1]) == (0, pytest.approx(6))
    assert find_table(Human(table="ap", form="Biology"), TABLES).year == "2023"


@here
@pytest.mark.parametrize(
    ("human", "said"),
    [
        (Human(table="ap", form="Calculus BD 2022"), "nearest: Calculus BC 2022"),
        (Human(table="ap"), "needs a form"),
        (Human(table="lsat", form="1999"), "no form '1999'"),
        (Human(table="gre"), "verbal, quant, writing"),
    ],
)
def test_unknown_forms_name_the_nearest(human: Human, said: str) -> None:
    with pytest.raises(UserError, match=said):
        find_table(human, TABLES)


def test_tables_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="score 2 has 5 % below it and 1 has 9 %"):
        make_table([(1, 9), (2, 5)], name="t", source="", year="")
    with pytest.raises(UserError, match="score 1 is there twice"):
        make_table([(1, 9), (1, 9)], name="t", source="", year="")
    with pytest.raises(UserError, match="--tables DIR"):
        find_table(Human(table="lsat"), None)
    with pytest.raises(UserError, match="is missing"):
        find_table(Human(table="lsat"), tmp_path)
    (tmp_path / "lsat_percentiles.json").write_text('{"lsat_curve_2000": [{"score": 1}]}')
    with pytest.raises(UserError, match="not of the form that is known"):
        find_table(Human(table="lsat"), tmp_path)


def test_the_interval_is_the_binomial_of_items_drawn_again() -> None:
    exam = make_exam({"one": 40})
    result = score_exam(exam, marks_of(exam, "r" * 26 + "w" * 14), {}, level=0.9).all.exam
    expected = binom.ppf([0.05, 0.95], 40, 26 / 40)
    assert result.raw == 26
    assert np.abs(np.array(result.interval) - expected).max() <= 1
    wide = score_exam(exam, marks_of(exam, "r" * 26 + "w" * 14), {}, level=0.99).all.exam
    assert wide.interval[0] < result.interval[0] and wide.interval[1] > result.interval[1]
    assert result == score_exam(exam, marks_of(exam, "r" * 26 + "w" * 14), {}).all.exam


def test_items_are_drawn_within_sections_and_a_flat_section_is_noted() -> None:
    exam = make_exam({"sure": 30, "even": 10})
    score = score_exam(exam, marks_of(exam, "r" * 30 + "rw" * 5), {})
    assert score.all.sections[0].interval == (30, 30)
    low, high = score.all.exam.interval
    assert (low, high) == (30 + score.all.sections[1].interval[0], 30 + score.all.sections[1].interval[1])
    assert any("'sure' were marked alike" in note for note in score.notes)


def test_the_percentile_interval_holds_the_tie_range_and_the_sampling_error() -> None:
    exam = make_exam({"one": 40})
    table = make_table([(n, 100 * n / 41) for n in range(41)], name="t", source="s", year="2020")
    people = score_exam(exam, marks_of(exam, "r" * 20 + "w" * 20), {"": table}).all.exam.percentile
    assert people is not None
    assert (people.value, people.upper) == (pytest.approx(2000 / 41), pytest.approx(2100 / 41))
    low, high = binom.ppf([0.05, 0.95], 40, 0.5)
    assert people.interval[0] == pytest.approx(100 * low / 41, abs=2.5)
    assert people.interval[1] == pytest.approx(100 * (high + 1) / 41, abs=2.5)
    perfect = score_exam(exam, marks_of(exam, "r" * 40), {"": table}).all.exam.percentile
    assert perfect is not None and perfect.interval == (pytest.approx(4000 / 41), 100)


def test_the_headline_is_the_lower_score() -> None:
    exam = make_exam({"one": 10, "two": 4})
    marks = marks_of(exam, "rrrrrwwwww" + "rrrr")
    rights = {("one", str(n)) for n in range(5)}
    score = score_exam(exam, marks, {}, contaminated=rights)
    assert score.clean is not None and (score.headline, score.contaminated) == ("clean", 5)
    assert (score.all.exam.raw, score.clean.exam.raw) == (9, 4)
    assert score.clean.sections[0].items == 5
    wrongs = {("one", str(n)) for n in range(5, 9)}
    score = score_exam(exam, marks, {}, contaminated=wrongs)
    assert score.clean is not None and score.headline == "all"
    assert score.clean.sections[0].raw == pytest.approx(10 * 5 / 6)  # extended to the section's length
    nothing_left = {("two", str(n)) for n in range(4)}
    score = score_exam(exam, marks, {}, contaminated=nothing_left)
    assert score.clean is None and any("Every item of 'two'" in note for note in score.notes)
    assert score_exam(exam, marks, {}, contaminated=set()).clean == score.all
    assert score_exam(exam, marks, {}).clean is None


def test_verdicts_must_cover_the_exam() -> None:
    exam = make_exam({"one": 2})
    found = contaminated_items([("one/0", True), ("one/1", None)], exam, "ngram")
    assert found == ({("one", "0")}, {("one", "1")})
    with pytest.raises(UserError, match="nothing about the item 'one/1'"):
        contaminated_items([("one/0", True)], exam, "ngram")
    with pytest.raises(UserError, match="verdict on 'one/1' is 'False'"):
        contaminated_items([("one/0", True), ("one/1", "False")], exam, "ngram")
    with pytest.raises(UserError, match=r"no column of the method 'ngram' filled; run check with --method ngram"):
        contaminated_items([("one/0", None), ("one/1", None)], exam, "ngram")


def test_what_is_not_known_is_not_clean() -> None:
    exam = make_exam({"one": 10, "two": 4})
    marks = marks_of(exam, "rrrrrwwwww" + "rwrw")
    lacking = {("one", "0"), ("one", "1")}
    score = score_exam(exam, marks, {}, contaminated=set(), unknown=lacking)
    assert score.clean is not None and (score.contaminated, score.unknown, score.headline) == (0, 2, "clean")
    assert score.clean.sections[0].raw == pytest.approx(10 * 3 / 8)
    assert any("2 of 14 items are contaminated is not known, such as 'one/0'" in note for note in score.notes)
    every = {("two", str(n)) for n in range(3)}
    score = score_exam(exam, marks, {}, contaminated=every, unknown={("two", "3")})
    assert score.clean is None and any("'two' is contaminated or not known to be clean" in note for note in score.notes)
    assert score_exam(exam, marks, {}).unknown is None


def test_clean_items_that_were_marked_alike_are_noted() -> None:
    exam = make_exam({"one": 4, "two": 4})
    score = score_exam(exam, marks_of(exam, "rrww" + "rrrr"), {}, contaminated={("one", "0"), ("one", "1")})
    alike = [note for note in score.notes if "marked alike" in note]
    assert [note.split(" were")[0] for note in alike] == ["All items of 'two'", "All clean items of 'one'"]


@pytest.fixture
def sat(tmp_path: Path) -> Path:
    """A folder with an exam of shares, and responses to it."""
    items = [{"id": n, "question": f"Which letter is number {n}, of all those that one may think of here?",
              "choices": list("xyz"), "answer": "B"} for n in range(4)]  # fmt: skip
    exam = {"name": "quiz", "year": 2020, "sections": [{"name": "s", "items": items}],
            "scale": {"table": [[0, 1], [2, 3], [4, 5]]},
            "human": {"shares": {1: 50, 3: 30, 5: 20}, "source": "made", "year": 2020}}  # fmt: skip
    (tmp_path / "quiz.yaml").write_text(yaml.safe_dump(exam))
    rows = [{"item": f"s/{n}", "response": "B" if n < 2 else "A"} for n in range(4)]
    (tmp_path / "r.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_the_command_line(sat: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["exam", str(sat / "quiz.yaml"), "--responses", str(sat / "r.jsonl")]
    assert main([*common, "--output", str(sat / "record.json")]) == 0
    printed = capsys.readouterr().out
    assert "headline: 3, percentile 50.0 (those with this score: 50.0 to 80.0) of 2020" in printed
    record = json.loads((sat / "record.json").read_text())
    assert record["all"]["exam"]["percentile"]["interval"] == [0.0, 100.0]
    assert [row["correct"] for row in record["items"]] == [1, 1, 0, 0]
    assert record["headline"] == "all" and record["contaminated"] is None
    assert main(["exam", str(sat / "quiz.yaml")]) == 2


def test_contamination_lowers_the_headline(sat: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From the exam's own file to the verdicts to the score on clean items."""
    exam = read_exam(sat / "quiz.yaml")
    (sat / "corpus.txt").write_text(" ".join(exam.sections[0].items[0].question for _ in range(3)) + " x y z")
    assert main(["contamination", "index", str(sat / "corpus.txt"), "--out", str(sat / "index")]) == 0
    check = ["contamination", "check", str(sat / "index"), str(sat / "quiz.yaml"), "--output", str(sat / "v.parquet")]
    assert main([*check, "--method", "ngram"]) == 0
    capsys.readouterr()
    common = ["exam", str(sat / "quiz.yaml"), "--responses", str(sat / "r.jsonl"), "--json"]
    assert main([*common, "--contaminated", str(sat / "v.parquet"), "--method", "ngram"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["headline"], record["contaminated"]) == ("clean", 1)
    assert record["clean"]["exam"]["raw"] == pytest.approx(4 / 3) and record["clean"]["exam"]["scaled"] == 1
    assert main([*common, "--contaminated", str(sat / "v.parquet")]) == 2  # of substrings, which were not looked for
    assert "no column of the method 'substring' filled" in capsys.readouterr().err
    (sat / "v.csv").write_text("task,item\n")
    assert main([*common, "--contaminated", str(sat / "v.csv")]) == 2
