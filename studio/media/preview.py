"""Small WebP pictures: the live preview of a job and the poster of a clip."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from studio.core.errors import MediaError
from studio.media.publish import write_bytes

MAX_SIDE_PX = 512
QUALITY = 80
SLOWEST_MS = 2000


def write_preview(
    path: str | Path, frames: np.ndarray, fps: float = 8.0, max_side: int = MAX_SIDE_PX
) -> None:
    """Publish `frames` (uint8 [n, H, W, 3], or one picture [H, W, 3]) as a WebP that loops.

    Raises:
        MediaError: if there is no frame.
        StorageError: if it cannot be written; what was at `path` before stays.
    """
    batch = frames[None] if frames.ndim == 3 else frames
    if len(batch) == 0:
        raise MediaError("a preview has at least one frame (got none); wait for the first step")
    pictures = [_small(pixels, max_side) for pixels in batch]
    duration = max(10, min(SLOWEST_MS, round(1000 / fps)))
    buffer = io.BytesIO()
    animation = {"save_all": True, "append_images": pictures[1:], "duration": duration, "loop": 0}
    more = animation if len(pictures) > 1 else {}
    pictures[0].save(buffer, "WEBP", quality=QUALITY, method=2, **more)
    write_bytes(Path(path), buffer.getvalue())


def _small(pixels: np.ndarray, max_side: int) -> Image.Image:
    picture = Image.fromarray(pixels)
    if max(picture.size) > max_side:
        picture.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    return picture
