"""Any picture becomes plain RGB or one sentence."""

from __future__ import annotations

import resource
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from studio.core.errors import MediaError
from studio.media.images import (
    LARGE_SIDE_PX,
    fit_image,
    fit_preview,
    load_image,
    open_image,
    probe_image,
)


def halves(width: int = 48, height: int = 32) -> np.ndarray:
    """Red left, blue right."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2] = (200, 30, 30)
    pixels[:, width // 2 :] = (30, 30, 200)
    return pixels


def save(path: Path, picture: Image.Image, **options: object) -> Path:
    picture.save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "gif", "bmp", "tif"])
def test_every_format_gives_the_same_pixels(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"a.{suffix}", Image.fromarray(halves()), quality=95)
    got = load_image(path)
    assert (got.dtype, got.shape, got.flags.writeable) == (np.uint8, (32, 48, 3), True)
    assert np.abs(got[:, 4:20].astype(int) - halves()[:, 4:20]).max() < 12
    info = probe_image(path)
    assert (info.width, info.height, info.suffix) == (48, 32, f".{suffix}")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "a.jpg", Image.fromarray(halves()), exif=exif, quality=95)
    got = load_image(path)
    # the corner that is shown at the top left, taken from the stored picture
    upright = {
        1: halves(),
        2: halves()[:, ::-1],
        3: halves()[::-1, ::-1],
        4: halves()[::-1],
        5: halves().swapaxes(0, 1),
        6: np.rot90(halves(), -1),
        7: np.rot90(halves(), 2).swapaxes(0, 1),
        8: np.rot90(halves(), 1),
    }[orientation]
    assert got.shape == upright.shape
    assert np.abs(got.astype(int) - upright).mean() < 6
    info = probe_image(path)
    assert (info.height, info.width) == upright.shape[:2]


def test_transparency_becomes_white_and_is_said(tmp_path: Path) -> None:
    pixels = np.dstack([halves(), np.full((32, 48), 255, np.uint8)])
    pixels[:16, :, 3] = 0
    pixels[16:, :24, 3] = 128
    picture = open_image(save(tmp_path / "a.png", Image.fromarray(pixels)))
    assert (picture.pixels[:16] == 255).all()
    assert np.abs(picture.pixels[20, 5].astype(int) - (227, 142, 142)).max() <= 2
    assert (picture.pixels[20, 30] == (30, 30, 200)).all()
    assert "transparent" in picture.notices[0]


def test_an_opaque_alpha_channel_is_not_worth_a_word(tmp_path: Path) -> None:
    picture = Image.fromarray(halves()).convert("RGBA")
    assert open_image(save(tmp_path / "a.png", picture)).notices == ()


def test_a_palette_with_a_transparent_colour(tmp_path: Path) -> None:
    picture = Image.fromarray(halves()).quantize(4)
    clear = picture.getpixel((0, 0))
    got = load_image(save(tmp_path / "a.png", picture, transparency=clear))
    assert (got[:, 2:20] == 255).all()
    assert np.abs(got[:, 30:].astype(int) - (30, 30, 200)).max() < 8


def test_16_bits_keep_their_scale(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)
    path = save(tmp_path / "a.png", Image.fromarray(np.tile(ramp, (32, 1))))
    picture = open_image(path)
    assert np.abs(picture.pixels[5, :, 0].astype(int) - np.arange(256)).max() <= 1
    assert "more than 8 bits" in picture.notices[0]


def test_float_and_32_bit_pictures(tmp_path: Path) -> None:
    values = np.tile(np.linspace(0, 1, 64, dtype=np.float32), (32, 1))
    got = load_image(save(tmp_path / "a.tif", Image.fromarray(values)))
    assert (int(got[0, 0, 0]), int(got[0, -1, 0])) == (0, 255)
    values[3, 3] = np.nan
    with pytest.raises(MediaError, match="not numbers"):
        load_image(save(tmp_path / "b.tif", Image.fromarray(values)))
    ints = Image.fromarray(np.full((32, 64), 70000, np.int32))
    assert load_image(save(tmp_path / "c.tif", ints)).shape == (32, 64, 3)


def test_cmyk_grey_and_black_and_white(tmp_path: Path) -> None:
    base = Image.fromarray(halves())
    picture = open_image(save(tmp_path / "a.jpg", base.convert("CMYK"), quality=95))
    assert np.abs(picture.pixels[16, 8].astype(int) - (200, 30, 30)).max() < 20
    assert "CMYK" in picture.notices[0]
    for mode in ("L", "1", "LA", "P"):
        path = save(tmp_path / f"{mode}.png", base.convert(mode))
        assert load_image(path).shape == (32, 48, 3)


def test_an_animation_gives_its_first_frame_and_says_so(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (32, 32), c) for c in ("red", "green", "blue")]
    for suffix in ("gif", "webp", "png"):
        path = tmp_path / f"a.{suffix}"
        frames[0].save(path, save_all=True, append_images=frames[1:], duration=100)
        picture = open_image(path)
        assert np.abs(picture.pixels[9, 9].astype(int) - (255, 0, 0)).max() < 12
        assert "animated" in picture.notices[0]


def blank_png(path: Path, width: int, height: int) -> Path:
    """A valid PNG of any size in a few kilobytes, made without its pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    packer = zlib.compressobj(1)
    row = bytes(1 + 3 * width)
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    signature = b"\x89PNG\r\n\x1a\n"
    path.write_bytes(
        signature + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )
    return path


