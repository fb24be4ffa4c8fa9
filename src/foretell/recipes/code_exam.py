"""How often a trained model solves each of micro-code's problems: asked through the engine, graded by running."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from foretell.core.errors import InterruptedRunError
from foretell.core.files import content_hash, read_json, write_json
from foretell.core.progress import meter, say
from foretell.data.tokenizer import Tokenizer
from foretell.evals.asking import Asking, responses
from foretell.evals.cache import AnswerCache
from foretell.evals.local import LocalModel
from foretell.evals.models import Model
from foretell.infer.loading import LoadedModel
from foretell.laws.capability.passrate_table import CountedRun, Counts
from foretell.model.decoder import Decoder
from foretell.recipes.config import CodeConfig
from foretell.tasks.code.grading import Grader
from foretell.tasks.code.micro import micro_code
from foretell.train.config import RunSettings
from foretell.train.interrupt import stop_requested

NO_DATA = Path()  # the task makes its problems


class CodeExam:
    """One set of problems, asked of every rung and the target alike; a context manager that ends its sandbox.

    Args:
        config: how many, and how they are asked.
        tokenizer: of the run.
    """

    def __init__(self, config: CodeConfig, tokenizer: Tokenizer) -> None:
        self.config, self.tokenizer = config, tokenizer
        self._grader = Grader()
        self._task = micro_code(config.seed, config.problems, config.split, self._grader)
        self._data = self._task.load(NO_DATA)
        self._asking = Asking(
            shots=config.shots, samples=config.samples, temperature=config.temperature, seed=config.seed
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the sandbox; the next answer starts another."""
        self._grader.close()

    def ask(self, load: Callable[[RunSettings], Decoder], settings: RunSettings, record: Path) -> dict[str, Any]:
        """Ask one model, unless ``record`` says that it was; answers that were graded are not lost where it is stopped.

        Args:
            load: gives the model, which is used up; called where it has to be asked.
            settings: of the run that trained it.
            record: the JSON file to write.

        Returns:
            ``name``, ``seed``, ``width``, ``flops`` and ``config_hash`` of the run; ``samples`` a problem,
            ``problems`` by name, and for each its level in ``groups`` and right samples in ``correct``; what
            :func:`summary_of` gives; and ``prompts_cut``, how many lost their beginning to fit beside an answer.

        Raises:
            InterruptedRunError: on SIGTERM or Ctrl-C; the same call goes on.
            UserError: where programs cannot be run safely here.
        """
        asked = content_hash([settings.digest(), self.config.model_dump(mode="json")])
        if record.exists() and (found := dict(read_json(record)))["asked"] == asked:
            return found
        threads = torch.get_num_threads()  # the engine changes it
        try:
            correct = self._counts(load(settings), settings.label, asked, record.with_name("answers.sqlite"))
        finally:
            torch.set_num_threads(threads)
        found = {
            "name": settings.label, "seed": settings.seed, "width": settings.model.width, "flops": settings.flops,
            "config_hash": settings.digest(), "asked": asked, "benchmark": self._task.name,
            "version": self._task.version, "temperature": self.config.temperature, "shots": self.config.shots,
            **self._summary(correct), "prompts_cut": self._shortened(settings.model.context),
        }  # fmt: skip
        write_json(record, found)
        if found["prompts_cut"]:
            say(f"  {found['prompts_cut']} of {len(correct)} prompts do not fit into a context of "
                f"{settings.model.context} beside an answer and lost their beginning.", "yellow")  # fmt: skip
        for file in record.parent.glob("answers.sqlite*"):
            file.unlink()
        return found

    def _counts(self, decoder: Decoder, name: str, digest: str, answers: Path) -> list[int]:
        end = self.tokenizer.end_of_text_id
        loaded = LoadedModel(name, decoder, self.tokenizer, None, (end,), (end,), decoder.config.context)
        with AnswerCache(answers) as cache:
            return self.right_samples(LocalModel(loaded, digest, start=True), cache)

    def _shortened(self, context: int) -> int:
        """How many prompts lose their beginning, because they do not fit beside an answer."""
        room = context - self._task.tokens - 1  # the text begins with a token of its own
        prompts = [self._asking.prompt(self._task, self._data, item).content for item in self._data.items]
        return sum(len(self.tokenizer.encode(str(prompt))) > room for prompt in prompts)

    def right_samples(self, model: Model, cache: AnswerCache) -> list[int]:
        """How many of its samples solve each problem, in the problems' order.

        Raises:
            InterruptedRunError: on SIGTERM or Ctrl-C; ``cache`` has the answers.
        """
        items = self._data.items
        correct = [0] * len(items)
        with meter(f"asking {model.name}", len(items)) as shown:
            for place, response in responses(self._task, self._data, items, model, self._asking, cache):
                rate = self._task.grade(items[place], response).scores["pass@1"]
                correct[place] = round(rate * self.config.samples)
                shown.advance()
                if stop_requested():
                    raise InterruptedRunError(f"Interrupted while asking {model.name}; the same command goes on there.")
        return correct

    def _summary(self, correct: Sequence[int]) -> dict[str, Any]:
        items = self._data.items
        return {
            "samples": self.config.samples,
            "problems": [item.identity for item in items],
            "groups": [item.group for item in items],
            "correct": list(correct),
            **summary_of(correct, [item.group for item in items], self.config.samples),
        }


def require_sandbox() -> None:
    """See that programs can be isolated here.

    Raises:
        UserError: where they cannot.
    """
    grader = Grader(workers=1)
    try:
        grader.sandbox()
    finally:
        grader.close()


def summary_of(correct: Sequence[float], groups: Sequence[str], samples: int) -> dict[str, Any]:
    """Pass rate over all problems, its standard error over problems, and both by level in the levels' order."""
    rates = np.array(correct) / samples
    names = np.array(groups)
    levels = {group: {"problems": int((names == group).sum()), **_rate(rates[names == group])}
              for group in dict.fromkeys(groups)}  # fmt: skip
    return {**_rate(rates), "levels": levels}


def _rate(rates: NDArray[np.float64]) -> dict[str, float | None]:
    error = float(rates.std(ddof=1) / np.sqrt(len(rates))) if len(rates) > 1 else None
    return {"pass_rate": float(rates.mean()), "stderr": error}


def counts_of_sizes(answered: Sequence[Mapping[str, Any]]) -> Counts:
    """The counts of a ladder, one run a size: the samples of its seeds are added up.

    Args:
        answered: records of :meth:`CodeExam.ask`.
    """
    sizes: dict[float, list[Mapping[str, Any]]] = {}
    for record in answered:
        sizes.setdefault(record["width"], []).append(record)
    runs = [_pooled(f"width {width}", records) for width, records in sizes.items()]
    return Counts(answered[0]["benchmark"], tuple(sorted(runs, key=lambda run: run.flops)))


def counted_run(record: Mapping[str, Any]) -> CountedRun:
    """One model's counts."""
    return _pooled(record["name"], [record])


def _pooled(name: str, records: Sequence[Mapping[str, Any]]) -> CountedRun:
    problems = tuple(records[0]["problems"])
    samples = np.full(len(problems), float(sum(record["samples"] for record in records)))
    correct = np.sum([record["correct"] for record in records], axis=0).astype(float)
    return CountedRun(name, records[0]["flops"], problems, samples, correct)
