"""Two scenes to compare: which has more of something, what is the same in both, what one changed into the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product

from PIL import Image

from foretell.data.visual.generator import scenes
from foretell.data.visual.generator.compare_phrasings import PHRASINGS
from foretell.data.visual.generator.draws import Draws
from foretell.data.visual.generator.family import Family, Question, Setting
from foretell.data.visual.generator.palette import draw_ground, varied
from foretell.data.visual.generator.scene_questions import NOUNS
from foretell.data.visual.generator.scenes import Filter, Pair, Scene
from foretell.data.visual.generator.wording import plural

SIDE = 3
THINGS = {1: (2, 3), 2: (3, 4), 3: (4, 6)}  # of a scene that is changed
MOST = {1: 4, 2: 5, 3: 6}  # of what is counted
IMAGES = ("first", "second")
CHANGES = ("colour", "shape", "position", "number")


@dataclass(frozen=True)
class Compared:
    """Two scenes.

    Attributes:
        counted: what the two have different numbers of; None where that is not to be asked.
        changed: one of ``CHANGES``, where the second is the first but for one thing.
    """

    scenes: tuple[Scene, Scene]
    counted: Filter | None = None
    changed: str | None = None

    @property
    def single(self) -> bool:
        """Whether each shows one thing."""
        return self.counted is None and self.changed is None


def describe(draws: Draws, setting: Setting) -> Compared:
    """One thing in each, numbers to compare, or a change to find."""
    mode: Callable[[Draws, Setting], Compared] = draws.choose((_singles, _numbers, _change))
    return mode(draws, setting)


def _scene(draws: Draws, setting: Setting, pairs: list[Pair], like: Scene | None = None) -> Scene:
    ground = draw_ground(draws, setting.level) if like is None else like.ground
    things = scenes.place(draws, setting, pairs, SIDE, crowded=False)
    shapes = scenes.SHAPES[setting.level]
    return Scene(setting.width, setting.height, SIDE, ground, shapes, ground.names(setting.level), things)


def _singles(draws: Draws, setting: Setting) -> Compared:
    """The same shape in every other pair, and the same colour, one as likely with the other or without."""
    empty = _scene(draws, setting, [])
    shapes, colours = draws.sample(empty.shapes, 2), draws.sample(empty.colours, 2)
    first = (shapes[0], colours[0])
    second = (shapes[0] if draws.coin() else shapes[1], colours[0] if draws.coin() else colours[1])
    return Compared((_scene(draws, setting, [first], empty), _scene(draws, setting, [second], empty)))


def _numbers(draws: Draws, setting: Setting) -> Compared:
    """Different numbers of the same things, each difference in either direction."""
    empty = _scene(draws, setting, [])
    shape, colour = draws.choose(empty.shapes), draws.choose(empty.colours)
    what = draws.choose((Filter(), Filter(shape=shape), Filter(colour=colour)))
    others = [s for s in empty.shapes if s != shape], [c for c in empty.colours if c != colour]
    pictures = []
    for count in draws.sample(range(1, MOST[setting.level] + 1), 2):
        pairs = []
        for _ in range(count):
            pairs.append((what.shape or draws.choose(empty.shapes), what.colour or draws.choose(empty.colours)))
        if what != Filter():
            pairs += [(draws.choose(others[0]), draws.choose(others[1])) for _ in range(draws.between(0, 3))]
        pictures.append(_scene(draws, setting, pairs, empty))
    return Compared((pictures[0], pictures[1]), counted=what)


def _change(draws: Draws, setting: Setting) -> Compared:
    """A scene, and the same after one change of one thing."""
    empty = _scene(draws, setting, [])
    count = draws.between(*THINGS[setting.level])
    pairs = [(draws.choose(empty.shapes), draws.choose(empty.colours)) for _ in range(count)]
    before = _scene(draws, setting, pairs, empty)
    *rest, last = before.things
    what = draws.choose(CHANGES)
    if what == "colour":
        colour = draws.choose([colour for colour in before.colours if colour != last.colour])
        rest.append(replace(last, colour=colour, paint=varied(draws, colour, setting.level)))
    elif what == "shape":
        shape = draws.choose([shape for shape in before.shapes if shape != last.shape])
        rest.append(replace(last, shape=shape, turn=0))
    elif what == "position":
        taken = {(thing.row, thing.column) for thing in before.things}
        row, column = draws.choose([cell for cell in product(range(SIDE), repeat=2) if cell not in taken])
        across, down = (column - last.column) * setting.width / SIDE, (row - last.row) * setting.height / SIDE
        rest.append(replace(last, row=row, column=column, x=last.x + across, y=last.y + down))
    after = replace(before, things=tuple(rest))
    pictures = (after, before) if draws.coin() else (before, after)
    return Compared(pictures, changed=what)


def draw(compared: Compared) -> tuple[Image.Image, ...]:
    """Both pictures, whose noise differs."""
    first, second = compared.scenes
    second = replace(second, ground=replace(second.ground, seed=second.ground.seed + 1))
    return (*scenes.draw(first), *scenes.draw(second))


def ask_more(draws: Draws, compared: Compared) -> Question | None:
    """Which image has more of something, or fewer."""
    what = compared.counted
    if what is None:
        return None
    counts = [what.count(scene.things) for scene in compared.scenes]
    form = draws.choose(("more", "fewer"))
    first = (counts[0] > counts[1]) == (form == "more")
    name = " ".join(part for part in (what.colour, what.shape or draws.choose(NOUNS)) if part)
    return Question("more", form, {"things": plural(name)}, IMAGES[0] if first else IMAGES[1], form, IMAGES)


def ask_same(draws: Draws, compared: Compared) -> Question | None:
    """Whether both images show the same shape, or the same colour."""
    if not compared.single:
        return None
    (first,), (second,) = (scene.things for scene in compared.scenes)
    attribute = draws.choose(("shape", "colour"))
    same = getattr(first, attribute) == getattr(second, attribute)
    words = {"shape": ("shape",), "colour": ("colour", "color")}[attribute]
    return Question("same", "same", {"what": draws.choose(words)}, "yes" if same else "no", ("same", attribute))


def ask_changed(draws: Draws, compared: Compared) -> Question | None:
    """What has changed."""
    if compared.changed is None:
        return None
    return Question("changed", "changed", {}, compared.changed, "changed", CHANGES)


def ask_image(draws: Draws, compared: Compared) -> Question | None:
    """The shape, or the colour, of what an image shows."""
    if not compared.single:
        return None
    number, attribute = draws.below(2), draws.choose(("shape", "colour"))
    scene = compared.scenes[number]
    pool = scene.shapes if attribute == "shape" else scene.colours
    words = {"shape": ("shape",), "colour": ("colour", "color")}[attribute]
    slots = {"nth": IMAGES[number], "what": draws.choose(words)}
    return Question("image", "image", slots, getattr(scene.things[0], attribute), ("image", number, attribute), pool)


COMPARE = Family(
    name="compare",
    size=(48, 48),
    least=(40, 40),
    describe=describe,
    askers={"more": ask_more, "same": ask_same, "changed": ask_changed, "image": ask_image},
    draw=draw,
    phrasings=PHRASINGS,
)
