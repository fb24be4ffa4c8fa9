"""A model run here, through the engine that serves it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from foretell.core.errors import UserError
from foretell.evals.models import Decoding, Prompt
from foretell.evals.pairs import PromptEncoder
from foretell.infer.engine import Engine, EngineOptions
from foretell.infer.loading import LoadedModel, load_model, model_digest
from foretell.infer.requests import Completion, Likelihood, Request, Update, completed
from foretell.infer.sampling import Sampling

AT_ONCE = 64  # requests that run side by side
QUEUE = 2 * AT_ONCE


class LocalModel:
    """A :class:`foretell.evals.models.Model` of a directory, a GGUF file, the embedded one or a hub name.

    Args:
        loaded: the model; its decoder is used up.
        digest: of its files.
        start: begin texts with the model's start tokens; lm-evaluation-harness leaves them out unless told so.
        options: of the engine.
    """

    digest_of = "weights"

    def __init__(
        self, loaded: LoadedModel, digest: str, *, start: bool = False, options: EngineOptions | None = None
    ) -> None:
        self.name, self.digest, self.start, self.cut = loaded.name, digest, start, 0
        self._ends = frozenset(loaded.end_of_turn_ids)
        self._encoder = PromptEncoder(loaded, start)
        self._engine = Engine(loaded.decoder, loaded.tokenizer, options or EngineOptions(most=AT_ONCE))

    @classmethod
    def load(cls, source: str, *, start: bool = False, options: EngineOptions | None = None) -> LocalModel:
        """By its one name (:func:`foretell.infer.loading.load_model`).

        Raises:
            UserError: where there is no such model, or it cannot be read.
        """
        return cls(load_model(source), model_digest(source), start=start, options=options)

    def forget(self) -> None:
        """Empty the engine's cache of what it has read."""
        self._engine.reset()

    def likelihoods(self, pairs: Iterable[tuple[Prompt, str]]) -> Iterator[tuple[int, Likelihood]]:
        """See :meth:`foretell.evals.models.Model.likelihoods`; pairs of one prompt that follow each other share it."""
        places: list[list[int]] = []
        for number, answer in self._answers(self._scored(pairs, places)):
            yield from zip(places[number], answer.likelihoods, strict=True)

    def generate(self, prompts: Iterable[Prompt], decoding: Decoding) -> Iterator[tuple[int, tuple[str, ...]]]:
        """See :meth:`foretell.evals.models.Model.generate`."""
        requests = (request for prompt in prompts for request in self._samples(prompt, decoding))
        texts: dict[int, dict[int, str]] = {}
        for number, answer in self._answers(requests):
            place, sample = divmod(number, decoding.samples)
            found = texts.setdefault(place, {})
            found[sample] = answer.text
            if len(found) == decoding.samples:
                yield place, tuple(found[one] for one in range(decoding.samples))

    def _scored(self, pairs: Iterable[tuple[Prompt, str]], places: list[list[int]]) -> Iterator[Request]:
        """A request for each prompt with all its continuations, whose places are put into ``places``."""
        numbered = enumerate(pairs)
        for prompt, group in itertools.groupby(numbered, key=lambda pair: pair[1][0]):
            images = self._encoder.images(prompt)
            by_context: dict[tuple[int, ...], list[tuple[int, tuple[int, ...]]]] = {}
            for place, (_, continuation) in group:
                before, after = self._encoder.pair(prompt, continuation, images)
                room = self._engine.context + 1 - len(after)  # the last token is not read
                if len(before) > room:
                    before = self._shortened(before, room, prompt)
                by_context.setdefault(tuple(before), []).append((place, tuple(after)))
            for ids, found in by_context.items():
                places.append([place for place, _ in found])
                yield Request(ids, 0, images=images, continuations=tuple(after for _, after in found))

    def _samples(self, prompt: Prompt, decoding: Decoding) -> list[Request]:
        images = self._encoder.images(prompt)
        ids = self._encoder.prompt(prompt, images)
        room = self._engine.context - decoding.tokens
        if len(ids) > room:
            ids = self._shortened(ids, room, prompt)
        return [
            Request(
                tuple(ids), decoding.tokens,
                Sampling(temperature=decoding.temperature, seed=decoding.sample_seed(prompt, sample)),
                decoding.stop, self._ends, images=images,
            )
            for sample in range(decoding.samples)
        ]  # fmt: skip

    def _shortened(self, ids: list[int], room: int, prompt: Prompt) -> list[int]:
        """The end of a prompt, as much as fits."""
        if room < 1 or prompt.images:
            raise UserError(
                f"A prompt has {len(ids)} tokens{' with its images' if prompt.images else ''}, and there is room for "
                f"{max(0, room)} beside its answer in the model's context of {self._engine.context}."
            )
        self.cut += 1
        return ids[-room:]

    def _answers(self, requests: Iterable[Request]) -> Iterator[tuple[int, Completion]]:
        """Whole answers as they are done, each with its request's place; a few are in the queue at a time."""
        engine = self._engine
        waiting = enumerate(requests)
        numbers: dict[int, int] = {}
        updates: dict[int, list[Update]] = {}
        try:
            while True:
                for place, request in itertools.islice(waiting, QUEUE - len(numbers)):
                    number = engine.submit(request)
                    numbers[number], updates[number] = place, []
                if not numbers:
                    return
                for number, update in engine.step():
                    updates[number].append(update)
                    if update.finish is not None:
                        yield numbers.pop(number), completed(updates.pop(number))
        finally:
            if numbers:  # whoever asked has gone
                engine.reset()
