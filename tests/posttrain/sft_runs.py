"""A tiny base, conversations that it can learn, and plans of runs that take a second."""

import random
from pathlib import Path

from tokenizers import Tokenizer as Backend
from tokenizers import models

from chats import Encoded, LetterChat, chat, write
from foretell.data.tokenizer import Tokenizer
from foretell.infer.loading import LoadedModel
from foretell.model.config import ModelConfig
from foretell.model.decoder import Decoder, build_decoder
from foretell.model.lora import LoRAConfig
from foretell.posttrain.settings import SFTOptions
from foretell.posttrain.sft import Plan, plan_sft
from foretell.train.config import TrainingConfig

CONFIG = ModelConfig(vocab_size=128, width=32, depth=2, heads=4, kv_heads=2, head_dim=8, ffn_width=48, context=64)


def letters() -> Tokenizer:
    vocabulary = {chr(number) if number else "</s>": number for number in range(128)}
    return Tokenizer(Backend(models.WordLevel(vocabulary, unk_token="?")))


def tiny_base(_: SFTOptions | None = None, decoder: Decoder | None = None) -> LoadedModel:
    return loaded(decoder or build_decoder(CONFIG, 4).eval(), LetterChat())


def loaded(decoder: Decoder, template: LetterChat) -> LoadedModel:
    return LoadedModel("tiny", decoder, letters(), template, (0,), (), decoder.config.context)


def conversations(path: Path, count: int = 60) -> Path:
    """Answers that repeat the question's letter."""
    chance = random.Random(0)
    rows = []
    for _ in range(count):
        letter = chance.choice("abcd")
        rows.append(chat(letter * chance.randint(1, 12), letter * chance.randint(2, 9)))
    return write(path / "chats.jsonl", *rows)


def tiny_plan(folder: Path, load=tiny_base, training: dict | None = None, **options) -> Plan:
    values = {
        "data": str(conversations(folder)), "lora": LoRAConfig(rank=4, targets="all-linear"), "batch_tokens": 512,
        "learning_rate": 1e-2, "held_out": 0.1, "epochs": 4,
    }  # fmt: skip
    plan = plan_sft(SFTOptions.model_validate({**values, **options}), load)
    changed = plan.settings.training.model_copy(update={"checkpoints": 6, "micro_rows": 3, **(training or {})})
    settings = plan.settings.model_copy(update={"training": TrainingConfig.model_validate(changed.model_dump())})
    return Plan(settings, plan.base, plan.train, plan.heldout, plan.too_long, plan.rows)


WIDE = ModelConfig(vocab_size=128, width=16, depth=1, heads=2, kv_heads=1, head_dim=8, ffn_width=16, context=512)


class AsciiChat(LetterChat):
    """Letters that the tiny vocabulary has not are question marks."""

    def encode_for_training(self, messages: list[dict[str, str]]) -> Encoded:
        plain = [{**message, "content": "".join(letter if letter < "\x80" else "?" for letter in message["content"])}
                 for message in messages]  # fmt: skip
        return super().encode_for_training(plain)


def wide_base(_: SFTOptions) -> LoadedModel:
    """With a context for rows of 256 positions."""
    return loaded(build_decoder(WIDE, 4).eval(), AsciiChat())
