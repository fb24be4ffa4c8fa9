"""The generator as a whole: same documents everywhere, splits that share nothing, settings, sheets and folders."""

import json
import os
import re
import string
import subprocess
import sys
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from foretell.core.config import build
from foretell.core.errors import UserError
from foretell.data.visual.generator import (
    FAMILIES,
    SPLITS,
    GeneratorConfig,
    charts,
    code,
    contact_sheet,
    diagrams,
    generate,
    plan,
    tables,
    write_folder,
)
from foretell.data.visual.generator.draws import Draws
from foretell.data.visual.generator.fonts import FONTS, MONO_FONTS, PLAIN_FONTS
from foretell.data.visual.generator.vocabulary import words
from foretell.data.visual.generator.wording import FORMATS

ALL = dict.fromkeys(FAMILIES, 1.0)


def digest(document):
    parts = [document.identity, *map(repr, document.exchanges)]
    return sha256("".join(parts).encode() + b"".join(image.tobytes() for image in document.images)).hexdigest()


@pytest.mark.parametrize("name", FAMILIES)
def test_a_document_depends_on_its_number_alone(name):
    config = GeneratorConfig(families={name: 1})
    forth = [digest(generate(config, index, "train")) for index in range(12)]
    back = [digest(generate(config, index, "train")) for index in reversed(range(12))][::-1]
    assert forth == back and len(set(forth)) == 12
    other = GeneratorConfig(families={name: 1}, seed=1)
    assert not set(forth) & {digest(generate(other, index, "train")) for index in range(12)}
    assert not set(forth) & {digest(generate(config, index, "heldout")) for index in range(12)}


