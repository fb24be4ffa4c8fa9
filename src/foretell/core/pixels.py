"""How pixels are normalised before a vision half reads them, by channel: (value / 255 - mean) / deviation.

The values of CLIP's training images (Radford et al. 2021, arXiv 2103.00020), which most encoders since use.
"""

from __future__ import annotations

PIXEL_MEAN = (0.48145466, 0.4578275, 0.40821073)
PIXEL_DEVIATION = (0.26862954, 0.26130258, 0.27577711)
