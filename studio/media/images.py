"""Pictures from anywhere become plain RGB; their limits are checked before they are decoded."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from studio.core.errors import MediaError
from studio.core.request import Fit
from studio.media.decode import check_file

MAX_PIXELS = 36_000_000
MAX_PIXELS_COPIED = 12_600_000
"""For formats whose decoders keep several copies of the picture."""
COPIED = ("WEBP", "GIF", "AVIF")
MAX_PICTURE_BYTES = 64_000_000
MIN_SIDE_PX = 16
MAX_ASPECT = 16
LARGE_SIDE_PX = 4096
"""Larger pictures are halved until they fit, while they are read: no model sees more."""
FORMATS = {
    "PNG": ".png",
    "JPEG": ".jpg",
    "MPO": ".jpg",
    "WEBP": ".webp",
    "GIF": ".gif",
    "BMP": ".bmp",
    "TIFF": ".tif",
    "AVIF": ".avif",
}
WHITE = (255, 255, 255)


@dataclass(frozen=True)
class Picture:
    """RGB pixels uint8 [H, W, 3] and what was decided on the way, each a sentence."""

    pixels: np.ndarray
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class PictureInfo:
    """What a picture's header says; width and height as they are shown (EXIF)."""

    width: int
    height: int
    format: str
    suffix: str
    frames: int


def probe_image(path: str | Path) -> PictureInfo:
    """What the picture is; no pixel is decoded.

    Raises:
        MediaError: if it is no picture or is over the limits.
    """
    with _opened(Path(path)) as picture:
        turned = picture.getexif().get(0x0112, 1) in (5, 6, 7, 8)
        width, height = picture.size[::-1] if turned else picture.size
        kind = str(picture.format)
        return PictureInfo(width, height, kind, FORMATS[kind], getattr(picture, "n_frames", 1))


def load_image(path: str | Path) -> np.ndarray:
    """The picture as uint8 [H, W, 3]: upright, on white, 8 bits, its first frame.

    Raises:
        MediaError: one sentence, if it is no picture, damaged, or over the limits.
    """
    return open_image(path).pixels


def open_image(path: str | Path) -> Picture:
    """As `load_image`, with what was decided on the way.

    Raises:
        MediaError: as `load_image`.
    """
    notices = []
    with _opened(Path(path)) as picture:
        if picture.format != "MPO" and getattr(picture, "n_frames", 1) > 1:
            notices.append("the picture is animated: its first frame is used")
        if max(picture.size) > LARGE_SIDE_PX:
            notices.append("the picture is very large: it was scaled down while it was read")
        exif = picture.getexif()
        small = _decoded(picture, notices)
        if small is not picture:
            # frees the full size
            picture.close()
    small.getexif().update(exif)
    ImageOps.exif_transpose(small, in_place=True)
    return Picture(np.array(_on_white(small, notices)), tuple(notices))


def fit_image(pixels: np.ndarray, width: int, height: int, fit: Fit = "crop") -> np.ndarray:
    """`pixels` (uint8 [H, W, 3]) at the size the model takes, uint8 [height, width, 3].

    crop: fills the frame, the middle stays; pad: all is seen, black bars; stretch: all is seen,
    proportions are lost.

    Raises:
        MediaError: for another `fit`.
    """
    if fit not in get_args(Fit):
        raise MediaError(f"fit is crop, pad or stretch (got {str(fit)[:20]!r}); choose one")
    picture = Image.fromarray(pixels)
    size, method = (width, height), Image.Resampling.LANCZOS
    if fit == "crop":
        return np.array(ImageOps.fit(picture, size, method))
    if fit == "pad":
        return np.array(ImageOps.pad(picture, size, method, color=(0, 0, 0)))
    return np.array(picture.resize(size, method))


