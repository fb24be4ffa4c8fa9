"""Charts, tables, diagrams, pairs and code: answers found again from pixels, or by another way from what is shown."""

import inspect
from collections import Counter, defaultdict
from itertools import permutations

import numpy as np
import pytest

from foretell.data.visual.generator import GeneratorConfig, plan
from foretell.data.visual.generator.charts import frame_of
from foretell.data.visual.generator.code import lines_of
from foretell.data.visual.generator.palette import COLOURS
from foretell.data.visual.generator.wording import plural

LEVELS = pytest.mark.parametrize("level", [1, 2, 3])


def plans(name, level, count, split="train", **settings):
    config = GeneratorConfig(families={name: 1}, levels=level, **settings)
    return [plan(config, index, split) for index in range(count)]


def unquoted(slots):
    return {key: value.strip('"') for key, value in slots.items()}


def near(pixels, colour, by=60):
    return np.abs(pixels - np.asarray(COLOURS[colour])).sum(-1) < by


@LEVELS
@pytest.mark.parametrize("split", ["train", "heldout"])
def test_bars_in_pixels_are_as_high_as_the_answers_say(level, split):
    asked = Counter()
    for planned in plans("charts", level, 120, split):
        chart = planned.description
        if not chart.is_bars:
            continue
        pixels, frame = np.asarray(planned.document().images[0], int), frame_of(chart)
        (series,) = chart.series
        read = []
        for number in range(len(chart.labels)):
            left, right = frame.slot(number, len(chart.labels))
            middle = pixels[int(frame.upper) : int(frame.lower), int((left + right) / 2)]
            rows = near(middle, series.colour).sum()
            read.append(round(rows / (frame.lower - frame.upper) * chart.top / chart.step) * chart.step)
        values = dict(zip(chart.labels, read, strict=True))
        for question in planned.questions:
            slots = unquoted(question.slots)
            answer = {
                "value": lambda v=values, s=slots: str(v[s["name"]]),
                "maximum": lambda v=values: max(v, key=v.get),
                "minimum": lambda v=values: min(v, key=v.get),
                "higher": lambda v=values, s=slots: "yes" if v[s["one"]] > v[s["other"]] else "no",
            }[question.kind]()
            assert question.answer == answer, (planned.identity, question, values)
            asked[question.kind] += 1
    assert len(asked) == 4 and min(asked.values()) > 20


@LEVELS
@pytest.mark.parametrize("split", ["train", "heldout"])
def test_lines_in_pixels_go_where_the_answers_say(level, split):
    asked = Counter()
    for planned in plans("charts", level, 200, split):
        chart = planned.description
        if chart.is_bars:
            continue
        pixels, frame = np.asarray(planned.document().images[0], int), frame_of(chart)
        panel = pixels[int(frame.upper) + 2 : int(frame.lower) - 2, int(frame.left) + 4 : int(frame.right) - 4]
        ends = {}
        for series in chart.series:
            rows, columns = np.nonzero(near(panel, series.colour))
            ends[series.name] = [rows[columns < 6].mean(), rows[columns >= panel.shape[1] - 6].mean(), rows.mean()]
        by_colour = {series.colour: series.name for series in chart.series}
        for question in planned.questions:
            slots = unquoted(question.slots)
            if question.kind == "trend":
                start, end, _ = ends[slots["name"]]
                fall = (end - start) / panel.shape[0] * len(chart.series)
                answer = "flat" if abs(fall) < 0.2 else "falling" if fall > 0.35 else "rising" if fall < -0.35 else "?"
            elif question.form == "colour":
                answer = next(colour for colour, name in by_colour.items() if name == slots["name"])
            else:
                answer = by_colour[slots["colour"]] if question.form == "named" else min(ends, key=lambda n: ends[n][2])
            assert question.answer == answer, (planned.identity, question, ends)
            asked[question.kind] += 1
    assert min(asked.values()) > 50


@LEVELS
def test_tables_say_what_the_answers_say(level):
    for planned in plans("tables", level, 150):
        table = planned.description
        where = {(r, c): v for r, row in zip(table.rows, table.cells, strict=True)
                 for c, v in zip(table.columns, row, strict=True)}  # fmt: skip
        assert len(set(where.values())) == len(where) == len(table.rows) * len(table.columns)
        for question in planned.questions:
            slots = unquoted(question.slots)
            if question.form == "cell":
                assert question.answer == str(where[slots["row"], slots["column"]])
            elif question.form == "largest":
                numbers = [where[question.answer, slots["column"]] >= where[row, slots["column"]] for row in table.rows]
                assert all(numbers)
            else:
                (place,) = [place for place, value in where.items() if str(value) == slots["number"]]
                assert question.answer == place[question.form == "column"]


@LEVELS
@pytest.mark.parametrize("split", ["train", "heldout"])
def test_heads_of_arrows_in_pixels_are_where_they_lead(level, split):
    for planned in plans("diagrams", level, 80, split):
        diagram = planned.description
        pixels = np.asarray(planned.document().images[0], int)
        contrast = np.abs(np.subtract(diagram.style.ink, diagram.style.paper)).sum()
        ink = np.abs(pixels - np.asarray(diagram.style.ink)).sum(-1) < 0.65 * contrast
        found = set()
        high, wide = (size / diagram.side for size in pixels.shape[:2])
        for (one, (row, column)), (other, (below, beside)) in permutations(enumerate(diagram.cells), 2):
            if (below - row, beside - column) not in ((0, 1), (1, 0)):
                continue
            middle = (round(high * (row + 0.5)), round(wide * (column + 0.5)))
            if below == row:  # a strip from the edge of one box to that of the other
                edge = round(wide * 0.31) + 1
                strip = ink[middle[0] - 4 : middle[0] + 5, middle[1] + edge : middle[1] + round(wide) - edge]
            else:
                edge = round(min(high * 0.27, wide * 0.31)) + 1
                strip = ink[middle[0] + edge : middle[0] + round(high) - edge, middle[1] - 4 : middle[1] + 5].T
            across = strip.sum(axis=0)
            if (across > 0).mean() > 0.8:
                half = len(across) // 2
                found.add((one, other) if across[-half:].sum() > across[:half].sum() else (other, one))
        assert found == set(diagram.arrows), planned.identity


