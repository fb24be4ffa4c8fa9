"""Freezing: filters and their counts, splits, mixtures, near-duplicates of held-out text, records, bad corpora."""

import csv
import hashlib
import json
import random
from collections import defaultdict
from pathlib import Path

import pyarrow.parquet
import pytest

from foretell.core.errors import UserError
from foretell.data.config import CorpusConfig, SourceConfig
from foretell.data.corpus import freeze_corpus
from foretell.data.split import choose_heldout

TEXTS = Path(__file__).parents[3] / "shared" / "data" / "text"


def words(rng, count):
    return " ".join(f"w{rng.randrange(100_000)}" for _ in range(count))


def write_projects(root, projects=40, files=5, count=200, seed=0):
    rng = random.Random(seed)
    for project in range(projects):
        for file in range(files):
            path = root / f"p{project:02d}" / f"{file}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(words(rng, count))
    return root


def freeze(folder, *paths, seed=0, **settings):
    sources = tuple(path if isinstance(path, SourceConfig) else SourceConfig(path=str(path)) for path in paths)
    summary = freeze_corpus(CorpusConfig(sources=sources, **settings), seed, folder)
    return summary, pyarrow.parquet.read_table(folder / "documents.parquet").to_pylist()


def removed(summary):
    return {entry["name"]: entry["removed_documents"] for entry in summary["filters"] if entry["removed_documents"]}


def test_whole_projects_are_held_out_and_every_record_agrees(tmp_path):
    summary, rows = freeze(tmp_path / "frozen", write_projects(tmp_path / "in"))
    assert summary["split_by"] == "project"
    projects = defaultdict(set)
    for row in rows:
        projects[row["project"]].add(row["split"])
        data = row["text"].encode()
        assert row["sha256"] == hashlib.sha256(data).hexdigest() and row["bytes"] == len(data)
        assert row["words"] == len(row["text"].split())
        assert Path(row["path_or_url"]).read_text() == row["text"]
    assert all(len(splits) == 1 for splits in projects.values())
    assert summary["heldout_projects"] == sorted(p for p, splits in projects.items() if splits == {"heldout"})
    assert len(summary["heldout_projects"]) >= 2
    for split, counted in summary["splits"].items():
        mine = [row for row in rows if row["split"] == split]
        assert counted == {
            "documents": len(mine),
            "bytes": sum(row["bytes"] for row in mine),
            "words": sum(row["words"] for row in mine),
            "projects": len({row["project"] for row in mine}),
        }
    total = sum(row["bytes"] for row in rows)
    assert 0.05 * total < summary["splits"]["heldout"]["bytes"] <= 0.1 * total
    pairs = sorted([row["split"], row["sha256"]] for row in rows)
    canonical = json.dumps(pairs, separators=(",", ":")).encode()
    assert summary["digest"] == hashlib.sha256(canonical).hexdigest()
    assert json.loads((tmp_path / "frozen" / "summary.json").read_text()) == summary
    with (tmp_path / "frozen" / "manifest.csv").open(newline="") as file:
        manifest = list(csv.DictReader(file))
    assert [row["sha256"] for row in manifest] == [row["sha256"] for row in rows] and "text" not in manifest[0]


def test_same_seed_same_corpus_anywhere_and_another_seed_another(tmp_path):
    write_projects(tmp_path / "one")
    write_projects(tmp_path / "two")
    digests = [
        freeze(tmp_path / f"f{n}", tmp_path / root, seed=seed)[0]["digest"]
        for n, (root, seed) in enumerate((("one", 1), ("two", 1), ("one", 2)))
    ]
    assert digests[0] == digests[1] != digests[2]


def test_a_later_edit_changes_nothing(tmp_path):
    root = write_projects(tmp_path / "in")
    _, before = freeze(tmp_path / "frozen", root)
    for file in root.rglob("*.txt"):
        file.unlink()
    assert pyarrow.parquet.read_table(tmp_path / "frozen" / "documents.parquet").to_pylist() == before


