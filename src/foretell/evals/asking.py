"""A task's items put to a model: prompts with worked examples, options and samples, to responses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from foretell.core.errors import UserError
from foretell.evals.cache import AnswerCache, answered, key_of
from foretell.evals.models import Decoding, Model, Prompt
from foretell.infer.requests import Likelihood
from foretell.tasks.prompting import chat_prompt, choose_examples, text_prompt
from foretell.tasks.task import Item, Option, Response, Task, TaskData

SAMPLING_TEMPERATURE = 0.7  # of several samples, as Wang et al. (2022, self-consistency) draw them


@dataclass(frozen=True)
class Asking:
    """How items are asked.

    Attributes:
        shots: worked examples; the task's own number where ``None``.
        chat: put them as a chat, through the model's template.
        samples: generated answers of each item, 1 or more; the grader takes their majority.
        temperature: of them; 0 for one, else 0.7 where ``None``.
        seed: of worked examples and samples.
        limit: items of each group at most, the first ones; all where ``None``.
    """

    shots: int | None = None
    chat: bool = False
    samples: int = 1
    temperature: float | None = None
    seed: int = 0
    limit: int | None = None

    def __post_init__(self) -> None:
        """Refuse what is out of range.

        Raises:
            UserError: naming the option, its value and what is accepted.
        """
        for name, least in (("shots", 0), ("samples", 1), ("limit", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise UserError(f"--{name} is {value}; {least} or more is accepted.")
        Decoding(1, (), self._temperature, self.samples)

    @property
    def _temperature(self) -> float:
        if self.temperature is not None:
            return self.temperature
        return SAMPLING_TEMPERATURE if self.samples > 1 else 0.0

    def shots_of(self, task: Task) -> int:
        """Worked examples of a task."""
        return task.shots if self.shots is None else self.shots

    def decoding(self, task: Task) -> Decoding:
        """How its answers are generated."""
        stop = task.chat_stop if self.chat else task.stop
        return Decoding(task.tokens, stop, self._temperature, self.samples, self.seed)

    def chosen(self, items: Sequence[Item]) -> list[Item]:
        """The items that are asked, in their order."""
        left: dict[str, int] = {}
        found = []
        for item in items:
            left[item.group] = left.get(item.group, 0) + 1
            if self.limit is None or left[item.group] <= self.limit:
                found.append(item)
        return found

    def prompt(self, task: Task, data: TaskData, item: Item, option: Option | None = None) -> Prompt:
        """What a model reads of an item before its answer, or before one of its options.

        Raises:
            UserError: where there are not as many worked examples, or an item's images are wrong.
        """
        examples = choose_examples(task, data, item, self.shots_of(task), self.seed)
        put = chat_prompt if self.chat else text_prompt
        return Prompt.of(put(task, data, item, examples, option))


def responses(
    task: Task, data: TaskData, items: Sequence[Item], model: Model, asking: Asking, cache: AnswerCache
) -> Iterator[tuple[int, Response]]:
    """Responses with the places of their items, as they are known.

    Raises:
        UserError: as :meth:`Asking.prompt`, and where the model cannot be asked so.
    """
    ask = _choices if task.kind == "choice" else _texts
    yield from ask(task, data, items, model, asking, cache)


def _texts(
    task: Task, data: TaskData, items: Sequence[Item], model: Model, asking: Asking, cache: AnswerCache
) -> Iterator[tuple[int, Response]]:
    decoding = asking.decoding(task)
    drawn = [decoding.samples, decoding.seed] if decoding.temperature else []  # greedy answers know no seed
    settings = [decoding.tokens, list(decoding.stop), decoding.temperature, *drawn]

    def questions() -> Iterator[tuple[bytes, Prompt]]:
        for item in items:
            prompt = asking.prompt(task, data, item)
            yield key_of([model.digest, model.start, "texts", prompt.identity, settings]), prompt

    def ask(prompts: Iterable[Prompt]) -> Iterator[tuple[int, tuple[str, ...]]]:
        return model.generate(prompts, decoding)

    def to_json(texts: tuple[str, ...]) -> Any:
        return list(texts)

    def from_json(texts: Any) -> tuple[str, ...]:
        return tuple(map(str, texts))

    for place, texts in answered(questions(), ask, cache, to_json, from_json):
        yield place, Response(texts=texts)


def _choices(
    task: Task, data: TaskData, items: Sequence[Item], model: Model, asking: Asking, cache: AnswerCache
) -> Iterator[tuple[int, Response]]:
    where: list[tuple[int, int]] = []  # item and pair of each question
    missing: dict[int, dict[int, Likelihood]] = {}
    counts: dict[int, int] = {}

    def questions() -> Iterator[tuple[bytes, tuple[Prompt, str]]]:
        for place, item in enumerate(items):
            pairs = _pairs(task, data, item, asking)
            counts[place], missing[place] = len(pairs), {}
            for number, (prompt, continuation) in enumerate(pairs):
                where.append((place, number))
                key = key_of([model.digest, model.start, "likelihood", prompt.identity, continuation])
                yield key, (prompt, continuation)

    for question, likelihood in answered(questions(), model.likelihoods, cache, _to_json, _from_json):
        place, number = where[question]
        missing[place][number] = likelihood
        if len(missing[place]) == counts[place]:
            found = missing.pop(place)
            yield place, _response(items[place], [found[one] for one in range(counts[place])])


def _pairs(task: Task, data: TaskData, item: Item, asking: Asking) -> list[tuple[Prompt, str]]:
    """Each option after its prompt, then each after the bare one."""
    if not item.options:
        raise UserError(
            f"The item '{item.identity}' of {task.name} has no options; a task of the kind 'choice' needs them."
        )
    shared = asking.prompt(task, data, item)
    pairs = [
        (shared if option.prompt is None else asking.prompt(task, data, item, option), option.text)
        for option in item.options
    ]
    if item.bare is not None and not asking.chat:
        pairs += [(Prompt(item.bare), option.text) for option in item.options]
    return pairs


def _response(item: Item, found: Sequence[Likelihood]) -> Response:
    options, bare = found[: len(item.options)], found[len(item.options) :]
    return Response(
        tuple(one.value for one in options), tuple(one.greedy for one in options), tuple(one.value for one in bare)
    )


def _to_json(likelihood: Likelihood) -> Any:
    return [likelihood.value, likelihood.greedy]


def _from_json(value: Any) -> Likelihood:
    return Likelihood(*value)
