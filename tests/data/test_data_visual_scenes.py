"""Scenes: answers found again from coordinates and from pixels, and no answer that a question gives away."""

from collections import Counter, defaultdict

import numpy as np
import pytest
from scipy import ndimage

from foretell.data.visual.generator import GeneratorConfig, plan
from foretell.data.visual.generator.palette import COLOURS
from foretell.data.visual.generator.scenes import Filter
from foretell.data.visual.generator.wording import plural

NOUNS = ("object", "thing", "shape")


def plans(level, count, split="train", **settings):
    config = GeneratorConfig(families={"scenes": 1}, levels=level, **settings)
    return [plan(config, index, split) for index in range(count)]


def place(scene, thing):
    """In words, from coordinates; None within a twentieth of a border."""
    words = []
    for at, of, names in (
        (thing.y, scene.height, ("top", "", "bottom")),
        (thing.x, scene.width, ("left", "", "right")),
    ):
        third = 3 * at / of
        if abs(third - round(third)) < 0.15 and round(third) in (1, 2):
            return None
        words.append(names[int(third)])
    return " ".join(word for word in words if word) or "centre"


def named(scene, name):
    """The things that a name fits."""
    found = []
    for thing in scene.things:
        names = {thing.shape, f"{thing.colour} {thing.shape}", *NOUNS}
        names |= {f"{thing.colour} {noun}" for noun in NOUNS}
        names |= {f"object {preposition} the {place(scene, thing)}" for preposition in ("at", "on", "in")}
        if name in names:
            found.append(thing)
    return found


def is_beside(one, side, other):
    return {"left": other.x - one.x, "right": one.x - other.x, "above": other.y - one.y, "below": one.y - other.y}[side]


def expected(scene, question):
    """The answer, by looking at each thing's coordinates."""
    slots = question.slots
    if question.form == "shape.only":
        (thing,) = scene.things
        return thing.shape
    if question.kind == "describe":
        cell = scene.height / scene.side
        ordered = sorted(scene.things, key=lambda thing: (int(thing.y / cell), thing.x))
        places = [f" {place(scene, thing)}" if scene.side == 3 else "" for thing in ordered]
        return ", ".join(f"{t.colour} {t.shape}{where}" for t, where in zip(ordered, places, strict=True))
    if question.kind in ("shape", "colour", "position"):
        (thing,) = named(scene, slots["it"])
        return {"shape": thing.shape, "colour": thing.colour, "position": place(scene, thing)}[question.kind]
    if question.kind in ("count", "exists"):
        fits = [t for t in scene.things for name in (t.shape, *NOUNS, f"{t.colour} {t.shape}",
                *(f"{t.colour} {noun}" for noun in NOUNS)) if plural(name) == slots["things"]]  # fmt: skip
        if question.kind == "count":
            return str(len(fits))
        return "yes" if bool(fits) == (question.form == "exists") else "no"
    if question.form == "beside":
        (it,) = named(scene, slots["it"])
        side = slots["side"].split()[0]
        (thing,) = [t for t in scene.things if t is not it and is_beside(t, side, it) > 0.25 * scene.width / scene.side]
        return thing.shape
    (one,), (other,) = named(scene, slots["one"]), named(scene, slots["other"])
    if question.form == "relation":
        shift = is_beside(one, slots["side"].split()[0], other)
        assert abs(shift) > 0.05 * scene.width
        return "yes" if shift > 0 else "no"
    shifts = {side: is_beside(one, side, other) for side in ("left", "right", "above", "below")}
    first, second = sorted(shifts.values(), reverse=True)[:2]
    assert first > second + 0.05 * scene.width
    return max(shifts, key=lambda side: shifts[side])


@pytest.mark.parametrize("level", [1, 2, 3])
@pytest.mark.parametrize("split", ["train", "heldout"])
def test_answers_are_what_the_coordinates_say(level, split):
    kinds = Counter()
    for planned in plans(level, 400, split, questions=12):
        for question in planned.questions:
            assert question.answer == expected(planned.description, question), (planned.description, question)
            kinds[question.kind] += 1
        cells = {(thing.row, thing.column) for thing in planned.description.things}
        assert len(cells) == len(planned.description.things)
    assert min(kinds.values()) > 50 and len(kinds) == 7


def test_pixels_have_the_colours_and_counts():
    """At level 1 each thing is a connected region of its colour, around its centre."""
    for planned in plans(1, 150):
        scene, (image,) = planned.description, planned.document().images
        pixels = np.asarray(image, int)
        for colour in scene.colours:
            close = np.abs(pixels - np.asarray(COLOURS[colour])).sum(-1)
            regions, _ = ndimage.label(close < 100, np.ones((3, 3)))
            found = (np.bincount(regions.ravel())[1:] > 5).sum()
            assert found == Filter(colour=colour).count(scene.things), (planned.identity, colour)
        for thing in scene.things:
            assert tuple(pixels[int(thing.y), int(thing.x)]) == COLOURS[thing.colour]


@pytest.mark.parametrize("level", [2, 3])
def test_things_are_seen_on_their_ground(level):
    for planned in plans(level, 100):
        scene, (image,) = planned.description, planned.document().images
        pixels = np.asarray(image, float)
        for thing in scene.things:
            half = max(2, int(thing.radius * 0.8))
            patch = pixels[max(0, int(thing.y) - half) : int(thing.y) + half, max(0, int(thing.x) - half) :][
                :, : 2 * half
            ]
            near = (np.abs(patch - thing.paint).sum(-1) < 100).mean()
            assert near > 0.15, (planned.identity, thing)
            assert np.abs(np.subtract(thing.paint, scene.ground.colour)).sum() > 120


@pytest.mark.parametrize("level", [1, 2, 3])
def test_no_answer_is_likelier_than_chance(level):
    """Chi-square-like: shares of each form's answers are even, and questions of the same words have no usual answer."""
    answers = defaultdict(Counter)
    for planned in plans(level, 1500):
        for question in planned.questions:
            answers[question.form][question.answer] += 1
            if question.kind == "exists" or (
                question.kind == "count" and question.slots["things"] not in map(plural, NOUNS)
            ):
                sort = "pair" if len(question.slots["things"].split()) == 2 else "one"
                answers[question.kind, sort, question.form][question.answer] += 1
    for form, counted in answers.items():
        total = sum(counted.values())
        counts = dict(counted)
        if form == "colour":  # black is seen on light grounds alone, white on dark ones
            counts["black or white"] = counts.pop("black") + counts.pop("white")
        if form == "count":  # whose zero never stands for all things
            counts.pop("0")
        if total > 300:
            mean = sum(counts.values()) / len(counts)
            excess = sum((count - mean) ** 2 / mean for count in counts.values())
            assert excess < len(counts) + 5 * (2 * len(counts)) ** 0.5, (form, counts)
