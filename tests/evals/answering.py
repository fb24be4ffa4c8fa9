"""Small models that answer, and what the decoder itself says of a text."""

import sys
from pathlib import Path

import torch

sys.path.append(str(Path(__file__).parents[1] / "infer"))
import seeing_model
import small_model

from foretell.data.chat import ChatTemplate
from foretell.data.config import IMAGE_BREAK, IMAGE_END, IMAGE_TOKEN
from foretell.data.tokenizer import CHAT_TEMPLATE
from foretell.evals.local import LocalModel
from foretell.infer.engine import EngineOptions
from foretell.infer.loading import LoadedModel

OPTIONS = EngineOptions(memory=2**24, most=8)
START = 7


def loaded(context: int = 400, chat: bool = True) -> LoadedModel:
    tokenizer = small_model.tokenizer()
    template = ChatTemplate(CHAT_TEMPLATE, tokenizer) if chat else None
    ends = (tokenizer.end_of_text_id, tokenizer.special_token_id("<|im_end|>"))
    return LoadedModel("small", small_model.decoder(context=context), tokenizer, template, ends, (START,), context)


def seeing() -> LoadedModel:
    tokenizer = small_model.tokenizer()
    names = (IMAGE_TOKEN, IMAGE_BREAK, IMAGE_END)
    chat = ChatTemplate(CHAT_TEMPLATE, tokenizer, IMAGE_TOKEN)
    return LoadedModel("seer", seeing_model.decoder(), tokenizer, chat, (tokenizer.end_of_text_id,), (), 400, names)


def local(context: int = 400, *, start: bool = False, chat: bool = True, digest: str = "a") -> LocalModel:
    small_model.built_kernels()
    return LocalModel(loaded(context, chat), digest, start=start, options=OPTIONS)


@torch.inference_mode()
def reference(before: list[int], after: list[int], **inputs) -> tuple[float, bool]:
    decoder = seeing_model.decoder() if inputs else small_model.decoder()
    logits = decoder(torch.tensor([before + after]), **inputs)[0].double()
    shares = torch.log_softmax(logits[len(before) - 1 : -1], dim=1)
    wanted = torch.tensor(after)
    return float(shares.gather(1, wanted[:, None]).sum()), bool((shares.argmax(1) == wanted).all())
