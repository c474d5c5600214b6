"""CIELAB and PSNR of 8-bit pictures."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
Lab = npt.NDArray[np.float32]

# IEC 61966-2-1 (sRGB, D65) to XYZ, and the white point of that matrix.
_TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ],
    dtype=np.float32,
)
_WHITE = _TO_XYZ.sum(axis=1)
_STEP = 6 / 29
_MAX_PSNR = 99.0


def _linear() -> npt.NDArray[np.float32]:
    value = np.arange(256) / 255
    bright = ((value + 0.055) / 1.055) ** 2.4
    return np.where(value <= 0.04045, value / 12.92, bright).astype(np.float32)


_LINEAR = _linear()


def to_lab(picture: Picture) -> Lab:
    """CIELAB (D65) of an sRGB picture uint8 [..., 3]: L 0 to 100, a and b about -110 to 110."""
    xyz = (_LINEAR[picture] @ _TO_XYZ.T) / _WHITE
    f = np.where(xyz > _STEP**3, np.cbrt(xyz), xyz / (3 * _STEP**2) + 4 / 29)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), axis=-1).astype(np.float32)


def psnr(picture: Picture, given: Picture) -> float:
    """Peak signal-to-noise ratio in dB of two uint8 pictures of one shape; at most 99."""
    assert picture.shape == given.shape, f"{picture.shape} against {given.shape}"
    error = float(np.mean((picture.astype(np.float64) - given.astype(np.float64)) ** 2))
    return _MAX_PSNR if error == 0 else min(_MAX_PSNR, float(10 * np.log10(255**2 / error)))
