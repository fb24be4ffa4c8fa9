"""``/tokenize`` and ``/detokenize``, with the fields of vLLM's."""

from __future__ import annotations

from typing import Any

from foretell.infer.images import PreparedImage
from foretell.serve.bodies import DetokenizeBody, TokenizeBody
from foretell.serve.errors import bad_request
from foretell.serve.messages import template_messages
from foretell.serve.service import Service


def tokenize(service: Service, body: TokenizeBody, images: tuple[PreparedImage, ...] = ()) -> dict[str, Any]:
    """Ids of a prompt or of messages, which have these images.

    Raises:
        APIError: where both or neither are given, or they are malformed.
    """
    service.adapter(body.model)
    if (body.prompt is None) == (body.messages is None):
        raise bad_request("Either prompt or messages is expected, and not both.", "prompt")
    if body.messages is not None:
        messages = template_messages(body.messages, service.images is not None)
        ids = service.prompt(messages, images, body.tools, body.add_generation_prompt is not False)
    else:
        start = () if body.add_special_tokens is False else service.start_ids
        ids = [*start, *service.tokenizer.encode(body.prompt or "")]
    strings = [service.texts.text(token) for token in ids] if body.return_token_strs else None
    return {"count": len(ids), "max_model_len": service.context, "tokens": ids, "token_strs": strings}


def detokenize(service: Service, body: DetokenizeBody) -> dict[str, Any]:
    """The text of ids; special tokens are left out.

    Raises:
        APIError: for ids that are none of the model's.
    """
    service.adapter(body.model)
    wrong = next((token for token in body.tokens if token >= service.vocab_size), None)
    if wrong is not None:
        raise bad_request(f"tokens has {wrong}; ids from 0 to {service.vocab_size - 1} are accepted.", "tokens")
    return {"prompt": service.tokenizer.decode_bytes(body.tokens).decode(errors="replace")}