def test_another_process_makes_the_same_documents():
    code = (
        "from foretell.data.visual.generator import *; from hashlib import sha256\n"
        "for index in (7, 3):\n"
        "    d = generate(GeneratorConfig(families={n: 1 for n in FAMILIES}), index, 'heldout')\n"
        "    print(sha256((d.identity + ''.join(map(repr, d.exchanges))).encode()"
        " + b''.join(i.tobytes() for i in d.images)).hexdigest())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    config = GeneratorConfig(families=ALL)
    assert printed.stdout.split() == [digest(generate(config, index, "heldout")) for index in (7, 3)]


def test_draws_are_what_they_always_were():
    draws = Draws(0, "train", 1)
    assert [draws.below(1000) for _ in range(4)] == FIRST_DRAWS
    assert len(draws.grain(3, 5)) == 3 and sorted(draws.shuffled(range(9))) == list(range(9))
    counts = np.bincount([draws.below(7) for _ in range(7000)])
    assert abs(counts - 1000).max() < 130
    picked = [draws.weighted({"a": 3.0, "b": 0.0, "c": 1.0}) for _ in range(2000)]
    assert "b" not in picked and abs(picked.count("a") - 1500) < 100


FIRST_DRAWS = [349, 411, 116, 0]


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("level", [1, 2, 3])
@pytest.mark.parametrize("split", SPLITS)
def test_every_family_and_level_makes_documents(name, level, split):
    family, config = FAMILIES[name], GeneratorConfig(families={name: 1}, levels=level, multiple_choice=0.4)
    for index in range(50):
        document = generate(config, index, split)
        assert document.identity == f"{split}/{index:07d}/{name}/{level}"
        assert all(image.mode == "RGB" and image.size == family.size for image in document.images)
        assert 1 <= len(document.exchanges) <= config.questions
        for exchange in document.exchanges:
            assert exchange.kind in family.kinds and exchange.answer
            assert not re.search(r"[{}]|  ", exchange.question), exchange.question
            if exchange.choices:
                assert len(set(exchange.choices)) == len(exchange.choices) >= 2
                assert exchange.answer in exchange.choices or exchange.answer in "ABCD"[: len(exchange.choices)]


def test_kinds_are_asked_as_often_as_is_wanted():
    def shares(**kinds):
        config = GeneratorConfig(kinds=kinds, questions=4)
        asked = [exchange.kind for index in range(300) for exchange in generate(config, index, "train").exchanges]
        return {kind: asked.count(kind) / len(asked) for kind in FAMILIES["scenes"].kinds}

    even, tilted = shares(), shares(position=3, relation=0)
    assert tilted["relation"] == 0 and tilted["position"] > 1.5 * even["position"]
    assert 0 < tilted["describe"] < even["describe"]


@pytest.mark.parametrize("name", FAMILIES)
def test_splits_share_no_phrasing_and_held_out_ones_use_words_of_training(name):
    def vocabulary(texts):
        return {w for text in texts for w in re.findall(r"[a-z]+", re.sub(r"\{\w+\}", " ", text.lower()))}

    forms = FAMILIES[name].phrasings.values()
    learned = vocabulary(text for form in forms for text in form.train)
    for form in forms:
        assert len(set(form.train)) == len(form.train) >= 8 and len(set(form.heldout)) == len(form.heldout) >= 3
        assert not set(form.train) & set(form.heldout)
        assert vocabulary(form.heldout) <= learned
        slots = {frozenset(field for _, field, _, _ in string.Formatter().parse(t) if field) for t in form.train}
        assert {s for t in form.heldout for _, s, _, _ in string.Formatter().parse(t) if s} <= set().union(*slots)


def test_splits_share_no_font_no_look_and_no_format_of_choices():
    looks = (charts.STYLES, tables.STYLES, diagrams.STYLES, code.THEMES)
    for parts in (FORMATS, FONTS, PLAIN_FONTS, MONO_FONTS, *looks):
        assert not set(parts["train"]) & set(parts["heldout"]) and all(parts.values())
    assert not {font for fonts in (FONTS, PLAIN_FONTS, MONO_FONTS) for font in fonts["train"]} & {
        font for fonts in (FONTS, PLAIN_FONTS, MONO_FONTS) for font in fonts["heldout"]
    }


@pytest.mark.parametrize("split", SPLITS)
def test_no_family_prints_a_word_of_the_other_split(split):
    other = "train" if split == "heldout" else "heldout"
    foreign = {word for letters in range(3, 9) for word in words(other, letters)}
    fields = {"charts": ("labels",), "tables": ("rows", "columns"), "diagrams": ("names",), "words": ("lines",)}
    for name, holding in fields.items():
        for index in range(100):
            planned = plan(GeneratorConfig(families={name: 1}), index, split)
            printed = {text for field in holding for text in getattr(planned.description, field)}
            printed |= {series.name for series in getattr(planned.description, "series", ())}
            assert not printed & foreign
    for index in range(100):
        listing = plan(GeneratorConfig(families={"code": 1}), index, split).description
        assert not {function.name for function in listing.functions} & foreign


def test_choices_are_listed_and_the_letter_is_that_of_the_right_one():
    config, letters = GeneratorConfig(families=ALL, multiple_choice=1), []
    for index in range(300):
        planned = plan(config, index, "train")
        for question, exchange in zip(planned.questions, planned.exchanges, strict=True):
            if exchange.choices and exchange.answer != question.answer:
                letters.append(exchange.answer)
                assert exchange.choices["ABCD".index(exchange.answer)] == question.answer
            assert all(choice in exchange.question for choice in exchange.choices)
    share = np.bincount(["ABCD".index(letter) for letter in letters], minlength=4) / len(letters)
    assert len(letters) > 400 and share[:3].min() > 0.17


@settings(max_examples=30)
@given(
    families=st.dictionaries(st.sampled_from(sorted(FAMILIES)), st.floats(0.01, 10), min_size=1),
    levels=st.tuples(st.integers(1, 3), st.integers(1, 3)).map(sorted),
    questions=st.integers(1, 9), choice=st.floats(0, 1), seed=st.integers(-(2**70), 2**70),
    larger=st.tuples(st.integers(0, 90), st.integers(0, 90), st.booleans()),
    index=st.integers(0, 2**80), split=st.sampled_from(SPLITS),
)  # fmt: skip
def test_any_settings_make_documents(families, levels, questions, choice, seed, larger, index, split):
    across, down, square = larger
    size = {}
    for name in families:
        width, height = FAMILIES[name].least
        low = max(width, height)
        size[name] = [low, low + across] if square else {"width": [width, width + across], "height": height + down}
    values = {"families": families, "levels": levels, "questions": questions, "multiple_choice": choice,
              "seed": seed, "size": size}  # fmt: skip
    config = build(GeneratorConfig, values)
    document = generate(config, index, split)
    assert 1 <= len(document.exchanges) <= questions
    name = document.identity.split("/")[2]
    (low, high), (lower, upper) = config.ranges(name)
    for image in document.images:
        assert low <= image.width <= high and lower <= image.height <= upper
        assert not square or image.width == image.height


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"families": {"scene": 1}}, ("families", "scene", "known ones are scenes")),
        ({"size": {"maps": 64}}, ("size", "maps", "known ones are scenes")),
        ({"families": {"scenes": 0}}, ("families", "above zero")),
        ({"families": {"scenes": -1}}, ("families", "above zero")),
        ({"families": {}}, ("families",)),
        ({"levels": [2, 4]}, ("levels", "4", "from 1 to 3")),
        ({"levels": [3, 1]}, ("levels", "from 1 to 3")),
        ({"levels": 0}, ("levels", "0", "from 1 to 3")),
        ({"kinds": {"size": 1}}, ("kinds", "'size'", "known ones are shape, colour")),
        ({"kinds": {"shape": 17}}, ("kinds", "from 0 to 16")),
        ({"kinds": {"shape": -1}}, ("kinds", "from 0 to 16")),
        ({"kinds": dict.fromkeys(FAMILIES["scenes"].kinds, 0)}, ("kinds", "no question to ask of scenes")),
        ({"size": {"scenes": 8}}, ("size.scenes has 8 x 8", "40 x 40")),
        ({"size": {"scenes": [64, 5000]}}, ("size.scenes", "5000", "1 to 1024")),
        ({"size": {"scenes": {"wide": 64}}}, ("wide", "width")),
        ({"questions": 0}, ("questions", "0")),
        ({"multiple_choice": 1.5}, ("multiple_choice", "1.5")),
        ({"kinds": 3}, ("kinds",)),
    ],
)
def test_wrong_settings_are_named(values, said):
    with pytest.raises(UserError) as error:
        build(GeneratorConfig, values)
    assert all(word in str(error.value) for word in said), str(error.value)


