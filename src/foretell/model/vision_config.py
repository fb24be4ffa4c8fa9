"""The vision half's shape; its parameters and FLOPs are counted from it.

Letters: P patches of an image or row, C values of a patch; of the encoder's own, not the decoder's: W width, H heads,
E head dimension, F feed-forward width. D is the decoder's width.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from foretell.core.config import Settings
from foretell.core.pixels import PIXEL_DEVIATION, PIXEL_MEAN

CHANNELS = 3  # red, green, blue


class ForeignEncoder(Settings):
    """An encoder that transformers runs: CLIP's (Radford et al. 2021) or SigLIP's (Zhai et al. 2023, arXiv 2303.15343).

    It reads images of one size, a square of ``longest`` pixels a side, all patches of them.
    """

    kind: Literal["clip_vision_model", "siglip_vision_model"]
    options: dict[str, Any]
    """Its ``vision_config`` in transformers."""
    layers: tuple[int, ...] = Field(min_length=1)
    """Whose outputs, side by side, are a patch's feature; 0 is what the first layer reads, -1 the last one's output."""
    mean: tuple[float, float, float] = PIXEL_MEAN
    deviation: tuple[float, float, float] = PIXEL_DEVIATION
    """What pixels are normalised by; see :mod:`foretell.core.pixels`."""
    crop: bool = False
    """Whether an image covers the square, of which its middle is read; else it is stretched to it."""


class VisionConfig(Settings):
    """Shape of an image encoder of Pixtral's kind, and of the projector into the decoder's width.

    Images of any size are cut into square patches; a linear layer embeds each, and blocks of full attention with axial
    rotary positions (a patch's row and column), RMSNorm and SwiGLU follow (Agrawal et al. 2024, *Pixtral 12B*, arXiv
    2410.07073). Every feature of the last layer goes through a projector of two layers with a GELU in between (Liu et
    al. 2023, *LLaVA-1.5*, arXiv 2310.03744) and takes the place of an image token's embedding. transformers has it as
    ``LlavaForConditionalGeneration`` with a ``PixtralVisionModel``.
    """

    patch: int = Field(ge=1)
    """Pixels of a patch's side."""
    width: int = Field(ge=4)
    depth: int = Field(ge=1)
    heads: int = Field(ge=1)
    head_dim: int = Field(ge=4, multiple_of=4)
    """Half of it is rotated by a patch's row, half by its column."""
    ffn_width: int = Field(ge=1)
    longest: int = Field(ge=1)
    """Pixels of an image's longer edge at most; larger images are made smaller before they are cut."""
    rope_theta: float = Field(default=10_000.0, gt=0)
    norm_eps: float = Field(default=1e-5, gt=0)
    base_width: int | None = Field(default=None, ge=1)
    """Maximal update parametrization of the encoder relative to this width."""
    image_token: int = Field(ge=0)
    """Id in the vocabulary of the token in whose place a patch's feature stands."""
    projector_bias: bool = True
    foreign: ForeignEncoder | None = None
    """An encoder of another kind, of these sizes, in the place of Pixtral's."""

    @model_validator(mode="after")
    def _heads_fill_width(self) -> Self:
        if self.heads * self.head_dim != self.width:
            raise ValueError(f"heads x head_dim must be width; {self.heads} x {self.head_dim} is not {self.width}")
        if self.longest < self.patch:
            raise ValueError(f"longest must be a patch or more; {self.longest} is less than {self.patch}")
        return self

    @model_serializer(mode="wrap")
    def _without_idle_options(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        return values if self.foreign else {name: value for name, value in values.items() if name != "foreign"}

    @property
    def patch_values(self) -> int:
        """C: values of a patch, in the order channel, row, column."""
        return CHANNELS * self.patch**2


def count_vision_parameters(vision: VisionConfig, width: int) -> int:
    """Parameters of encoder and projector before a decoder of ``width`` D."""
    block = 4 * vision.width**2 + 3 * vision.width * vision.ffn_width + 2 * vision.width
    encoder = vision.patch_values * vision.width + vision.width + vision.depth * block
    layers = 1
    if vision.foreign is not None:
        encoder, layers = _count_foreign(vision, vision.foreign), len(vision.foreign.layers)
    projector = layers * vision.width * width + width**2 + (2 * width if vision.projector_bias else 0)
    return encoder + projector


def _count_foreign(vision: VisionConfig, foreign: ForeignEncoder) -> int:
    """With LayerNorms, biases and learned positions; CLIP has a class token, SigLIP a head that is not used."""
    width, norm = vision.width, 2 * vision.width
    mixing, feed_forward = 4 * (width**2 + width), (2 * width + 1) * vision.ffn_width + width
    positions = (vision.longest // vision.patch) ** 2
    encoder = vision.patch_values * width + vision.depth * (mixing + feed_forward + 2 * norm) + norm
    if foreign.kind == "clip_vision_model":
        return encoder + width + (positions + 1) * width + norm
    head = width + mixing + feed_forward + norm if foreign.options.get("vision_use_head", True) else 0
    return encoder + width + positions * width + head


def vision_flops(vision: VisionConfig, patches: int, width: int) -> float:
    """Multiply-adds of all matrix products that turn one image of ``patches`` into features of ``width``, times two.

    Every patch sees every patch of its image. Norms, rotary, biases and activations are left out, as in
    :func:`foretell.model.config.forward_flops_per_token`.
    """
    block = 4 * vision.width**2 + 3 * vision.width * vision.ffn_width + 2 * vision.width * patches
    of_patch = vision.patch_values * vision.width + vision.depth * block + vision.width * width + width**2
    return 2.0 * patches * of_patch


def vision_training_flops(vision: VisionConfig, patches: int, width: int) -> float:
    """FLOPs of forward and backward of one image: three times the forward pass, as for the decoder."""
    return 3.0 * vision_flops(vision, patches, width)