@LEVELS
def test_diagrams_answer_by_walking(level):
    kinds = Counter()
    for planned in plans("diagrams", level, 150):
        diagram = planned.description
        arrows = [(diagram.names[one], diagram.names[other]) for one, other in diagram.arrows]
        assert not {(b, a) for a, b in arrows} & set(arrows)
        for question in planned.questions:
            slots = unquoted(question.slots)
            kinds[question.kind] += 1
            if question.kind == "arrow":
                assert question.answer == ("yes" if (slots["one"], slots["other"]) in arrows else "no")
            elif question.kind == "boxes":
                assert question.answer == str(len(set(diagram.cells)))
            else:
                ends = {slots["name"]}
                for _ in range(2 if question.kind == "follow" else 1):
                    ends = {a if question.kind == "source" else b for a, b in arrows
                            if (b if question.kind == "source" else a) in ends}  # fmt: skip
                assert ends == {question.answer}
    assert len(kinds) == 5


def named(thing, things):
    nouns = ("object", "thing", "shape")
    return things in map(plural, (thing.shape, *nouns, *(f"{thing.colour} {noun}" for noun in nouns)))


@LEVELS
def test_pairs_compare_as_the_answers_say(level):
    kinds = Counter()
    for planned in plans("compare", level, 300):
        first, second = planned.description.scenes
        for question in planned.questions:
            kinds[question.kind] += 1
            if question.kind == "more":
                counts = [sum(named(thing, question.slots["things"]) for thing in s.things) for s in (first, second)]
                more = counts[0] > counts[1]
                assert counts[0] != counts[1]
                assert question.answer == ("first" if more == (question.form == "more") else "second")
            elif question.kind == "changed":
                before, after = (
                    {(t.row, t.column, t.x, t.y, t.shape, t.colour) for t in scene.things} for scene in (first, second)
                )
                gone, come = before - after, after - before
                if question.answer == "number":
                    assert len(gone) + len(come) == 1
                    continue
                (old,), (new,) = gone, come
                differing = {"position": old[:4] != new[:4], "shape": old[4] != new[4], "colour": old[5] != new[5]}
                assert [what for what, differs in differing.items() if differs] == [question.answer]
            else:
                attribute = "shape" if question.slots["what"] == "shape" else "colour"
                found = [getattr(scene.things[0], attribute) for scene in (first, second)]
                same = "yes" if found[0] == found[1] else "no"
                nth = question.slots.get("nth")
                assert question.answer == (same if nth is None else found[nth == "second"])
    assert len(kinds) == 4


@LEVELS
@pytest.mark.parametrize("split", ["train", "heldout"])
def test_code_does_what_the_answers_say(level, split):
    """What is printed runs."""
    for planned in plans("code", level, 100, split):
        lines = ["".join(text for text, _ in line) for line in lines_of(planned.description)]
        functions = {}
        exec("\n".join(lines), functions)
        functions.pop("__builtins__")
        named = list(functions)
        for question in planned.questions:
            name = question.slots.get("it", "").removeprefix("function").strip(' "') or named[0]
            if question.kind == "function":
                assert question.answer == named[question.slots["nth"] == "second "]
            elif question.kind == "returned":
                assert question.answer == str(functions[name](*inspect.signature(functions[name]).parameters))
            elif question.kind == "arguments":
                assert question.answer == str(len(inspect.signature(functions[name]).parameters))
            else:
                body = lines[next(n for n, line in enumerate(lines) if line.startswith(f"def {name}(")) :]
                variable, value = body[1].strip().split(" = ")
                assert (variable, value) == (question.slots["name"], question.answer)


CLOSED = {
    "charts": {"value", "higher", "trend"}, "tables": set(), "diagrams": {"arrow", "boxes"},
    "compare": {"more", "fewer", "same", "changed"}, "code": {"arguments"},
}  # fmt: skip


@LEVELS
@pytest.mark.parametrize("name", CLOSED)
def test_no_answer_is_likelier_than_chance(name, level):
    """Where a question's answers are few, they are as many of each; a choice is never one of few letters more often."""
    answers, places = defaultdict(Counter), Counter()
    for planned in plans(name, level, 800, multiple_choice=0.5):
        for question, exchange in zip(planned.questions, planned.exchanges, strict=True):
            if question.form in CLOSED[name] and not (level == 3 and question.form == "value"):
                answers[question.form][question.answer] += 1
            if len(exchange.choices) == 4:
                places[exchange.choices.index(question.answer)] += 1
    for form, counts in [*answers.items(), *([("places", places)] if places else [])]:
        mean = sum(counts.values()) / len(counts)
        excess = sum((count - mean) ** 2 / mean for count in counts.values())
        assert excess < len(counts) + 5 * (2 * len(counts)) ** 0.5, (form, counts)
