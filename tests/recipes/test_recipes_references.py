"""References end to end: runs on three corpora teach how one on a fourth will end, sealed before its target starts."""

from __future__ import annotations

import json
import sysconfig
from pathlib import Path

import numpy as np
import pytest

from foretell.cli.main import main
from foretell.core.errors import UserError
from foretell.core.files import read_json
from foretell.data.tokens import TokenDataset
from foretell.ladder.token_features import forget_unreadable
from foretell.laws.token_law import TokenLaw
from foretell.recipes.references import finished, make_references, read_references, run_features

STDLIB = Path(sysconfig.get_paths()["stdlib"])
CORPORA = {"net": ("email", "http"), "tools": ("asyncio", "logging"), "forms": ("json", "xml/**", "unittest"),
           "small": ("collections", "importlib/**", "ctypes/**", "html", "urllib")}  # fmt: skip
RECIPE = {
    "tokenizer": {"vocab_size": 300},
    "model": {"depth": 1, "context": 64, "head_dim": 8},
    "target": {"flops": 1e10, "max_epochs": 20},
    "ladder": {"ratio": 20, "sizes": 3, "span": 4, "seeds": 1, "width_step": 1, "minimum_width": 2,
               "learning_rates": [1e-2], "tuning_sizes": 1},
    "training": {"compile": "off", "checkpoints": 2, "evaluations": 0},
    "samples": {"tokens": 5, "count": 1},
}  # fmt: skip


def carry_out(folder: Path, name: str, *more: str) -> int:
    sources = [{"path": str(STDLIB / part / "*.py")} for part in CORPORA[name]]
    recipe = RECIPE | {"name": name, "corpus": {"sources": sources, "max_bytes": 600_000, "heldout_bytes": 30_000}}
    (folder / f"{name}.yaml").write_text(json.dumps(recipe))
    return main(["run", str(folder / f"{name}.yaml"), "--anyway", "--output", str(folder / name), *more])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("references")
    for name in list(CORPORA)[:3]:
        assert carry_out(folder, name) == 0
    made = [str(folder / name) for name in list(CORPORA)[:3]]
    assert main(["references", *made, "--output", str(folder / "references.json")]) == 0
    return folder


def test_the_fourth_run_is_foretold_by_them(runs: Path) -> None:
    assert carry_out(runs, "small", "--forecast.references", str(runs / "references.json")) == 0
    sealed, score = read_json(runs / "small" / "forecast.json"), read_json(runs / "small" / "score.json")
    told = sealed["forecast"]["references"]
    assert sorted(reference["name"] for reference in told["corpora"]) == ["forms", "net", "tools"]
    assert {"references"} <= {finding["code"] for finding in sealed["forecast"]["findings"]}
    assert abs(score["relative_error"]) < 0.1  # the same language, and targets of 2,000 parameters
    alone = abs(np.log(score["outcome"] / told["law"]["median"]))
    assert abs(np.log(score["outcome"] / score["median"])) < max(alone, 0.05)
    page = (runs / "small" / "report.html").read_text()
    assert "What runs on other corpora taught about it" in page and "foretold by the others" in page
    assert "References" not in (runs / "net" / "report.html").read_text().partition("<h2")[2].partition("The seal")[0]


def test_a_reference_is_what_its_records_say(runs: Path) -> None:
    reference, result = finished(runs / "net"), read_json(runs / "net" / "target" / "result.json")
    assert reference.nats.mean() == pytest.approx(result["heldout"]["nats_per_token"], rel=1e-5)
    rungs = read_json(runs / "net" / "ladder" / "rungs.json")
    largest = max(rungs, key=lambda rung: rung["flops"])["heldout"]["nats_per_token"]
    assert reference.features[:, -1].mean() == pytest.approx(largest, rel=1e-5)
    heldout = TokenDataset(runs / "net" / "tokens", "heldout")
    assert reference.features.shape[0] == len(reference.nats) == heldout.token_count
    law = TokenLaw.from_dict(read_json(runs / "references.json"))
    (named,) = (one for one in law.references if one.name == "net")
    assert named.loss == pytest.approx(result["heldout"]["nats_per_token"], rel=1e-5)
    assert named.foretold == pytest.approx(law.without["net"].nats(reference.features).mean(), rel=1e-3)


