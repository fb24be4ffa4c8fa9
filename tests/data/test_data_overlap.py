"""The index of a corpus against Python's own ``in`` on the normalised text."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretell.core.errors import UserError
from foretell.data.config import CorpusConfig, SourceConfig
from foretell.data.corpus import freeze_corpus
from foretell.data.overlap import anchors, build, normal, scan, search
from foretell.data.overlap.build import build_index, open_index
from foretell.data.overlap.normal import letters, normalise, pieces, words
from foretell.data.overlap.search import Passage

VOCABULARY = (
    "the",
    "of",
    "And",
    "a",
    "1",
    "22",
    "naïve",
    "ΣΟΦΟΣ",
    "İstanbul",
    "Kelvin",
    "日本語",
    "x-y",
    "don't",
    "--",
    "000",
    "Z",
)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches, pieces and reads so small that a short text has many of each."""
    make_small(monkeypatch)


def make_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "BATCH_CHARACTERS", 700)
    monkeypatch.setattr(normal, "PIECE_CHARACTERS", 300)
    monkeypatch.setattr(scan, "FIRST_BYTES", 64)
    monkeypatch.setattr(anchors, "CHUNK", 100)


def write_rows(path: Path, documents: Sequence[str]) -> Path:
    path.write_text("".join(json.dumps({"text": document}) + "\n" for document in documents), encoding="utf-8")
    return path


def by_hand(documents: Sequence[str], view: str, passage: str) -> bool:
    if view == "letters":
        return any(passage in letters(normalise(document)) for document in documents)
    return any(f" {passage} " in f" {' '.join(words(normalise(document)))} " for document in documents)


def draw_passages(random_: random.Random, documents: Sequence[str], view: str) -> list[str]:
    """Cuts of the documents of all lengths, half of them with one character or word changed."""
    found = []
    for _ in range(60):
        normalised = normalise(random_.choice(documents))
        units: Sequence[str] = letters(normalised) if view == "letters" else words(normalised)
        if not units:
            continue
        size = random_.choice((1, 2, 5, 12, 13) if view == "words" else (1, 2, 5, 20, 49, 50))
        start = random_.randrange(max(1, len(units) - size + 1))
        cut = list(units[start : start + size])
        if random_.random() < 0.5:
            cut[random_.randrange(len(cut))] = random_.choice("qzé")
        found.append(("" if view == "letters" else " ").join(cut))
    return found


def check(documents: Sequence[str], passages: Sequence[str], view: search.View, folder: Path) -> None:
    build_index([str(write_rows(folder / "rows.jsonl", documents))], folder / "index", segment_bytes=2_000)
    index = open_index(folder / "index")
    index.verify()
    found = search.search(index, view, [Passage(number, text) for number, text in enumerate(passages)])
    for number, passage in enumerate(passages):
        assert (number in found) == by_hand(documents, view, passage), passage
    for match in found.values():
        line = int(match.document.rsplit(" ", 1)[1])
        assert by_hand([documents[line - 1]], view, match.passage.text)


@pytest.mark.parametrize("view", ["letters", "words"])
@pytest.mark.parametrize("seed", range(6))
def test_search_equals_brute_force(seed: int, view: search.View, tmp_path: Path, small_parts: None) -> None:
    random_ = random.Random(seed)
    documents = [
        " ".join(random_.choice(VOCABULARY[: random_.choice((2, 16))]) for _ in range(random_.choice((0, 5, 30, 400))))
        for _ in range(40)
    ]
    check(documents, draw_passages(random_, documents, view), view, tmp_path)