def test_each_filter_counts_what_it_removed(tmp_path):
    root = write_projects(tmp_path / "in", projects=1, files=30)
    texts = [path.read_text() for path in sorted((root / "p00").iterdir())]
    (root / "binary.txt").write_bytes(b"a\0b")
    (root / "latin.txt").write_bytes("Grüße, die kein UTF-8 sind".encode("latin-1"))
    (root / "empty.txt").write_text("")
    (root / "blank.txt").write_text(" \n\t ")
    (root / "short.txt").write_text("too short")
    (root / "long.txt").write_text("x" * 5000)
    (root / "same.txt").write_text(texts[0])
    (root / "near.txt").write_text(texts[1] + " one more")
    summary, rows = freeze(tmp_path / "frozen", root, max_characters=4000, heldout_bytes=3000)
    counts = removed(summary)
    near = counts.pop("near duplicate", 0) + counts.pop("near duplicate of held-out", 0)
    assert near == 1
    assert counts == {
        "unreadable, binary or not UTF-8": 2,
        "empty": 2,
        "too short": 1,
        "too long": 1,
        "exact duplicate": 1,
    }
    source = summary["sources"][0]
    assert source["files_found"] == source["documents"] == 38
    assert source["kept_documents"] == len(rows) == 30
    assert len(freeze(tmp_path / "kept", root, max_characters=4000, near_duplicates=False)[1]) == 31


def test_training_near_duplicates_of_heldout_text_leave(tmp_path):
    root = write_projects(tmp_path / "in")
    rng = random.Random(5)
    for path in list(root.rglob("*.txt")):
        copy = root / f"copy-{path.parent.name}" / path.name
        copy.parent.mkdir(exist_ok=True)
        copy.write_text(path.read_text() + " " + words(rng, 3))
    summary, rows = freeze(tmp_path / "frozen", root)
    assert removed(summary)["near duplicate of held-out"] > 0
    assert len(rows) <= 200

    def start(row):
        return " ".join(row["text"].split()[:150])

    heldout = {start(row) for row in rows if row["split"] == "heldout"}
    train = [start(row) for row in rows if row["split"] == "train"]
    assert heldout and not heldout & set(train)
    assert len(train) == len(set(train))


def test_max_bytes_bounds_the_training_text(tmp_path):
    root = write_projects(tmp_path / "in")
    summary, _ = freeze(tmp_path / "frozen", root, max_bytes=100_000, heldout_bytes=9_000)
    assert 97_000 < summary["splits"]["train"]["bytes"] <= 100_000
    assert 4_000 < summary["splits"]["heldout"]["bytes"] <= 9_000
    source = summary["sources"][0]
    assert source["documents"] == source["kept_documents"] + sum(removed(summary).values()) == 200


def test_mixture_follows_the_weights_and_the_scarcest_source_sets_the_scale(tmp_path):
    large = write_projects(tmp_path / "large", seed=1)
    small = write_projects(tmp_path / "small", projects=30, files=2, count=100, seed=2)
    summary, rows = freeze(
        tmp_path / "frozen",
        SourceConfig(path=str(large), weight=3, name="large"),
        SourceConfig(path=str(small), weight=1.0, name="small", licence="CC0-1.0"),
    )
    sizes = defaultdict(int)
    for row in rows:
        if row["split"] == "train":
            sizes[row["source"]] += row["bytes"]
    assert sizes["large"] / sizes["small"] == pytest.approx(3, rel=0.03)
    available = sum(path.stat().st_size for path in small.rglob("*.txt"))
    assert sizes["small"] > 0.85 * available
    assert removed(summary)["beyond max_bytes or the mixture"] > 0
    assert len({row["sha256"] for row in rows}) == len(rows)
    assert {row["source"] for row in rows if row["split"] == "heldout"} == {"large", "small"}
    assert summary["licences"]["CC0-1.0"] == sum(row["bytes"] for row in rows if row["source"] == "small")
    assert [(source["name"], source["weight"]) for source in summary["sources"]] == [("large", 3), ("small", 1)]


def test_a_project_held_out_of_one_source_is_held_out_of_all(tmp_path):
    one, two = write_projects(tmp_path / "one", seed=1), write_projects(tmp_path / "two", seed=2)
    _, rows = freeze(tmp_path / "frozen", one, two)
    splits = defaultdict(set)
    for row in rows:
        splits[row["project"]].add(row["split"])
    assert all(len(found) == 1 for found in splits.values())


def test_few_projects_are_split_by_document(tmp_path):
    root = write_projects(tmp_path / "in", projects=3, files=40)
    summary, rows = freeze(tmp_path / "frozen", root)
    assert summary["split_by"] == "document"
    held = sum(row["bytes"] for row in rows if row["split"] == "heldout")
    assert 0.08 * sum(row["bytes"] for row in rows) < held <= 0.1 * sum(row["bytes"] for row in rows)