def test_what_is_kept_of_runs_teaches_the_same(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = [str(runs / name) for name in list(CORPORA)[:3]]
    assert main(["references", *made, "--keep", str(tmp_path / "kept")]) == 0
    files = sorted(map(str, (tmp_path / "kept").iterdir()))
    assert [Path(file).name for file in files] == [f"{name}.reference.xz" for name in ("forms", "net", "tools")]
    assert main(["references", made[0], *files[:1], files[2], "--output", str(tmp_path / "again.json")]) == 0
    first, again = (TokenLaw.from_dict(read_json(path)) for path in (runs / "references.json", tmp_path / "again.json"))
    for reference in first.references:
        (other,) = (one for one in again.references if one.name == reference.name)
        assert other.loss == pytest.approx(reference.loss, abs=1e-4)
        assert other.foretold == pytest.approx(reference.foretold, rel=3e-3)
    assert main(["references", *made, "--keep", str(tmp_path / "kept")]) == 2
    assert "exists; references are not written over" in capsys.readouterr().err
    assert main(["references", *made]) == 2
    assert "--output FILE" in capsys.readouterr().err
    content = Path(files[0]).read_bytes()
    assert (
        main(["references", *files[1:], made[0], made[1], "--output", files[0]]) == 2
    )  # kept/* without a name before it
    assert "a .json file is expected" in capsys.readouterr().err and Path(files[0]).read_bytes() == content


def test_rungs_leave_no_weights(runs: Path) -> None:
    assert not list((runs / "net" / "ladder").rglob("*.safetensors"))


def test_references_of_another_recipe_are_refused_before_anything_is_trained(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = ["--forecast.references", str(runs / "references.json")]
    assert carry_out(runs, "small", *named, "--target.flops", "1.1e10", "--output", str(runs / "other")) == 2
    assert "of another recipe than this" in capsys.readouterr().err
    assert not (runs / "other" / "corpus").exists()
    without = ["--forecast.without", "klingon", "--output", str(runs / "other")]
    assert carry_out(runs, "small", *named, *without) == 2
    assert "'klingon'; references are forms, net, tools" in capsys.readouterr().err
    assert carry_out(runs, "small", *without) == 2
    assert "'klingon'; no references are there for this recipe" in capsys.readouterr().err


def test_a_reference_of_a_runs_own_sources_is_silent(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named = ["--forecast.references", str(runs / "references.json"), "--seed", "1", "--output", str(runs / "other")]
    assert carry_out(runs, "net", *named) == 2  # two are left
    assert "An error can be told from 3 other corpora at least" in capsys.readouterr().err
    assert not (runs / "other" / "corpus").exists()


def test_a_file_that_holds_no_references_is_named(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named = ["--forecast.references", str(runs / "net" / "score.json"), "--output", str(runs / "other")]
    assert carry_out(runs, "small", *named) == 2
    assert "score.json: This is not a record of references" in capsys.readouterr().err


def test_what_cannot_be_a_reference(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"recipe\.yaml is missing"):
        finished(tmp_path)
    with pytest.raises(UserError, match="2 corpora are there"):
        make_references(read_references([runs / "net", runs / "forms"]).values(), tmp_path / "two.json")
    assert not (tmp_path / "two.json").exists()
    recorded = runs / "tools" / "ladder" / "heldout.npy"
    whole = recorded.read_bytes()
    try:
        for raw, said in ((whole[:-4], "cannot be read"), (whole[:20], "cannot be read"), (b"", "cannot be read")):
            recorded.write_bytes(raw)
            with pytest.raises(UserError, match=said):
                finished(runs / "tools")
        recorded.write_bytes(whole)
        np.save(recorded, np.load(recorded)[-1])
        with pytest.raises(UserError, match="An older version wrote it"):
            finished(runs / "tools")
        heldout = TokenDataset(runs / "tools" / "tokens", "heldout")
        forget_unreadable(recorded, heldout)
        assert not recorded.exists()
        with pytest.raises(UserError, match=r"heldout\.npy is missing: the run is not finished, or older"):
            finished(runs / "tools")
    finally:
        recorded.write_bytes(whole)
    forget_unreadable(recorded, heldout)
    assert recorded.read_bytes() == whole


def test_counting_is_of_what_the_target_reads(runs: Path) -> None:
    from foretell.core.config import build
    from foretell.recipes.config import Recipe
    from foretell.recipes.planning import plan_of
    from foretell.recipes.workspace import open_run

    plan = plan_of(build(Recipe, open_run(runs / "net")))
    features = run_features(runs / "net", plan)
    train = TokenDataset(runs / "net" / "tokens", "train")
    read = min(plan.target.text_tokens, train.token_count)
    most = np.expm1(features[:, 0]).max()
    counts = np.bincount(np.asarray(train.tokens))
    assert most <= counts.max() and most > 0.5 * counts.max() * read / train.token_count


def test_built_in_references_are_of_built_in_recipes() -> None:
    from foretell.ladder.references import built_in, recipe_key
    from foretell.recipes.config import Recipe, built_in_recipes, load_recipe
    from foretell.recipes.planning import plan_of

    recipes = [load_recipe(name, []) for name in built_in_recipes()]
    plans = [plan_of(recipe) for recipe in recipes if isinstance(recipe, Recipe)]
    assert built_in()
    for law in built_in():
        assert law.recipe in {recipe_key(plan, law.features) for plan in plans}
