"""CIELAB against published values, PSNR against arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from studio.quality.colour import psnr, to_lab

# sRGB and its CIELAB (D65, 2 degrees), as colour calculators print them.
KNOWN = [
    ((255, 255, 255), (100.0, 0.0, 0.0)),
    ((0, 0, 0), (0.0, 0.0, 0.0)),
    ((255, 0, 0), (53.24, 80.09, 67.20)),
    ((0, 255, 0), (87.73, -86.18, 83.18)),
    ((0, 0, 255), (32.30, 79.19, -107.86)),
    ((128, 128, 128), (53.59, 0.0, 0.0)),
]


@pytest.mark.parametrize(("rgb", "lab"), KNOWN)
def test_lab_of_known_colours(rgb: tuple, lab: tuple) -> None:
    made = to_lab(np.array([[rgb]], np.uint8))
    assert made.shape == (1, 1, 3)
    assert np.allclose(made[0, 0], lab, atol=0.03)


def test_psnr_of_a_constant_error() -> None:
    black = np.zeros((4, 4, 3), np.uint8)
    assert psnr(black, black) == 99.0
    assert abs(psnr(black, black + 5) - 20 * np.log10(255 / 5)) < 1e-9
    assert psnr(black, black + 255) == 0.0
