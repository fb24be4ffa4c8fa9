"""A decoder as the metadata and tensors of a GGUF file that llama.cpp runs.

Names come from the ``gguf`` package's map of Hugging Face's names; muP's multipliers are folded in on the way there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from foretell.core.errors import UserError
from foretell.core.gguf import GgufTensor, gguf_package
from foretell.model.assemble import neighbour_rows, reordered
from foretell.model.config import ModelConfig
from foretell.model.decoder import Decoder
from foretell.model.gguf_read import ROTARY_FACTORS
from foretell.model.hf import state_to_hf
from foretell.model.hf_config import model_type_of
from foretell.model.primitives import rotary_factors, rotary_frequencies

# What --type takes, and llama.cpp's number of such a file (llama_ftype).
FILE_TYPES = {"f32": 0, "f16": 1, "bf16": 32, "q8_0": 7, "q4_0": 2, "q4_1": 3}
BLOCK = 32  # inputs that share a scale in the quantised types
TABLES = ("token_embd.weight", "output.weight")  # which decide the output most; 8 bits where the others have 4
QUANTISATION_VERSION = 2


def architecture_of(config: ModelConfig) -> str:
    """llama.cpp's name of what this shape is.

    Raises:
        UserError: for options that llama.cpp does not compute in that architecture.
    """
    if config.vision is not None:
        raise UserError("The model has a vision half, which a GGUF file does not hold; it can leave as a directory.")
    kind = model_type_of(config)
    if config.window is not None and config.window < config.context:
        raise UserError(
            f"window is {config.window}, and llama.cpp gives such a model none; with a context of {config.window} or "
            "less (--context) the window makes no difference and the model can leave as GGUF."
        )
    if config.qk_norm and (config.qkv_bias or config.output_bias):
        raise UserError("qk_norm and attention biases are both on, which llama.cpp's qwen3 does not compute.")
    return "llama" if kind == "mistral" else kind


def gguf_metadata(config: ModelConfig, file_type: str) -> dict[str, Any]:
    """The keys of a GGUF file that describe this shape.

    Raises:
        UserError: see :func:`architecture_of`.
    """
    architecture = architecture_of(config)
    shape: dict[str, Any] = {
        "vocab_size": config.vocab_size,
        "context_length": config.context,
        "embedding_length": config.width,
        "block_count": config.depth,
        "feed_forward_length": config.ffn_width,
        "attention.head_count": config.heads,
        "attention.head_count_kv": config.kv_heads,
        "attention.key_length": config.head_dim,
        "attention.value_length": config.head_dim,
        "attention.layer_norm_rms_epsilon": float(config.norm_eps),
        "rope.freq_base": float(config.rope_theta),
        "rope.dimension_count": config.head_dim,
    }
    if config.rotary_scaling is not None and config.rotary_scaling.kind == "linear":
        shape |= {"rope.scaling.type": "linear", "rope.scaling.factor": float(config.rotary_scaling.factor)}
    general = {
        "general.type": "model",
        "general.file_type": FILE_TYPES[file_type],
        "general.quantization_version": QUANTISATION_VERSION,
    }
    return general | {f"{architecture}.{key}": value for key, value in shape.items()}


def gguf_tensors(model: Decoder, file_type: str) -> dict[str, GgufTensor]:
    """The weights under llama.cpp's names, in its order of rows and in the type asked for.

    Vectors are float32 in any case; a matrix whose inputs blocks of 32 do not divide is float16 in place of a quantised
    type; the embedding and the head are Q8_0 in files of 4 bits.

    Raises:
        UserError: where a weight is not finite in that type.
    """
    gguf = gguf_package()
    config = model.config
    architecture = architecture_of(config)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[architecture.upper()], config.depth)
    state = state_to_hf(model)
    if config.rotary_scaling is not None and config.rotary_scaling.kind == "llama3":
        frequencies = rotary_frequencies(config.head_dim, config.rope_theta)
        state[ROTARY_FACTORS] = rotary_factors(frequencies, config.rotary_scaling).float()
    found: dict[str, GgufTensor] = {}
    for theirs, tensor in state.items():
        name = theirs if theirs == ROTARY_FACTORS else names.get_name(theirs, try_suffixes=(".weight", ".bias"))
        for part, heads in (("attn_q.", config.heads), ("attn_k.", config.kv_heads)):
            if architecture == "llama" and part in name:
                tensor = _neighbours(tensor, heads, config.head_dim, name)
        found[name] = _stored(name, tensor, file_type)
    return found


def _neighbours(tensor: Tensor, heads: int, head_dim: int, name: str) -> Tensor:
    ordered = reordered(tensor, neighbour_rows(heads, head_dim), name)
    assert isinstance(ordered, Tensor)
    return ordered


def _stored(name: str, tensor: Tensor, file_type: str) -> GgufTensor:
    gguf = gguf_package()
    kind = file_type.upper()
    if tensor.ndim == 1:
        kind = "F32"
    elif kind.startswith("Q") and tensor.shape[1] % BLOCK:
        kind = "F16"
    elif kind.startswith("Q4") and name in TABLES:
        kind = "Q8_0"
    values = tensor.float().contiguous().numpy()
    # A scale of a quantised block is float16 as well; the steps of 8 and 4 bits make it smaller than what it scales.
    largest = np.finfo(np.float16).max if kind == "F16" else np.finfo(np.float32).max
    if not (np.abs(values) <= largest).all():
        raise UserError(f"The tensor {name} holds values that {kind} cannot; --type f32 is accepted for finite ones.")
    return GgufTensor(name, kind, tuple(tensor.shape), gguf.quantize(values, gguf.GGMLQuantizationType[kind]))
