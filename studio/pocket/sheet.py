"""Contact sheets: every clip a row of frames."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

SHOWN = 6


def contact_sheet(clips: Iterable[np.ndarray], shown: int = SHOWN) -> np.ndarray:
    """`shown` evenly spread frames of every clip [T,H,W,3]: uint8 [rows * H, shown * W, 3]."""
    rows = []
    for clip in clips:
        picked = np.linspace(0, len(clip) - 1, shown).round().astype(int)
        rows.append(np.concatenate(list(clip[picked]), 1))
    return np.concatenate(rows)


def write_sheet(clips: Iterable[np.ndarray], path: Path, shown: int = SHOWN) -> None:
    """Write the contact sheet of `clips` as a PNG."""
    Image.fromarray(contact_sheet(clips, shown)).save(path)
