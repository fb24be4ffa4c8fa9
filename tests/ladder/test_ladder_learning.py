"""What is learned from runs whose tokens' costs are known functions of their features."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from foretell.core.errors import UserError
from foretell.ladder.finished import FEATURES, Finished
from foretell.ladder.learning import learn


def run(name: str, seed: int, factor: float = 1.0, recipe: str = "key") -> Finished:
    """20,000 tokens; corpora differ in how often their n-grams occur, and noise is as large as what is learned."""
    generator = np.random.default_rng(seed)
    features = generator.normal(0.3 * seed, 1.0, (20_000, len(FEATURES))).astype(np.float32)
    expected = 1.0 + np.log1p(np.exp(features[:, 0] - features[:, 1])) + 0.5 * features[:, -1] * (features[:, 2] > 0.5)
    nats = factor * expected * generator.exponential(1.0, len(features))
    return Finished(name, recipe, f"{name}'s", features, nats.astype(np.float32))


def test_each_corpus_is_foretold_by_the_others() -> None:
    law = learn([run(name, seed) for seed, name in enumerate(("c", "english", "js", "python"))])
    assert [reference.name for reference in law.references] == ["c", "english", "js", "python"]
    assert max(abs(reference.error) for reference in law.references) < 0.04
    other = run("rust", 2)
    said = law.foretell(other.features)
    assert np.log(said.nats / other.nats.mean()) == pytest.approx(0, abs=0.03)
    assert set(law.without) == {"c", "english", "js", "python"}


def test_one_that_is_silent_taught_none_of_the_errors() -> None:
    runs = [run(name, seed) for seed, name in enumerate(("c", "english", "js", "python"))]
    law = learn(runs)
    assert law.pairs["js"][2] is None and None not in law.pairs["js"][:2]
    fewer = learn([one for one in runs if one.name != "js"])
    speaking = law.speaking("js")
    assert [one.foretold for one in speaking] == pytest.approx([one.foretold for one in fewer.references])
    assert law.foretell(runs[2].features, "js").nats == pytest.approx(fewer.foretell(runs[2].features).nats)


def test_a_corpus_that_is_unlike_the_others_shows_in_the_error() -> None:
    law = learn(
        [run(name, seed, 1.2 if name == "js" else 1.0) for seed, name in enumerate(("c", "english", "js", "py"))]
    )
    errors = {reference.name: reference.error for reference in law.references}
    assert errors["js"] > 0.12 and errors["js"] == max(errors.values())


def test_learning_is_the_same_twice() -> None:
    runs = [run(name, seed) for seed, name in enumerate(("c", "english", "js"))]
    assert learn(runs).to_dict() == learn(runs).to_dict()


def test_runs_that_do_not_go_together() -> None:
    with pytest.raises(UserError, match="2 different recipes"):
        learn([run("c", 0), run("english", 1), run("js", 2, recipe="other")])
    with pytest.raises(UserError, match="d and c are runs on the same sources"):
        learn([replace(run("c", 0), name="d"), run("english", 1), run("js", 2), run("c", 3)])
    with pytest.raises(UserError, match="cost nothing"):
        learn([run("c", 0), run("english", 1), run("js", 2, factor=0.0)])
    with pytest.raises(UserError, match=r"2 corpora are there \(c, english\)"):
        learn([run("c", 0), run("english", 1), run("c", 2)])
