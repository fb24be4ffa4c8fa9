"""A small decoder with weights that matter, and a byte-level tokenizer of its vocabulary."""

import copy
import functools
import shutil

import pytest
import torch

from foretell.data.tokenizer import Tokenizer
from foretell.infer.native.library import Kernels, kernels
from foretell.model.config import ModelConfig
from foretell.model.decoder import Decoder, build_decoder

VOCABULARY = 280


def config(**changes) -> ModelConfig:
    shape = {"vocab_size": VOCABULARY, "width": 32, "depth": 2, "heads": 4, "kv_heads": 2, "head_dim": 16,
             "ffn_width": 52, "context": 400}  # fmt: skip
    return ModelConfig(**{**shape, **changes})


@functools.cache
def _decoder(shape: ModelConfig) -> Decoder:
    model = build_decoder(shape, 1)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3 + (parameter.ndim == 1))
    return model.eval()


def decoder(**changes) -> Decoder:
    return copy.deepcopy(_decoder(config(**changes)))


@functools.cache
def tokenizer() -> Tokenizer:
    return Tokenizer.train(
        ["hello world, this is some text for a tokenizer, and then 123 some more of it "], VOCABULARY
    )


def built_kernels() -> Kernels:
    if not any(map(shutil.which, ("g++", "clang++"))):
        pytest.skip("no compiled kernels here: there is no C++ compiler")
    return kernels()
