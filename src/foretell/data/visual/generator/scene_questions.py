"""Questions about scenes, and the family that they make up."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import combinations, product

from foretell.data.visual.generator.draws import Draws
from foretell.data.visual.generator.family import Family, Question
from foretell.data.visual.generator.scene_phrasings import PHRASINGS
from foretell.data.visual.generator.scenes import Scene, Thing, describe, draw
from foretell.data.visual.generator.wording import plural, with_article

NOUNS = ("object", "thing", "shape")
ROWS, COLUMNS = ("top", "", "bottom"), ("left", "", "right")
PLACES = {
    (row, column): " ".join(part for part in (ROWS[row], COLUMNS[column]) if part) or "centre"
    for row, column in product(range(3), range(3))
}
PREPOSITIONS = {"left": "on", "right": "on", "centre": "in"}  # at, elsewhere
ASIDE = 0.25  # of a cell, or of the distance along the other axis, by which things may be off and still be in line
SIDES = {"left": "left of", "right": "right of", "above": "above", "below": "below"}


def references(scene: Scene, thing: Thing, hidden: str) -> list[str]:
    """Names that only this thing has; none that gives away what is ``hidden`` (shape, colour or place)."""
    others = [other for other in scene.things if other is not thing]
    found = []
    if hidden != "shape" and all(other.shape != thing.shape for other in others):
        found.append(thing.shape)
    if hidden != "colour" and all(other.colour != thing.colour for other in others):
        found += [f"{thing.colour} {noun}" for noun in (NOUNS[:2] if hidden == "shape" else NOUNS)]
    if hidden == "place":
        if all((other.shape, other.colour) != (thing.shape, thing.colour) for other in others):
            found.append(f"{thing.colour} {thing.shape}")
    elif scene.side == 3:
        found += _by_place(thing, others)
    return found


def _by_place(thing: Thing, others: list[Thing]) -> list[str]:
    """``object at the top left``; ``object at the top`` is one of several where other things are in that row."""
    if thing.row == 1 and thing.column != 1 and any(other.column == thing.column for other in others):
        return []
    if thing.column == 1 and thing.row != 1 and any(other.row == thing.row for other in others):
        return []
    place = PLACES[thing.row, thing.column]
    return [f"{NOUNS[0]} {PREPOSITIONS.get(place, 'at')} the {place}"]


def _referred(draws: Draws, scene: Scene, hidden: str) -> tuple[int, str] | None:
    """A thing that can be named, and its name."""
    named = [
        (number, names) for number, thing in enumerate(scene.things) if (names := references(scene, thing, hidden))
    ]
    if not named:
        return None
    number, names = draws.choose(named)
    return number, draws.choose(names)


def ask_shape(draws: Draws, scene: Scene) -> Question | None:
    """What shape a thing is."""
    if len(scene.things) == 1 and draws.coin():
        answer = scene.things[0].shape
        return Question("shape", "shape.only", {}, answer, ("shape", 0), scene.shapes)
    found = _referred(draws, scene, "shape")
    if found is None:
        return None
    number, name = found
    return Question("shape", "shape", {"it": name}, scene.things[number].shape, ("shape", number), scene.shapes)


def ask_colour(draws: Draws, scene: Scene) -> Question | None:
    """What colour a thing is."""
    if len(scene.things) == 1 and draws.coin():
        found: tuple[int, str] | None = (0, draws.choose(("object", "shape")))
    else:
        found = _referred(draws, scene, "colour")
    if found is None:
        return None
    number, name = found
    return Question("colour", "colour", {"it": name}, scene.things[number].colour, ("colour", number), scene.colours)


def ask_position(draws: Draws, scene: Scene) -> Question | None:
    """In which of nine parts of the picture a thing is."""
    found = _referred(draws, scene, "place")
    if scene.side != 3 or found is None:
        return None
    number, name = found
    answer = PLACES[scene.things[number].row, scene.things[number].column]
    return Question("position", "position", {"it": name}, answer, ("position", number), tuple(PLACES.values()))


def ask_count(draws: Draws, scene: Scene) -> Question | None:
    """How many things there are of a shape, a colour, both, or at all."""
    if not scene.counted:
        return None
    what = draws.choose(scene.counted)
    things = plural(" ".join(part for part in (what.colour, what.shape or draws.choose(NOUNS)) if part))
    pool = tuple(map(str, range(0 if what.shape or what.colour else 1, scene.most + 1)))
    return Question("count", "count", {"things": things}, str(what.count(scene.things)), ("count", what), pool)


def ask_exists(draws: Draws, scene: Scene) -> Question | None:
    """Whether there is something of a colour, of a shape, or of both; also whether there is none."""
    what, there, negated = draws.below(3), draws.coin(), draws.coin(0.4)
    shapes = {thing.shape for thing in scene.things}
    colours = {thing.colour for thing in scene.things}
    pairs = {(thing.shape, thing.colour) for thing in scene.things}
    if what == 0:
        names = [f"{colour} {noun}" for colour in scene.colours if (colour in colours) == there for noun in NOUNS]
    elif what == 1:
        names = [shape for shape in scene.shapes if (shape in shapes) == there]
    else:
        fits = [pair for pair in product(scene.shapes, scene.colours) if (pair in pairs) == there]
        near = [pair for pair in fits if pair[0] in shapes or pair[1] in colours]
        names = [f"{colour} {shape}" for shape, colour in (near if near and draws.coin(0.7) else fits)]
    both_answers = (len(colours) < len(scene.colours), len(shapes) < len(scene.shapes), True)[what]
    if not both_answers:
        return None
    name = draws.choose(names)
    slots = {"a": with_article(name), "thing": name, "things": plural(name)}
    answer = "yes" if there != negated else "no"
    return Question("exists", "absent" if negated else "exists", slots, answer, ("exists", what))


def ask_relation(draws: Draws, scene: Scene) -> Question | None:
    """Whether one thing is left of another, on which side of it, or what is there."""
    if scene.side == 1 or len(scene.things) < 2:
        return None
    return draws.choose((_ask_whether, _ask_side, _ask_beside))(draws, scene)


def ask_describe(draws: Draws, scene: Scene) -> Question:
    """What is where, in reading order: more of a picture than any other question asks for."""
    things = sorted(scene.things, key=lambda thing: (thing.row, thing.column))
    words = [f"{thing.colour} {thing.shape}{_at(scene, thing)}" for thing in things]
    return Question("describe", "describe", {}, ", ".join(words), "describe")


def _at(scene: Scene, thing: Thing) -> str:
    return f" {PLACES[thing.row, thing.column]}" if scene.side == 3 else ""


def _axis(draws: Draws) -> tuple[str, tuple[str, str]]:
    return draws.choose((("column", ("left", "right")), ("row", ("above", "below"))))


def _offset(scene: Scene, one: Thing, other: Thing, axis: str) -> float:
    """How far ``other`` is right of (or below) ``one``, in cells."""
    return scene.side * ((other.x - one.x) / scene.width if axis == "column" else (other.y - one.y) / scene.height)


def _named_pairs(draws: Draws, scene: Scene) -> list[tuple[Thing, Thing]]:
    """Pairs of things that can be named, each pair once, its order random."""
    named = [thing for thing in scene.things if references(scene, thing, "place")]
    return list(combinations(draws.shuffled(named), 2))


def _name(draws: Draws, scene: Scene, thing: Thing) -> str:
    return draws.choose(references(scene, thing, "place"))


def _ask_whether(draws: Draws, scene: Scene) -> Question | None:
    axis, sides = _axis(draws)
    pairs = [(a, b) for a, b in _named_pairs(draws, scene) if getattr(a, axis) != getattr(b, axis)]
    if not pairs:
        return None
    one, other = draws.choose(pairs)
    number = draws.below(2)
    true = (_offset(scene, one, other, axis) > 0) == (number == 0)
    slots = {"one": _name(draws, scene, one), "side": SIDES[sides[number]], "other": _name(draws, scene, other)}
    return Question("relation", "relation", slots, "yes" if true else "no", ("relation", axis, frozenset((one, other))))


def _ask_side(draws: Draws, scene: Scene) -> Question | None:
    axis, sides = _axis(draws)
    across = "row" if axis == "column" else "column"
    pairs = [
        (a, b) for a, b in _named_pairs(draws, scene)
        if getattr(a, across) == getattr(b, across)
        and abs(_offset(scene, a, b, across)) < ASIDE * abs(_offset(scene, a, b, axis))
    ]  # fmt: skip
    if not pairs:
        return None
    one, other = draws.choose(pairs)
    slots = {"one": _name(draws, scene, one), "other": _name(draws, scene, other)}
    answer = sides[0] if _offset(scene, one, other, axis) > 0 else sides[1]
    return Question("relation", "side", slots, answer, ("side", frozenset((one, other))), tuple(SIDES))


def _ask_beside(draws: Draws, scene: Scene) -> Question | None:
    axis, sides = _axis(draws)
    number = draws.below(2)
    found = []
    for it in scene.things:
        offsets = [_offset(scene, it, other, axis) * (-1, 1)[number] for other in scene.things]
        there = [other for other, offset in zip(scene.things, offsets, strict=True) if offset > ASIDE]
        clear = all(getattr(it, axis) != getattr(other, axis) for other in there)
        if len(there) == 1 and clear and references(scene, it, "place"):
            found.append((it, there[0]))
    if not found:
        return None
    it, beside = draws.choose(found)
    name, side = _name(draws, scene, it), sides[number]
    pool = tuple(shape for shape in scene.shapes if shape != name)
    return Question("relation", "beside", {"it": name, "side": SIDES[side]}, beside.shape, ("beside", it, side), pool)


SCENES = Family(
    name="scenes",
    size=(64, 64),
    least=(40, 40),
    describe=describe,
    askers={
        "shape": ask_shape, "colour": ask_colour, "position": ask_position, "count": ask_count,
        "exists": ask_exists, "relation": ask_relation, "describe": ask_describe,
    },
    draw=draw,
    phrasings=PHRASINGS,
)  # fmt: skip

# What an image encoder learns to see first (docs/vision.md).
SINGLE = replace(
    SCENES, name="single", describe=partial(describe, mode="single"),
    askers={kind: asker for kind, asker in SCENES.askers.items() if kind not in ("count", "relation")},
)  # fmt: skip

# More of what has to be counted than other scenes hold; everything else is asked as well.
COUNTED = replace(SCENES, name="counted", describe=partial(describe, mode="counted"))