def test_a_picture_of_169_megapixels_is_refused_without_memory(tmp_path: Path) -> None:
    blank_png(tmp_path / "big.png", 13_000, 13_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for read in (load_image, probe_image):
        with pytest.raises(MediaError, match="36 million pixels"):
            read(tmp_path / "big.png")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


def test_the_largest_picture_costs_less_than_300_mb(tmp_path: Path) -> None:
    blank_png(tmp_path / "big.png", 6000, 6000)
    code = (
        "import resource as r, sys; from studio.media.images import load_image\n"
        "m = lambda: r.getrusage(r.RUSAGE_SELF).ru_maxrss\n"
        "b = m(); s = load_image(sys.argv[1]).shape; print(s[0], (m() - b) // 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "big.png")],
        capture_output=True,
        text=True,
        check=True,
    )
    side, grown = map(int, done.stdout.split())
    assert side == 3000
    assert grown < 300


def test_a_large_picture_is_halved_and_said(tmp_path: Path) -> None:
    wide = Image.fromarray(np.tile(halves(LARGE_SIDE_PX + 40, 600), (1, 1, 1)))
    for name in ("a.jpg", "a.png"):
        picture = open_image(save(tmp_path / name, wide, quality=90))
        assert picture.pixels.shape == (300, (LARGE_SIDE_PX + 40) // 2, 3)
        assert "very large" in picture.notices[0]
        assert np.abs(picture.pixels[9, 40].astype(int) - (200, 30, 30)).max() < 10


BAD: dict[str, Callable[[Path], object]] = {
    "text": lambda p: p.write_text("I am not a picture\n" * 50),
    "empty": lambda p: p.write_bytes(b""),
    "folder": lambda p: p.mkdir(),
    "missing": lambda p: None,
    "dot": lambda p: Image.new("RGB", (1, 1)).save(p),
    "thread": lambda p: Image.new("RGB", (2000, 20)).save(p),
    "truncated": lambda p: (
        Image.fromarray(halves(400, 300)).save(p),
        p.write_bytes(p.read_bytes()[:600]),
    ),
    "header-only": lambda p: (
        Image.fromarray(halves()).save(p),
        p.write_bytes(p.read_bytes()[:33]),
    ),
    "svg": lambda p: p.write_text("<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>"),
    "postscript": lambda p: p.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n"),
}


@pytest.mark.parametrize("kind", sorted(BAD))
def test_what_cannot_be_used_gets_one_sentence(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"{kind}.png"
    BAD[kind](path)
    with pytest.raises(MediaError) as caught:
        load_image(path)
    assert "\n" not in str(caught.value)
    assert "Traceback" not in str(caught.value)


@settings(max_examples=25, deadline=None)
@given(at=st.integers(0, 10**6), cut=st.integers(1, 400), fill=st.binary(max_size=9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "TIFF"])
def test_damaged_files_never_raise_anything_else(
    tmp_path_factory: pytest.TempPathFactory, kind: str, at: int, cut: int, fill: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / f"damaged-{kind}"
    Image.fromarray(halves()).save(path, kind)
    data = path.read_bytes()
    at %= len(data)
    path.write_bytes(data[:at] + fill + data[at + cut :])
    try:
        shape = load_image(path).shape
    except MediaError:
        shape = (1, 1, 3)
    assert shape[2] == 3


def test_crop_keeps_the_middle_and_fills_the_frame() -> None:
    got = fit_image(halves(96, 32), 32, 32, "crop")
    assert got.shape == (32, 32, 3)
    assert np.abs(got[:, 4].astype(int) - (200, 30, 30)).max() < 5
    assert np.abs(got[:, 28].astype(int) - (30, 30, 200)).max() < 5


def test_pad_shows_all_between_black_bars() -> None:
    got = fit_image(halves(96, 48), 48, 48, "pad")
    assert (got[:11] == 0).all()
    assert (got[37:] == 0).all()
    assert got[24].min(axis=0).max() > 25


def test_stretch_shows_all_without_bars() -> None:
    got = fit_image(halves(96, 48), 32, 64, "stretch")
    assert got.shape == (64, 32, 3)
    assert got.max(axis=2).min() > 150


def test_a_picture_that_fits_is_not_touched() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    for fit in ("crop", "pad", "stretch"):
        assert np.array_equal(fit_image(pixels, 48, 32, fit), pixels)


def test_another_fit_is_refused() -> None:
    with pytest.raises(MediaError, match="crop, pad or stretch"):
        fit_image(halves(), 32, 32, "zoom")


def test_the_preview_is_what_the_model_gets(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(halves(96, 32)))
    for fit, word in (("crop", "67% of the picture"), ("pad", "black bars"), ("stretch", "change")):
        preview = fit_preview(path, 32, 32, fit)
        assert np.array_equal(preview.pixels, fit_image(load_image(path), 32, 32, fit))
        assert word in preview.notices[0]
    assert fit_preview(path, 96, 32).notices == ()
    assert "scaled up" in fit_preview(path, 192, 64).notices[0]
