"""Prompts and continuations as ids, as lm-evaluation-harness encodes them (its ``TemplateLM._encode_pair``)."""

from __future__ import annotations

from collections.abc import Sequence

from foretell.core.errors import UserError
from foretell.core.wording import plural
from foretell.data.tokenizer import Tokenizer
from foretell.evals.models import Prompt
from foretell.infer.images import PreparedImage
from foretell.infer.loading import LoadedModel
from foretell.tasks.prompting import IMAGE


def encode_pair(tokenizer: Tokenizer, context: str, continuation: str) -> tuple[list[int], list[int]]:
    """Ids of a context and of what continues it.

    Spaces at the end of the context belong to the continuation; both are encoded together, and what comes after as many
    tokens as the context has alone is the continuation. An empty context is the end-of-text token.

    Raises:
        UserError: for a continuation without a token.
    """
    bare = context.rstrip()
    context, continuation = bare, context[len(bare) :] + continuation
    if not context:
        before, after = [tokenizer.end_of_text_id], tokenizer.encode(continuation)
    else:
        before = tokenizer.encode(context)
        after = tokenizer.encode(context + continuation)[len(before) :]
    if not after:
        raise UserError(f"The continuation {continuation!r} has no token of its own; a text is expected.")
    return before, after


class PromptEncoder:
    """Prompts to ids for one model.

    Args:
        model: whose tokenizer, chat template and images they are for.
        start: begin texts with the model's start tokens.
    """

    def __init__(self, model: LoadedModel, start: bool) -> None:
        self._model, self._reader = model, model.images
        self._start = list(model.start_ids) if start else []

    def images(self, prompt: Prompt) -> tuple[PreparedImage, ...]:
        """Its images as the model reads them.

        Raises:
            UserError: where it reads none, or the content has not as many places for them.
        """
        if not prompt.images:
            return ()
        count = plural(len(prompt.images), "image")
        if self._reader is None:
            raise UserError(f"{self._model.name} reads text alone, and the prompt has {count}.")
        if isinstance(prompt.content, str) and prompt.content.count(IMAGE) != len(prompt.images):
            raise UserError(f"The prompt has {count} and {plural(prompt.content.count(IMAGE), 'place')} '{IMAGE}'.")
        return tuple(self._reader.prepared(image) for image in prompt.pictures)

    def prompt(self, prompt: Prompt, images: Sequence[PreparedImage]) -> list[int]:
        """Ids of a prompt, the runs of its images within."""
        if not isinstance(prompt.content, str):
            return self._chat(prompt, images)
        ids = self._start + self._text(prompt.content, images)
        return ids or [self._model.tokenizer.end_of_text_id]

    def pair(self, prompt: Prompt, continuation: str, images: Sequence[PreparedImage]) -> tuple[list[int], list[int]]:
        """Ids of a prompt and of what continues it.

        After a chat's opening of the answer a continuation has no leading space.
        """
        tokenizer = self._model.tokenizer
        if prompt.is_chat:
            after = tokenizer.encode(continuation.lstrip())
            if not after:
                raise UserError(f"The continuation {continuation!r} has no token of its own; a text is expected.")
            return self.prompt(prompt, images), after
        assert isinstance(prompt.content, str)
        if images:
            head, mark, tail = prompt.content.rpartition(IMAGE)
            if tail.strip():
                before, after = encode_pair(tokenizer, tail, continuation)
            else:  # the image is what stands before it, so there is no empty context to replace
                before, after = [], tokenizer.encode(tail + continuation)
            return self._start + self._text(head + mark, images) + before, after
        before, after = encode_pair(tokenizer, prompt.content, continuation)
        bare = prompt.content.strip() == "" and self._start
        return (self._start if bare else self._start + before), after

    def _text(self, text: str, images: Sequence[PreparedImage]) -> list[int]:
        tokenizer, reader = self._model.tokenizer, self._reader
        if not images:
            return tokenizer.encode(text)
        assert reader is not None
        ids: list[int] = []
        for number, piece in enumerate(text.split(IMAGE)):
            ids += [reader.tokens.image] if number else []
            ids += tokenizer.encode(piece) if piece else []
        return reader.expanded(ids, images)

    def _chat(self, prompt: Prompt, images: Sequence[PreparedImage]) -> list[int]:
        chat = self._model.chat
        if chat is None:
            raise UserError(f"{self._model.name} has no chat template; leave the chat out.")
        assert not isinstance(prompt.content, str)
        ids = chat.encode(prompt.content, add_generation_prompt=True)
        return self._reader.expanded(ids, images) if self._reader is not None and images else ids
