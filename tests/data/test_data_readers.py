"""Reading files of every format and compression, and the sentence for each way in which they can be broken."""

import bz2
import gzip
import json
import lzma
import sys
import types

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretell.core.errors import UserError
from foretell.data import environment
from foretell.data.compression import open_bytes
from foretell.data.config import SourceConfig
from foretell.data.documents import Document, Unreadable
from foretell.data.environment import list_environment
from foretell.data.paths import cut_sections
from foretell.data.sources import list_source


def compress_zst(data):
    sink = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


COMPRESSIONS = {
    "": bytes,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".bz2": bz2.compress,
    ".zst": compress_zst,
}


def read(path, seed=0, **settings):
    return list(list_source(SourceConfig(path=str(path), **settings), seed, 1 << 30).items)


@pytest.mark.parametrize("suffix", COMPRESSIONS)
def test_text_rows_and_parquet_in_every_compression(tmp_path, suffix):
    compress = COMPRESSIONS[suffix]
    text = "Grüße an alle.\n" * 20
    (tmp_path / f"a.txt{suffix}").write_bytes(compress(text.encode()))
    rows = "".join(json.dumps({"text": text, "id": n}) + "\n\n" for n in range(3))
    (tmp_path / f"b.jsonl{suffix}").write_bytes(compress(rows.encode()))
    pyarrow.parquet.write_table(pyarrow.table({"text": [text, None], "x": [1, 2]}), tmp_path / "plain")
    (tmp_path / f"c.parquet{suffix}").write_bytes(compress((tmp_path / "plain").read_bytes()))
    assert [item.text for item in read(tmp_path / f"a.txt{suffix}")] == [text]
    items = read(tmp_path / f"b.jsonl{suffix}")
    assert [item.text for item in items] == [text] * 3
    assert [item.identity for item in items] == [f"b.jsonl{suffix}#{line}" for line in (1, 3, 5)]
    assert [item.text for item in read(tmp_path / f"c.parquet{suffix}")] == [text, ""]


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".bz2", ".zst"])
@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.parquet"])
def test_cut_and_foreign_compressed_files_are_named(tmp_path, suffix, name):
    path = tmp_path / (name + suffix)
    data = "".join(json.dumps({"text": f"line {n * 7919}"}) + "\n" for n in range(5000)).encode()
    path.write_bytes(COMPRESSIONS[suffix](data)[:-20])
    with pytest.raises(UserError, match=path.name):
        read(path)
    path.write_bytes(b"this is not compressed at all, whatever its name says")
    with pytest.raises(UserError, match=path.name):
        read(path)


def test_cut_parquet_is_named(tmp_path):
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"text": ["x" * 100] * 100}), path)
    for content in (path.read_bytes()[:-30], b"", b"PAR1", path.read_bytes()[:60] + path.read_bytes()[90:]):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"a\.parquet"):
            read(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"text": "unfinished', "line 2 is not JSON"),
        (b"[1, 2]", "line 2 holds a list"),
        (b'{"body": "x", "id": 1}', "no field 'text'; its fields are 'body', 'id'"),
        (b'{"text": 5}', "holds a int; a string is expected"),
        (b'{"text": "\xff"}', "line 2 is not JSON"),
        (b"[" * 100_000, "line 2"),
    ],
)
def test_broken_rows_name_file_and_line(tmp_path, line, message):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"text": "fine"}\n' + line + b"\n")
    with pytest.raises(UserError, match=message) as caught:
        read(path)
    assert "rows.jsonl" in str(caught.value)


def test_missing_parquet_column_names_those_found(tmp_path):
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"body": ["x"], "n": [1]}), path)
    with pytest.raises(UserError, match="no column 'text'; its columns are body, n"):
        read(path)
    assert read(path, text_field="body")[0].text == "x"


