"""The vision half: patches of images to features that take the places of image tokens' embeddings.

Rows of a batch may hold any number of images of any sizes. All patches that are there go through the layers as one
list, N of them, without padding; images of equal size attend in one call. Letters: :mod:`foretell.model.vision_config`;
B rows of a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foretell.model.config import ModelConfig
from foretell.model.parametrization import Parametrization
from foretell.model.primitives import RMSNorm, SwiGLU, rotary_angles, rotate
from foretell.model.vision_config import VisionConfig


@dataclass(frozen=True)
class ImageGroups:
    """The images of a list of N patches, those of equal size next to each other.

    Attributes:
        sizes: for each group, how many images of how many patches; they follow one another in the list.
        order: where each place of the list is in the order of the batch, int64 [N]; ``None`` where it is the same.
    """

    sizes: tuple[tuple[int, int], ...]
    order: Tensor | None

    @classmethod
    def of(cls, places: Tensor) -> Self:
        """Of the patches in int64 [B, P, 3] ``places`` that are none of padding.

        Raises:
            ValueError: where an image's patches are not next to each other.
        """
        images = places[..., 0]
        rows = torch.arange(len(images), device=images.device).unsqueeze(1) * (images.amax() + 1)
        numbers = (rows + images)[images >= 0]
        if (numbers.diff() < 0).any():
            raise ValueError("places has images whose numbers do not ascend along their row")
        lengths = torch.unique_consecutive(numbers, return_counts=True)[1]
        found, counts = lengths.unique(return_counts=True)
        sizes = tuple(zip(counts.tolist(), found.tolist(), strict=True))
        if len(sizes) == 1:
            return cls(sizes, None)
        return cls(sizes, lengths.repeat_interleave(lengths).argsort(stable=True))


def axial_angles(places: Tensor, head_dim: int, theta: float) -> Tensor:
    """Cosines and sines of axial rotary positions: a head's frequencies belong to rows and columns in turn.

    The first quarter of a head turns by a patch's row with the frequencies 0, 2, 4, ..., the second by its column with
    1, 3, 5, ..., each paired with the same place half a head further on (``PixtralVisionRotaryEmbedding``).

    Args:
        places: int64 [N, 2], row and column of each patch.

    Returns:
        [2, N, 1, E/2] float32, as :func:`foretell.model.primitives.rotate` takes them.
    """
    angles = rotary_angles(int(places.max()) + 1, head_dim, theta).to(places.device)
    by_row, by_column = angles[:, places[:, 0], :, 0::2], angles[:, places[:, 1], :, 1::2]
    return torch.cat((by_row, by_column), dim=-1)


class ImageAttention(nn.Module):
    """Full self-attention among the patches of each image."""

    def __init__(self, vision: VisionConfig, scale: float) -> None:
        super().__init__()
        self.heads, self.head_dim, self.scale = vision.heads, vision.head_dim, scale
        self.qkv = nn.Linear(vision.width, 3 * vision.width, bias=False)
        self.output = nn.Linear(vision.width, vision.width, bias=False)

    def forward(self, x: Tensor, angles: Tensor, images: ImageGroups) -> Tensor:
        """[N, W] to [N, W]."""
        heads = self.qkv(x).view(len(x), 3 * self.heads, self.head_dim)
        query, key = rotate(heads[:, : 2 * self.heads], angles).chunk(2, dim=1)
        parts, start = [], 0
        for count, length in images.sizes:
            group = slice(start, start + count * length)
            query_of, key_of, value_of = (
                part[group].unflatten(0, (count, length)).transpose(1, 2)
                for part in (query, key, heads[:, 2 * self.heads :])
            )
            # PyTorch's flash attention is the quickest here also in training, unlike for causal attention.
            mixed = F.scaled_dot_product_attention(query_of, key_of, value_of, scale=self.scale)
            parts.append(mixed.transpose(1, 2).reshape(count * length, -1))
            start = group.stop
        return self.output(parts[0] if len(parts) == 1 else torch.cat(parts))


class ImageBlock(nn.Module):
    """Pre-norm block: x + attention(norm x), then x + feed_forward(norm x)."""

    def __init__(self, vision: VisionConfig, scale: float) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(vision.width, vision.norm_eps)
        self.attention = ImageAttention(vision, scale)
        self.feed_forward_norm = RMSNorm(vision.width, vision.norm_eps)
        self.feed_forward = SwiGLU(vision.width, vision.ffn_width)

    def forward(self, x: Tensor, angles: Tensor, images: ImageGroups) -> Tensor:
        """[N, W] to [N, W]."""
        x = x + self.attention(self.attention_norm(x), angles, images)
        return x + self.feed_forward(self.feed_forward_norm(x))


class Projector(nn.Module):
    """Two layers with a GELU in between, from the encoder's width to the decoder's (LLaVA-1.5)."""

    def __init__(self, width: int, decoder_width: int, bias: bool) -> None:
        super().__init__()
        self.input = nn.Linear(width, decoder_width, bias=bias)
        self.output = nn.Linear(decoder_width, decoder_width, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """[..., W] to [..., D]."""
        return self.output(F.gelu(self.input(x)))


class VisionTower(nn.Module):
    """Encoder and projector of a model that has a vision half.

    Args:
        config: of the whole model; ``config.vision`` is there.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        assert config.vision is not None
        self.config = vision = config.vision
        scale = Parametrization(config).vision_attention_scale
        self.patch_embedding = nn.Linear(vision.patch_values, vision.width, bias=False)
        self.patch_norm = RMSNorm(vision.width, vision.norm_eps)
        self.blocks = nn.ModuleList(ImageBlock(vision, scale) for _ in range(vision.depth))
        self.projector = Projector(vision.width, config.width, vision.projector_bias)

    def forward(self, patches: Tensor, places: Tensor) -> Tensor:
        """Features of every patch.

        Args:
            patches: [B, P, C] normalised pixels; those of an image follow one another, row after row of the image.
            places: int64 [B, P, 3]: number of the image in its row, ascending, or -1 for padding; row of the patch in
                its image; column.

        Returns:
            [B, P, D]; zeros for padding.

        Raises:
            ValueError: where patches have another size than the model's, or an image is not in one piece.
        """
        features, there = self.features(patches, places), places[..., 0] >= 0
        if len(features) == there.numel():
            return features.view(*there.shape, -1)
        return features.new_zeros(*there.shape, features.shape[-1]).masked_scatter(there.unsqueeze(-1), features)

    def features(self, patches: Tensor, places: Tensor) -> Tensor:
        """[N, D] features of the N patches that are none of padding, row by row; see :meth:`forward`."""
        if patches.shape[-1] != self.config.patch_values:
            raise ValueError(
                f"patches have {patches.shape[-1]} values; {self.config.patch_values} are expected, 3 x "
                f"{self.config.patch} x {self.config.patch}"
            )
        there = places[..., 0] >= 0
        patches, spots = (
            (patches.flatten(0, 1), places.flatten(0, 1)) if there.all() else (patches[there], places[there])
        )
        if not len(patches):
            return patches.new_zeros(0, self.projector.output.out_features)
        images = ImageGroups.of(places)
        if images.order is not None:
            patches, spots = patches[images.order], spots[images.order]
        angles = axial_angles(spots[:, 1:], self.config.head_dim, self.config.rope_theta).to(patches.dtype)
        x = self.patch_norm(self.patch_embedding(patches))
        for block in self.blocks:
            x = block(x, angles, images)
        if images.order is not None:
            x = torch.empty_like(x).index_copy(0, images.order, x)
        return self.projector(x)