def test_wrong_requests_are_named(tmp_path):
    config = GeneratorConfig()
    for call, said in (
        (lambda: generate(config, 0, "test"), "split is 'test': one of train and heldout"),
        (lambda: generate(config, -1, "train"), "index is -1"),
        (lambda: write_folder(config, "train", 0, tmp_path / "new"), "count is 0"),
        (lambda: contact_sheet(config, "train", 0), "count of a contact sheet is 0"),
        (lambda: write_folder(config, "train", 1, tmp_path), "is there already"),
    ):
        (tmp_path / "kept").touch()
        with pytest.raises(UserError, match=re.escape(said)):
            call()


def test_a_folder_holds_the_documents(tmp_path):
    config = GeneratorConfig(families=ALL)
    path = write_folder(config, "heldout", 8, tmp_path / "drawn")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 8
    for index, row in enumerate(rows):
        document = generate(config, index, "heldout")
        assert row["identity"] == document.identity
        for name, image in zip(row["images"], document.images, strict=True):
            assert Image.open(path.parent / name).tobytes() == image.tobytes()
        for written, exchange in zip(row["exchanges"], document.exchanges, strict=True):
            assert written == {"question": exchange.question, "answer": exchange.answer, "kind": exchange.kind,
                               "choices": list(exchange.choices)}  # fmt: skip
    assert {str(p.relative_to(path.parent)) for p in path.parent.rglob("*.png")} == {
        n for r in rows for n in r["images"]
    }


def test_a_sheet_shows_documents():
    sheet = contact_sheet(GeneratorConfig(families=ALL), "train", 5, columns=2, scale=1)
    assert sheet.mode == "RGB" and sheet.width > 600 and sheet.height > 150
