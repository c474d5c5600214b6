"""Super-resolution of finished clips by networks that spandrel recognises. An optional extra."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from studio.core.errors import MediaError, WeightsError

TILE_PX = 256
OVERLAP_PX = 16
"""Tiles share a border that is thrown away, so that no seam is seen."""
MOST_PX = 4096 * 4096


def load_upscaler(path: Path, device: str) -> Any:
    """The network in a safetensors file, ready on `device`.

    Raises:
        WeightsError: without the extra, for another kind of file, or a network that is unknown.
    """
    if path.suffix != ".safetensors":
        raise WeightsError(
            f"an upscaling network is a .safetensors file (got {path.name}); convert it first with "
            "`python -m studio models convert`"
        )
    try:
        from spandrel import ImageModelDescriptor, ModelLoader
    except ImportError as error:
        raise WeightsError(
            "upscaling needs the extra: pip install -r requirements-extras.txt"
        ) from error
    try:
        found = ModelLoader(device=device).load_from_file(path)
    except Exception as error:
        # spandrel raises whatever its many architectures raise.
        raise WeightsError(
            f"{path.name} is not a network that spandrel knows ({str(error)[:160]}); choose another"
        ) from error
    if not isinstance(found, ImageModelDescriptor) or found.input_channels != 3:
        raise WeightsError(f"{path.name} does not turn pictures into pictures; choose another")
    return found.eval()


def upscale(source: Path, out: Path, model: Path, device: str = "cpu") -> dict[str, Any]:
    """A clip frame by frame through a network; its sound and its tags stay.

    Raises:
        StudioError: if the clip or the network cannot be used.
    """
    from studio.media.audio import load_sound
    from studio.media.decode import probe, read_frames
    from studio.media.mux import ClipWriter

    info = probe(source)
    network = load_upscaler(model, device)
    width, height = info.width * network.scale, info.height * network.scale
    if width * height > MOST_PX:
        raise MediaError(f"the clip would be {width}x{height}; choose a smaller factor")
    sound = load_sound(source, 44_100, channels=2) if info.has_audio else None
    with ClipWriter(out, info.fps, (width, height), dict(info.tags), sound) as writer:
        for frame in enlarged(network, read_frames(source), device):
            writer.write(frame)
    return {"path": str(out), "frames": writer.frames, "width": width, "height": height}


def enlarged(network: Any, frames: Iterator[np.ndarray], device: str) -> Iterator[np.ndarray]:
    """Frames [H, W, 3] uint8 -> [scale * H, scale * W, 3] uint8, in tiles that overlap."""
    import torch

    scale = network.scale
    for frame in frames:
        picture = torch.from_numpy(np.ascontiguousarray(frame)).to(device)
        picture = picture.permute(2, 0, 1)[None].float() / 255
        height, width = frame.shape[:2]
        whole = torch.zeros(1, 3, height * scale, width * scale)
        for top in range(0, height, TILE_PX):
            for left in range(0, width, TILE_PX):
                _tile(network, picture, whole, (top, left))
        pixels = (whole[0].permute(1, 2, 0).clamp(0, 1) * 255 + 0.5).to(torch.uint8)
        yield pixels.numpy()


def _tile(network: Any, picture: Any, whole: Any, at: tuple[int, int]) -> None:
    """Enlarge the tile at `at` with a border, and keep it without."""
    import torch

    scale, (top, left) = network.scale, at
    bottom, right = min(top + TILE_PX, picture.shape[2]), min(left + TILE_PX, picture.shape[3])
    y, x = max(0, top - OVERLAP_PX), max(0, left - OVERLAP_PX)
    stop_y = min(picture.shape[2], bottom + OVERLAP_PX)
    stop_x = min(picture.shape[3], right + OVERLAP_PX)
    with torch.inference_mode():
        large = network(picture[:, :, y:stop_y, x:stop_x]).float().cpu()
    inside = large[
        :, :, (top - y) * scale : (bottom - y) * scale, (left - x) * scale : (right - x) * scale
    ]
    whole[:, :, top * scale : bottom * scale, left * scale : right * scale] = inside
