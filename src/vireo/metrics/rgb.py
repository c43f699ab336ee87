"""Mean squared error of R, G and B, after the conversion that learned codecs are compared with.

Papers differ in the matrix: NVRC evaluates "with the BT.601 color conversion", others use
BT.709. The matrix belongs to the measure, so the clip's own matrix does not come into it; its
range does.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from vireo.metrics.psnr import plane_mse

if TYPE_CHECKING:
    from vireo.video.frame import Frame

Matrix = Literal["bt601", "bt709"]

_H273_MATRIX: dict[Matrix, int] = {"bt601": 6, "bt709": 1}


def to_rgb(frame: Frame, matrix: Matrix, full_range: bool) -> NDArray[np.uint8]:
    """A frame's R, G and B: uint8 `[3, H, W]`, 0…255.

    By libswscale in its bit-exact C form, the same on every machine. Chroma is brought to
    luma's resolution by bicubic interpolation (Keys' kernel, a = -0.6) from sample positions
    in the middle of each 2x2 luma samples, whatever the clip says of them (an odd side's chroma
    is stretched to luma's length); then the matrix (ITU-R BT.601 or BT.709) in fixed point; the
    result is rounded, to within 1 of exact arithmetic, and clipped.

    Args:
        frame: 8-bit 4:2:0.
        matrix: the conversion to use.
        full_range: whether the frame's samples use 0…255; else 16…235 for luma and 16…240
            for chroma.
    """
    # Imported here, so that `vireo.metrics` needs no video library.
    from vireo.video.convert import rgb_picture
    from vireo.video.frame import ColorDescription, ColorRange

    color = ColorDescription(
        range=ColorRange.FULL if full_range else ColorRange.LIMITED, matrix=_H273_MATRIX[matrix]
    )
    rgb = rgb_picture(frame, color, Fraction(1)).to_ndarray()
    return np.ascontiguousarray(rgb.transpose(2, 0, 1), np.uint8)


def rgb_mse(reference: Frame, decoded: Frame, matrix: Matrix, full_range: bool) -> float:
    """Mean squared error over all R, G and B samples, in squared 8-bit levels, 0…65025.

    Both frames go through `to_rgb`, rounding and clipping included, as pictures that are
    stored as 8-bit RGB before they are compared.
    """
    return plane_mse(to_rgb(reference, matrix, full_range), to_rgb(decoded, matrix, full_range))
