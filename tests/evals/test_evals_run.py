"""Evaluations from items to records: what is asked, once and again; what is written; what is refused."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from answering import local, reference, small_model
from made_tasks import WORDS, choice_items, choices, own_prompts, texts

from foretell.core.errors import UserError
from foretell.evals.asking import Asking
from foretell.evals.cache import AnswerCache
from foretell.evals.local import LocalModel
from foretell.evals.pairs import encode_pair
from foretell.evals.records import read_items, read_results, write_records
from foretell.evals.run import evaluate
from foretell.tasks.task import TaskData

TOKENIZER = small_model.tokenizer()
NOWHERE = Path()


class Counting:
    """A model that counts what it is asked, and may be interrupted after some answers."""

    def __init__(self, model: LocalModel, most: int | None = None) -> None:
        self.model, self.most, self.asked = model, most, 0
        self.name, self.digest, self.digest_of, self.start = model.name, model.digest, model.digest_of, model.start
        self.cut = 0

    def _counted(self, questions):
        for question in questions:
            self.asked += 1
            yield question

    def _given(self, answers):
        for number, answer in enumerate(answers):
            if number == self.most:
                raise KeyboardInterrupt
            yield answer

    def likelihoods(self, pairs):
        return self._given(self.model.likelihoods(self._counted(pairs)))

    def generate(self, prompts, decoding):
        return self._given(self.model.generate(self._counted(prompts), decoding))


def run(tasks, model=None, cache: Path | None = None, out: Path | None = None, **asking):
    with AnswerCache(cache) as answers:
        return evaluate(tasks, model or local(), NOWHERE, Asking(**asking), answers, out)


def test_choices_are_scored_as_the_decoder_scores_them() -> None:
    (found,) = run([choices()])
    for row, item in zip(found.items, choice_items(), strict=True):
        for option, value, bare in zip(item.options, row.loglikelihoods, row.unconditional, strict=True):
            before, after = encode_pair(TOKENIZER, "Go on.\n\n" + item.prompt, option.text)
            assert value == pytest.approx(reference(before, after)[0], abs=1e-3)
            alone = reference(*encode_pair(TOKENIZER, "Answer:", option.text))[0]
            assert bare == pytest.approx(alone, abs=1e-3)
        chosen = int(np.argmax(row.loglikelihoods))
        assert row.correct == (chosen in item.gold) and row.answer == item.options[chosen].text.strip()
    values = [row.score for row in found.items]
    result = found.result
    assert result["value"] == pytest.approx(np.mean(values)) and result["n"] == 10
    assert result["stderr"] == pytest.approx(np.std(values, ddof=1) / math.sqrt(10))
    assert set(result["metrics"]) == {"acc", "acc_norm", "acc_unconditional"} and set(result["groups"]) == {
        "even",
        "odd",
    }
    assert result["prompt"] == "Go on.\n\nsome and 0:" and result["options"] == [
        " some",
        " text",
        " it is some text for",
    ]
    assert (result["model"], result["model_hash"], result["version"], result["shots"]) == ("small", "a", 1, 0)


def test_options_with_prompts_of_their_own() -> None:
    (found,) = run([own_prompts()])
    for row, word in zip(found.items, WORDS[:4], strict=True):
        expected = [reference(*encode_pair(TOKENIZER, f"{one} {word}", " then some"))[0] for one in ("hello", "more")]
        assert row.loglikelihoods == pytest.approx(expected, abs=1e-3)


def test_worked_examples_come_first_and_by_the_seed() -> None:
    prompts = [run([choices()], shots=2, seed=seed)[0].result["prompt"] for seed in (0, 0, 1)]
    assert prompts[0] == prompts[1] != prompts[2]
    assert prompts[0].startswith("Go on.\n\n") and prompts[0].endswith("\nsome and 0:")
    assert len(prompts[0].removeprefix("Go on.\n\n").splitlines()) == 3
    chat = run([choices()], shots=2, chat=True)[0].result["prompt"]
    assert [message["role"] for message in chat] == ["user", "assistant"] * 2 + ["user"]
    assert chat[0]["content"].startswith("Go on.\n\n")


def test_a_limit_is_of_each_group() -> None:
    (found,) = run([choices()], limit=2)
    assert [row.item for row in found.items] == ["0", "1", "2", "3"] and found.result["limit"] == 2


def test_groups_may_count_alike() -> None:
    uneven = [item for number, item in enumerate(choice_items()) if number % 2 == 0 or number < 4]
    (found,) = run([choices(average="groups", load=lambda _: TaskData(uneven))])
    means = [np.mean([row.score for row in found.items if row.group == group]) for group in ("even", "odd")]
    assert found.result["value"] == pytest.approx(np.mean(means))


def test_samples_are_voted_on(tmp_path: Path) -> None:
    (found,) = run([texts()], samples=5, seed=3, out=tmp_path)
    assert all(len(row.texts) == 5 for row in found.items)
    assert set(found.result["metrics"]) == {"exact", "exact_mean"}
    assert (found.result["samples"], found.result["temperature"], found.result["tokens"]) == (5, 0.7, 6)
    assert run([texts()], samples=5, seed=3)[0].items == found.items
    assert run([texts()], samples=5, seed=4)[0].items != found.items
    for row in found.items:
        starts = [text[:3] for text in row.texts]
        assert starts.count(row.answer) == max(map(starts.count, starts))


def test_nothing_is_asked_twice(tmp_path: Path) -> None:
    cache = tmp_path / "answers.sqlite"
    first = Counting(local())
    once = run([choices(), texts()], first, cache)
    # three options each after its prompt; after the bare one each different text once
    different = 30 + len({option.text for item in choice_items() for option in item.options})
    assert first.asked == different + 10
    again = Counting(local())
    assert [one.items for one in run([choices(), texts()], again, cache)] == [one.items for one in once]
    assert again.asked == 0
    other = Counting(local(digest="b"))
    run([choices()], other, cache)
    assert other.asked == different
    begun = Counting(local(start=True))
    run([choices()], begun, cache)
    assert begun.asked == other.asked
    shot = Counting(local())
    run([texts(tokens=7)], shot, cache)
    assert shot.asked == 10


def test_an_interrupted_evaluation_goes_on(tmp_path: Path) -> None:
    cache = tmp_path / "answers.sqlite"
    with pytest.raises(KeyboardInterrupt):
        run([choices()], Counting(local(), most=13), cache, tmp_path / "out")
    rest = Counting(local())
    (found,) = run([choices()], rest, cache, tmp_path / "out")
    assert rest.asked == 41 - 13
    assert found.items == run([choices()])[0].items


def test_records_are_what_was_found_and_grow(tmp_path: Path) -> None:
    (first,) = run([choices()], out=tmp_path)
    (second,) = run([texts()], out=tmp_path)
    assert read_results(tmp_path) == json.loads(json.dumps({"choices": first.result, "texts": second.result}))
    assert read_items(tmp_path) == [*first.items, *second.items]
    (again,) = run([choices()], out=tmp_path, limit=1)
    assert {row.task: 0 for row in read_items(tmp_path)} == {"texts": 0, "choices": 0}
    assert [row for row in read_items(tmp_path) if row.task == "choices"] == list(again.items)


def test_what_is_wrong_is_said_before_anything_is_asked(tmp_path: Path) -> None:
    model = Counting(local())
    empty = choices(name="empty", load=lambda _: TaskData([]), files="one file")
    for task, asking, said in [
        (empty, {}, "empty has no items in .; one file is expected"),
        (texts(), {"shots": 1}, "0 worked examples"),
    ]:
        with pytest.raises(UserError, match=said):
            run([choices(), task], model, out=tmp_path / "out", **asking)
    assert model.asked == 0
    for asking, said in [({"shots": -1}, "--shots is -1"), ({"limit": 0}, "--limit is 0"),
                         ({"samples": 0}, "--samples is 0"), ({"temperature": 5.0}, "temperature is 5"),
                         ({"samples": 3, "temperature": 0.0}, "all samples are the same")]:  # fmt: skip
        with pytest.raises(UserError, match=said):
            Asking(**asking)
    with pytest.raises(UserError, match="small has no chat template"):
        run([texts()], local(chat=False), chat=True)
    no_options = choices(load=lambda _: texts().load(NOWHERE))
    with pytest.raises(UserError, match="has no options"):
        run([no_options])


def test_damaged_records_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no results\.json"):
        read_results(tmp_path)
    (found,) = run([choices()], out=tmp_path)
    (tmp_path / "items.parquet").write_bytes(b"PAR1 and nothing more")
    with pytest.raises(UserError, match="is no table of items"):
        read_items(tmp_path)
    with pytest.raises(UserError, match="is no table of items"):
        write_records(tmp_path, {"more": found.result}, [])
    (tmp_path / "results.json").write_text('{"choices": {"metric": "acc", "value": 1, "n": 3}}')
    with pytest.raises(UserError, match="choices has no version"):
        read_results(tmp_path)
    (tmp_path / "results.json").write_text("[]")
    with pytest.raises(UserError, match="holds a list"):
        read_results(tmp_path)


def test_a_cache_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "not.sqlite").write_text("this is a text of some length, and no database at all" * 20)
    with pytest.raises(UserError, match="another file by --cache"):
        AnswerCache(tmp_path / "not.sqlite")
    with (
        AnswerCache(tmp_path / "new" / "answers.sqlite") as cache,
        AnswerCache(tmp_path / "new" / "answers.sqlite") as two,
    ):
        cache.put(b"x", [1.5, True])
        assert two.get(b"x") == [1.5, True] and two.get(b"y") is None
        two.put(b"y", "at once")  # nothing is locked between answers
        assert cache.get(b"y") == "at once"


def test_what_cannot_be_graded_is_refused_before_anything_is_asked() -> None:
    def prepare() -> None:
        raise UserError("programs cannot be isolated here")

    model = Counting(local())
    with pytest.raises(UserError, match="cannot be isolated"):
        run([choices(), replace(choices(), name="programs", prepare=prepare)], model)
    assert model.asked == 0