def test_rows_that_stand_for_themselves_do_not_take_over_the_heldout_side():
    projects = ["big.txt"] * 100 + [f"rows.jsonl#{n}" for n in range(100)]
    identities = [f"big.txt#{n}" for n in range(100)] + projects[100:]
    chosen = choose_heldout(projects, identities, [1000] * 100 + [100] * 100, 10_000, seed=0)
    assert chosen.split_by == "document"
    assert any(index < 100 for index in chosen.documents)


def test_large_projects_are_passed_over():
    projects = ["large"] * 10 + [f"p{n}" for n in range(40) for _ in range(2)]
    identities = [f"{project}/{n}" for n, project in enumerate(projects)]
    for seed in range(20):
        chosen = choose_heldout(projects, identities, [100] * len(projects), 900, seed)
        held = {projects[index] for index in chosen.documents}
        assert chosen.split_by == "project" and "large" not in held and len(held) == 4
        assert len(chosen.documents) * 100 <= 900


def test_surrogates_in_json_are_counted_and_not_a_crash(tmp_path):
    rng = random.Random(0)
    rows = [json.dumps({"text": words(rng, 50)}) for _ in range(20)]
    (tmp_path / "rows.jsonl").write_text("\n".join([*rows, '{"text": "half of a pair: \\ud800, and more"}']))
    summary, kept = freeze(tmp_path / "frozen", tmp_path / "rows.jsonl")
    assert len(kept) == 20 and removed(summary) == {"unreadable, binary or not UTF-8": 1}


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ([b""], "leaves no document: 1 empty"),
        ([b"\x7fELF\0\0", b"PK\3\4\0\0"], "leaves no document: 2 unreadable, binary or not UTF-8"),
        (["Grüße allerseits, liebe Leute".encode("latin-1")], "not UTF-8"),
        ([b"short", b"", b"a\0"], "1 unreadable, binary or not UTF-8, 1 empty and 1 too short"),
        ([b"the only document that there is"], "1 usable document; at least two"),
        ([b"the same document two times over"] * 2, r"1 usable document; .*1 exact duplicate"),
    ],
)
def test_corpora_that_cannot_be_used(tmp_path, contents, message):
    for number, content in enumerate(contents):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{number}.txt").write_bytes(content)
    with pytest.raises(UserError, match=message):
        freeze(tmp_path / "frozen", tmp_path / "in")
    assert not (tmp_path / "frozen").exists()


def test_a_failure_keeps_the_corpus_that_was_there(tmp_path):
    root = write_projects(tmp_path / "in")
    _, before = freeze(tmp_path / "frozen", root)
    with pytest.raises(UserError, match="matches no file"):
        freeze(tmp_path / "frozen", tmp_path / "none")
    assert pyarrow.parquet.read_table(tmp_path / "frozen" / "documents.parquet").to_pylist() == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_python_environment(tmp_path):
    config = CorpusConfig(max_bytes=2_000_000, heldout_bytes=150_000)
    summary = freeze_corpus(config, 0, tmp_path / "one")
    again = freeze_corpus(config, 0, tmp_path / "two")
    assert summary["digest"] == again["digest"] != freeze_corpus(config, 1, tmp_path / "three")["digest"]
    train, heldout = summary["splits"]["train"], summary["splits"]["heldout"]
    assert 1_950_000 < train["bytes"] <= 2_000_000 and 0 < heldout["bytes"] <= 150_000
    assert train["projects"] > 20
    assert summary["sources"][0]["kind"] == "python" and "PSF-2.0" in summary["licences"]


@pytest.mark.skipif(not TEXTS.is_dir(), reason="the shared texts are not here")
def test_a_few_large_texts_are_cut_and_all_take_part(tmp_path):
    summary, rows = freeze(tmp_path / "frozen", f"{TEXTS}/*", max_bytes=3_000_000, heldout_bytes=300_000)
    assert summary["split_by"] == "document"
    assert summary["sources"][0]["files_found"] == 9
    by_project = defaultdict(int)
    for row in rows:
        if "c4_demo" not in row["project"]:
            by_project[row["project"]] += row["bytes"]
    assert len(by_project) == 8
    # about in proportion to the files: the largest is 11.0 of 29.7 MB
    assert 0.25 < by_project["python311_docs_rst.txt.xz"] / 3_300_000 < 0.5
    assert summary["splits"]["heldout"]["projects"] >= 3