def test_project_location_and_licence_of_rows(tmp_path):
    rows = [
        {"text": "a", "repo": "one/two", "license": "MIT"},
        {"text": "b", "url": "https://example.org/x"},
        {"text": "c"},
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    one, two, three = read(path, licence="CC0-1.0")
    assert (one.project, one.licence) == ("one/two", "MIT")
    assert (two.project, two.location, two.licence) == ("example.org", "https://example.org/x", "CC0-1.0")
    assert three.project == three.identity == "rows.jsonl#3"


def test_folders_and_globs(tmp_path):
    for name in ("a/x.md", "a/deep/y.txt", "b/z.rst", "top.txt", ".hidden/h.txt", "a/.h.txt", "a/__pycache__/c.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    found = {item.text: item.project for item in read(tmp_path)}
    assert found == {"a/x.md": "a", "a/deep/y.txt": "a", "b/z.rst": "b", "top.txt": "top.txt"}
    assert {item.text for item in read(tmp_path / "**" / "*.txt")} == {"a/deep/y.txt", "top.txt"}
    assert [item.text for item in read(tmp_path / "a" / "x.md")] == ["a/x.md"]


def test_order_depends_on_the_seed_and_not_on_the_place(tmp_path):
    for root in ("one", "two"):
        for number in range(30):
            file = tmp_path / root / f"{number}.txt"
            file.parent.mkdir(exist_ok=True)
            file.write_text(str(number))
    orders = [
        [item.text for item in read(tmp_path / root, seed)]
        for root, seed in (("one", 1), ("two", 1), ("one", 2), ("one", -1))
    ]
    assert orders[0] == orders[1] != orders[2] != orders[3]
    assert sorted(orders[0]) == sorted(orders[2])


@pytest.mark.parametrize("pattern", ["nothing.txt", "*.none", "no/such/**/*.txt", "[", ""])
def test_nothing_found(tmp_path, pattern):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="matches no file"):
        read(tmp_path / "empty" / pattern)


def test_binary_and_other_encodings_are_not_documents(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"text\0binary")
    (tmp_path / "b.txt").write_bytes("Grüße".encode("latin-1"))
    (tmp_path / "c.txt").write_bytes("text".encode("utf-16"))
    (tmp_path / "d.txt").write_bytes(b"\xef\xbb\xbfmarked")
    (tmp_path / "e.txt").write_bytes(b"x" * 10_000 + b"\0")
    items = read(tmp_path)
    assert sum(isinstance(item, Unreadable) for item in items) == 4
    assert [item.text for item in items if isinstance(item, Document)] == ["marked"]


def test_no_permission_is_a_sentence(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    path.write_text("x")

    def refuse(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(type(path), "open", refuse)
    with pytest.raises(UserError, match=r"a\.txt cannot be read: no permission"), open_bytes(path):
        pass


@given(st.text(alphabet="ab\n é", max_size=3000), st.integers(8, 200))
def test_sections_joined_are_the_text(text, size):
    sections = list(cut_sections(text, size))
    assert "".join(sections) == text
    assert all(size // 2 < len(section) <= size for section in sections[:-1])
    assert all(len(section) <= 1.5 * size for section in sections[-1:])


def test_long_text_is_cut_at_blank_lines(tmp_path):
    paragraph = "A line of some words.\n" * 40 + "\n"
    (tmp_path / "long.txt").write_text(paragraph * 300)
    (tmp_path / "short.txt").write_text(paragraph * 100)
    items = read(tmp_path)
    long = [item for item in items if item.project == "long.txt"]
    assert "".join(item.text for item in long) == paragraph * 300
    assert all(item.text.endswith("\n\n") and 16_384 < len(item.text) <= 49_152 for item in long)
    assert [item.location for item in long] == [f"{tmp_path}/long.txt#{n}" for n in range(len(long))]
    assert [item.location for item in items if item not in long] == [f"{tmp_path}/short.txt"]


def test_a_file_is_read_up_to_a_limit(tmp_path):
    (tmp_path / "huge.txt").write_text("eins zwei drei größer\n" * 20_000)
    items = list(list_source(SourceConfig(path=str(tmp_path)), 0, 100_001).items)
    text = "".join(item.text for item in items)
    assert 99_900 < len(text.encode()) <= 100_001
    assert text.endswith("größer\n")


def test_environment_has_projects_licences_and_not_itself():
    listing = list_environment(3)
    items = [item for _, item in zip(range(400), listing.items, strict=False)]
    documents = [item for item in items if isinstance(item, Document)]
    assert listing.files_found > 1000
    assert len({item.project for item in documents}) > 10
    assert any(item.project.startswith("stdlib/") and item.licence == "PSF-2.0" for item in documents)
    names = {file.project for file in [*environment._standard_library(), *environment._distributions()]}
    assert "numpy" in names and "stdlib/asyncio" in names and "stdlib/json" in names
    assert not names & {"foretell", "stdlib/test", "stdlib/idlelib", "stdlib/site-packages"}
    again = [
        item.identity
        for _, item in zip(range(50), list_environment(3).items, strict=False)
        if isinstance(item, Document)
    ]
    assert again == [item.identity for item in items[:50] if isinstance(item, Document)]


def test_hub_without_its_package_gives_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"pip install '\.\[hub\]'"):
        list_source(SourceConfig(hub="some/set"), 0, 1 << 20)


def test_hub_rows_and_failures(monkeypatch):
    asked = {}

    def load(repository, **options):
        asked.update(options, set=repository)
        if repository == "broken":
            raise RuntimeError("no such\ndata set")
        return [{"text": "hello", "url": "https://a.example/1"}, {"text": "world"}]

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load))
    config = SourceConfig(hub="some/set", subset="en", split="validation", licence="MIT")
    one, two = list_source(config, 0, 1 << 20).items
    assert asked == {"name": "en", "split": "validation", "streaming": True, "set": "some/set"}
    assert (one.text, one.project, two.licence) == ("hello", "a.example", "MIT")
    assert two.location == "hf://datasets/some/set/en/validation#2"
    with pytest.raises(UserError, match=r"'broken'.*no such data set"):
        list_source(SourceConfig(hub="broken"), 0, 1 << 20)