def fit_preview(path: str | Path, width: int, height: int, fit: Fit = "crop") -> Picture:
    """Exactly the pixels that the model will be given for this picture, with notices.

    Raises:
        MediaError: as `load_image` and `fit_image`.
    """
    picture = open_image(path)
    fitted = fit_image(picture.pixels, width, height, fit)
    notices = [*picture.notices]
    rows, columns = picture.pixels.shape[:2]
    ratio = (columns / rows) / (width / height)
    lost = 1 - min(ratio, 1 / ratio)
    if lost > 0.02:
        what = {
            "crop": f"{lost:.0%} of the picture is cut off",
            "pad": f"{lost:.0%} of the frame is black bars",
            "stretch": "the picture's proportions change",
        }[fit]
        notices.append(f"the picture is {columns}x{rows} and the clip {width}x{height}: {what}")
    if columns < width and rows < height:
        notices.append(f"the picture is smaller than the clip ({columns}x{rows}): it is scaled up")
    return Picture(fitted, tuple(notices))


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The picture, header read and limits checked; errors of Pillow become MediaError."""
    check_file(path, "picture", MAX_PICTURE_BYTES)
    try:
        with warnings.catch_warnings():
            # the limits below are stricter than the size at which Pillow warns
            warnings.simplefilter("ignore")
            with Image.open(path, formats=_readable()) as picture:
                _check_size(picture)
                yield picture
    except UnidentifiedImageError as error:
        raise MediaError(
            f"{path.name} is not a picture that can be read; use PNG, JPEG, WebP, GIF, BMP or TIFF"
        ) from error
    except Image.DecompressionBombError as error:
        raise MediaError(
            f"a picture has at most {MAX_PIXELS // 1_000_000} million pixels; scale it down"
        ) from error
    except (OSError, SyntaxError, ValueError, EOFError, TypeError, OverflowError) as error:
        raise MediaError(
            f"the picture {path.name} is damaged and cannot be read; choose another"
        ) from error


def _readable() -> list[str]:
    """The formats that this build of Pillow can open."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _check_size(picture: Image.Image) -> None:
    width, height = picture.size
    limit = MAX_PIXELS_COPIED if picture.format in COPIED else MAX_PIXELS
    if width * height > limit:
        raise MediaError(
            f"a {picture.format} picture has at most {limit / 1e6:g} million pixels "
            f"(got {width}x{height}); scale it down"
        )
    if min(width, height) < MIN_SIDE_PX:
        raise MediaError(
            f"a picture has at least {MIN_SIDE_PX}x{MIN_SIDE_PX} pixels (got {width}x{height}); "
            "choose a larger one"
        )
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise MediaError(
            f"a picture is at most {MAX_ASPECT} times as long as wide (got {width}x{height}); "
            "cut it"
        )


def _decoded(picture: Image.Image, notices: list[str]) -> Image.Image:
    """The first frame in an 8-bit mode, halved until no side is over LARGE_SIDE_PX."""
    halves = 1
    while max(picture.size) > LARGE_SIDE_PX * halves:
        halves *= 2
    size = picture.size
    # JPEG is decoded at a fraction of its size at once
    picture.draft(None, (size[0] // halves, size[1] // halves))
    picture.load()
    if picture.size != size:
        halves = 1
    if picture.mode.startswith(("I", "F")):
        notices.append("the picture has more than 8 bits a channel: it was brought to 8")
        return _eight_bits(picture, halves)
    if picture.mode in ("P", "1"):
        clear = "transparency" in picture.info
        plain = picture.convert("RGBA" if clear else "RGB")
        return plain if halves == 1 else plain.reduce(halves)
    if halves == 1:
        return picture
    small = _reduced(picture, halves)
    if "transparency" in picture.info:
        small.info["transparency"] = picture.info["transparency"]
    return small


def _reduced(picture: Image.Image, factor: int) -> Image.Image:
    """`picture.reduce(factor)`, strip by strip: Pillow copies pictures with transparency whole."""
    width, height = picture.size
    small = Image.new(picture.mode, (-(-width // factor), -(-height // factor)))
    strip = 256 * factor
    for top in range(0, height, strip):
        part = picture.crop((0, top, width, min(height, top + strip)))
        small.paste(part.reduce(factor), (0, top // factor))
    return small


def _on_white(picture: Image.Image, notices: list[str]) -> Image.Image:
    """`picture` in RGB; what is transparent becomes white."""
    if picture.mode == "CMYK":
        notices.append("the picture is for print (CMYK): its colours are approximate")
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        layer = picture if picture.mode == "RGBA" else picture.convert("RGBA")
        if layer.getchannel("A").tobytes().strip(b"\xff"):
            notices.append("the picture is transparent: it was put on white")
        ground = Image.new("RGB", layer.size, WHITE)
        ground.paste(layer, mask=layer)
        return ground
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _eight_bits(picture: Image.Image, step: int) -> Image.Image:
    """Every `step`-th grey value of 16 or 32 bits, or float, as 8 bits.

    16-bit pictures keep their full scale; where no scale is known the brightest value is white.
    """
    values = np.asarray(picture)[::step, ::step].astype(np.float32)
    if not np.isfinite(values).all():
        raise MediaError("the picture has values that are not numbers; export it again as PNG")
    top = 65535.0 if picture.mode.startswith("I;16") or values.max() > 255 else 255.0
    if picture.mode == "F" and values.max() <= 1:
        top = 1.0
    values *= 255 / max(top, float(values.max()))
    return Image.fromarray(np.clip(values + 0.5, 0, 255).astype(np.uint8))