@settings(max_examples=40)
@given(data=st.data(), view=st.sampled_from(["letters", "words"]))
def test_any_text_and_any_passage(
    data: st.DataObject, view: search.View, tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = st.one_of(
        st.text(st.characters(codec="utf-8"), max_size=200),
        st.lists(st.sampled_from(VOCABULARY), max_size=150).map(" ".join),
        st.text("ab ", max_size=300),
    )
    documents = data.draw(st.lists(text, min_size=1, max_size=6).filter(lambda texts: any(map(normalise, texts))))
    passages = draw_passages(random.Random(data.draw(st.integers(0, 99))), documents, view)
    with pytest.MonkeyPatch.context() as monkeypatch:
        make_small(monkeypatch)
        check(documents, passages, view, tmp_path_factory.mktemp("index"))


@pytest.mark.parametrize("view", ["letters", "words"])
def test_places_beyond_those_compared_one_by_one(
    view: search.View, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "COMPARED", 2)
    common = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
    documents = [f"{number} {common} {number}" for number in range(30)]
    wanted = ("29", "30", "31", "-1")
    passages = [
        f"{common} {last}".split()[-13:] if view == "words" else letters(f"{common}{last}")[-50:] for last in wanted
    ]
    passages = [" ".join(passage) if view == "words" else passage for passage in passages]
    check(documents, passages, view, tmp_path)


def test_a_text_that_is_all_alike_fills_segments_sooner(tmp_path: Path, small_parts: None) -> None:
    (tmp_path / "zeros.txt").write_text("0 " * 20_000)
    (tmp_path / "words.txt").write_text(" ".join(str(number * 7919 % 10_007) for number in range(8_500)))
    segments = {}
    for name in ("zeros", "words"):
        build_index([str(tmp_path / f"{name}.txt")], tmp_path / name, segment_bytes=8_000)
        index = open_index(tmp_path / name)
        segments[name] = len(index.segments)
        wanted = "0" * 50 if name == "zeros" else "".join(str(number * 7919 % 10_007) for number in range(20, 40))[:50]
        found = search.search(index, "letters", [Passage(0, wanted), Passage(1, "0" * 49 + "1")])
        assert list(found) == [0]
    assert segments["zeros"] > 3 * segments["words"] / 2


def test_one_owner_one_match(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", ["alpha beta gamma", "delta"])
    build_index([str(rows)], tmp_path / "index")
    found = search.search(
        open_index(tmp_path / "index"), "words", [Passage(7, "beta"), Passage(7, "delta"), Passage(8, "eta")]
    )
    assert list(found) == [7]


@given(st.text(), st.lists(st.integers(1, 40), max_size=8))
def test_normal_form_is_the_definition(text: str, _: list[int]) -> None:
    expected = ["".join(character for character in word if character.isalnum()) for word in text.split()]
    kept = [word for word in expected if word]
    assert normalise(text) == (f" {' '.join(kept)} " if kept else "")
    assert letters(normalise(text)) == "".join(character for character in text if character.isalnum())


@pytest.mark.parametrize("alphabet", ["ab ", "a", "word " * 3 + "\u3000é"])
def test_pieces_hold_every_passage(alphabet: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(normal, "PIECE_CHARACTERS", 150)
    monkeypatch.setattr(normal, "LONGEST_WORD", 120)
    random_ = random.Random(5)
    text = "".join(random_.choice(alphabet) for _ in range(4_000))
    cut = [text[start : start + 70] for start in range(0, len(text), 70)]
    parts = list(pieces(cut))
    assert len(parts) > 10
    whole = letters(normalise(text))
    spans = {whole[start : start + 50] for start in range(len(whole) - 49)}
    held = [letters(part) for part in parts]
    assert all(any(span in part for part in held) for span in spans)
    assert all(part.replace(normal.CUT, "") in whole for part in held)
    if " " in alphabet:
        every = words(normalise(text))
        grams = {" ".join(every[start : start + 13]) for start in range(len(every) - 12)}
        joined = [f" {' '.join(words(part))} " for part in parts]
        assert all(any(f" {gram} " in part for part in joined) for gram in grams)
        made = {" ".join(w[i : i + 13]) for part in parts for w in [words(part)] for i in range(len(w) - 12)}
        assert made == grams


def test_plain_compressed_and_frozen_corpora(tmp_path: Path) -> None:
    import gzip

    (tmp_path / "texts").mkdir()
    secret = "a sentence of more than thirteen words that stands in this one file of the corpus and nowhere else at all"
    (tmp_path / "texts" / "a.txt").write_text("nothing " * 50)
    (tmp_path / "texts" / "b.txt.gz").write_bytes(gzip.compress(secret.encode()))
    (tmp_path / "texts" / "c.bin").write_bytes(b"\0\1\2")
    summary = build_index([str(tmp_path / "texts")], tmp_path / "index")
    assert (summary["files"], summary["files_without_text"], summary["documents"]) == (3, 1, 2)
    passage = Passage(0, " ".join(words(normalise(secret))[:13]))
    match = search.search(open_index(tmp_path / "index"), "words", [passage])[0]
    assert match.document.endswith("b.txt.gz")

    sources = (SourceConfig(path=str(write_rows(tmp_path / "rows.jsonl", [f"{secret} {n} " * 9 for n in range(20)]))),)
    freeze_corpus(CorpusConfig(sources=sources, near_duplicates=False), 0, tmp_path / "run" / "corpus")
    summary = build_index([str(tmp_path / "run")], tmp_path / "frozen")
    manifest = (tmp_path / "run" / "corpus" / "manifest.csv").read_text()
    assert summary["documents"] == manifest.count(",train") < 20


def test_an_interrupted_index_goes_on(tmp_path: Path, small_parts: None, monkeypatch: pytest.MonkeyPatch) -> None:
    random_ = random.Random(1)
    documents = [" ".join(str(random_.randrange(10**6)) for _ in range(200)) for _ in range(30)]
    paths = [str(write_rows(tmp_path / f"{number}.jsonl", documents[number::2])) for number in range(2)]
    build_index(paths, tmp_path / "whole", segment_bytes=4_000)

    written = build.SegmentWriter.finish

    def fail(writer: build.SegmentWriter, following: build.Position) -> None:
        written(writer, following)
        if following[0] == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(build.SegmentWriter, "finish", fail)
    with pytest.raises(KeyboardInterrupt):
        build_index(paths, tmp_path / "parts", segment_bytes=4_000)
    with pytest.raises(UserError, match="not finished"):
        open_index(tmp_path / "parts")
    (tmp_path / "parts" / "00077.text").write_bytes(b"left over")
    monkeypatch.setattr(build.SegmentWriter, "finish", written)
    assert build_index(paths, tmp_path / "parts", segment_bytes=4_000)["resumed_at_segment"] > 1
    names = {path.name for path in (tmp_path / "whole").iterdir()}
    assert names == {path.name for path in (tmp_path / "parts").iterdir()}
    assert len(names) > 30
    for name in names - {"summary.json"}:
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes(), name
    build_index(paths, tmp_path / "parts", segment_bytes=4_000)  # nothing left to do


@pytest.mark.parametrize("part", ["text", "letters", "words", "places.parquet"])
def test_damage_is_named(part: str, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", ["a text of a few words " * 20])
    build_index([str(rows)], tmp_path / "index")
    path = tmp_path / "index" / f"00000.{part}"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match=f"damaged at .*00000.{part} .its checksum"):
        open_index(tmp_path / "index").verify()
    path.write_bytes(data[:-1])
    with pytest.raises(UserError, match=f"damaged at .*00000.{part} .it has"):
        open_index(tmp_path / "index")
    path.unlink()
    with pytest.raises(UserError, match=f"00000.{part} .it is missing"):
        open_index(tmp_path / "index")


def test_folders_and_files_that_cannot_be_used(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", ["words"])
    with pytest.raises(UserError, match="holds no index"):
        open_index(tmp_path)
    with pytest.raises(UserError, match="names no file"):
        build_index([str(tmp_path / "none.txt")], tmp_path / "index")
    with pytest.raises(UserError, match="is not empty"):
        build_index([str(rows)], tmp_path)
    with pytest.raises(UserError, match="no field 'body'"):
        build_index([str(rows)], tmp_path / "index", text_field="body")
    build_index([str(rows)], tmp_path / "other")
    write_rows(rows, ["other words"])
    with pytest.raises(UserError, match="other files or settings"):
        build_index([str(rows)], tmp_path / "other")
    (tmp_path / "empty.txt").write_text("--- !!!")
    with pytest.raises(UserError, match="no text"):
        build_index([str(tmp_path / "empty.txt")], tmp_path / "none")
    (tmp_path / "other" / "00000.json").write_text("[]")
    with pytest.raises(UserError, match="no record of a segment"):
        open_index(tmp_path / "other")
    with pytest.raises(UserError, match="segment_bytes is 0"):
        build_index([str(rows)], tmp_path / "third", segment_bytes=0)
