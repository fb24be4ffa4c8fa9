"""Autoregressive generation through the decoder's own attention and cache."""

from __future__ import annotations

import codecs
from collections.abc import Collection, Iterator, Sequence

import torch
from torch import Tensor

from foretell.core.errors import UserError
from foretell.data.tokenizer import Tokenizer
from foretell.model.decoder import Decoder, KeyValueCache


def sample(logits: Tensor, temperature: float, top_p: float, generator: torch.Generator) -> int:
    """One token id from [V] logits: greedy at temperature 0, else nucleus sampling (Holtzman et al. 2020)."""
    if temperature == 0:
        return int(logits.argmax())
    probabilities, order = torch.softmax(logits.double() / temperature, dim=-1).sort(descending=True)
    # A token stays if the mass before it is below top_p; the first always does.
    probabilities[probabilities.cumsum(0) - probabilities >= top_p] = 0.0
    return int(order[torch.multinomial(probabilities, 1, generator=generator)])


@torch.no_grad()
def generate_ids(
    model: Decoder,
    prompt: list[int],
    *,
    tokens: int,
    temperature: float = 0.8,
    top_p: float = 0.95,
    seed: int = 0,
    stops: Collection[int] = (),
) -> Iterator[int]:
    """Yield up to ``tokens`` new ids after ``prompt``, ending before one of ``stops``.

    The window is the model's context; when it is full, the last half of the text is read again and generation goes on.

    Raises:
        UserError: for an empty prompt or settings outside their range.
    """
    if not prompt:
        raise UserError("The prompt is empty; at least one token is needed.")
    if temperature < 0 or not 0 < top_p <= 1 or tokens < 1:
        raise UserError(
            f"temperature is {temperature:g} (0 or more is accepted), top_p {top_p:g} (above 0, up to 1) and tokens "
            f"{tokens} (1 or more): one of them is out of range."
        )
    generator = torch.Generator().manual_seed(seed)
    device = model.embedding.weight.device
    text = list(prompt)
    unread = text[-(model.config.context - 1) :]
    # Room for what will be read; a model's whole context may be many gigabytes.
    room = model.config.model_copy(update={"context": min(model.config.context, len(text) + tokens)})
    cache = KeyValueCache.empty(room, 1, device, model.embedding.weight.dtype)
    for _ in range(tokens):
        if cache.length + len(unread) > model.config.context:
            unread = text[-(model.config.context // 2) :]
            cache.length = 0
        logits = model(torch.tensor([unread], device=device), cache)[0, -1].cpu()
        token = sample(logits, temperature, top_p, generator)
        if token in stops:
            return
        text.append(token)
        unread = [token]
        yield token


def generate_text(
    model: Decoder,
    tokenizer: Tokenizer,
    prompt: str,
    *,
    tokens: int,
    temperature: float = 0.8,
    top_p: float = 0.95,
    seed: int = 0,
    start_ids: Sequence[int] | None = None,
    stops: Collection[int] | None = None,
) -> Iterator[str]:
    """Stream the continuation of ``prompt`` as text; bytes of a character that is not complete yet are held back.

    ``start_ids`` precede the prompt and ``stops`` end the text, each the end-of-text token where left out. The rest is
    as in :func:`generate_ids`.
    """
    end = (tokenizer.end_of_text_id,)
    ids = [*(end if start_ids is None else start_ids), *tokenizer.encode(prompt)]
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    stops = end if stops is None else stops
    for token in generate_ids(model, ids, tokens=tokens, temperature=temperature, top_p=top_p, seed=seed, stops=stops):
        piece = decoder.decode(tokenizer.decode_bytes([token]))
        if piece:
            yield piece
    rest = decoder.decode(b"", final=True)
    if rest:
        yield rest
