"""Latents, rows, windows and the masks of what is given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from studio.pocket import dataset, latents
from studio.pocket.batches import MODES, Batches, given
from studio.pocket.dataset import Row, Rows
from studio.pocket.vocabulary import MOTIONS, Scene

SCENE = Scene("large", "star", "red", "moves right", "meadow", "day", "static")


@pytest.fixture(scope="module")
def pixel_code() -> latents.PixelCode:
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(latents.BLOCK_NUMBERS, latents.CHANNELS)))[0]
    parts = (np.zeros(latents.BLOCK_NUMBERS), basis, np.linspace(0.2, 1.0, latents.CHANNELS))
    return latents.PixelCode(*(p.astype(np.float32) for p in parts))


def test_the_first_frame_is_a_still_image(pixel_code: latents.PixelCode) -> None:
    frames = np.random.default_rng(1).integers(0, 256, (9, 32, 48, 3)).astype(np.uint8)
    code = pixel_code.encode(frames)
    assert code.shape == (48, 3, 2, 3)
    assert np.allclose(code[:, 0], pixel_code.encode_images(frames)[:, 0], atol=1e-5)
    assert pixel_code.decode(code).shape == frames.shape


def test_codes_survive_the_round_trip(pixel_code: latents.PixelCode) -> None:
    cells = np.random.default_rng(2).normal(size=(600, latents.BLOCK_NUMBERS)).astype(np.float32)
    cells[:, :2] *= 9.0
    fitted = latents.fit(cells)
    assert np.allclose(fitted.basis.T @ fitted.basis, np.eye(48), atol=1e-4)
    coordinates = (cells - fitted.mean) @ (fitted.basis * fitted.scale)
    assert coordinates.var(0).mean() == pytest.approx(1.0, rel=0.02)


def test_shards_hold_four_rows_a_rendering(tmp_path: Path, pixel_code: latents.PixelCode) -> None:
    dataset.write_shard(tmp_path / "00000", pixel_code, 3, 2)
    rows = Rows(tmp_path)
    assert len(rows) == 8
    code, ends, row = rows.row(0)
    assert code.shape[1] in (7, 13)
    assert len(ends) == code.shape[1] - 6
    assert row.scene is not None or row.people
    rows.refresh()
    assert len(rows) == 8


def test_a_window_is_named_by_most_of_its_frames() -> None:
    right, rises = MOTIONS.index("moves right"), MOTIONS.index("rises")
    row = Row(SCENE, (), (right,) * 25 + (rises,) * 24, (0,) * 49)
    assert row.window(0)[0].motion == "moves right"
    assert row.window(0)[1] == 1.0
    assert row.window(6)[0].motion == "rises"
    assert row.window(6)[1] == pytest.approx(24 / 28)
    assert row.window(3)[1] < 0.9


def test_text_alone_is_learned_from_composed_rows(
    tmp_path: Path, pixel_code: latents.PixelCode, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, share in enumerate((0.0, 1.0)):
        monkeypatch.setattr(dataset, "COMPOSED_SHARE", share)
        monkeypatch.setattr(dataset, "PEOPLE_SHARE", 0.0)
        monkeypatch.setattr(dataset, "LONG_SHARE", 0.0)
        dataset.write_shard(tmp_path / f"{number:05d}", pixel_code, 5 + number, 1)
    rows = Rows(tmp_path)
    assert rows.composed == [4, 5, 6, 7]
    batches = Batches(rows, lambda texts: torch.zeros(len(texts), 64, 8), 40, 0)  # type: ignore[arg-type]
    drawn = batches.draw()
    loose = torch.stack([torch.from_numpy(rows.row(i)[0]).float() for i in range(4)])
    for clean, mask in zip(drawn.clean, drawn.mask, strict=True):
        is_loose = bool((loose == clean).flatten(1).all(1).any())
        assert mask.any() or not is_loose
    assert 0.4 < (drawn.mask.flatten(1).amax(1) == 0).float().mean() < 0.8


@pytest.mark.parametrize("mode", MODES)
def test_masks_follow_their_mode(mode: str) -> None:
    clean = np.random.default_rng(0).normal(size=(48, 7, 8, 8)).astype(np.float32)
    last = np.full((48, 8, 8), 5.0, np.float32)
    mask, condition = given(clean, last, mode, np.random.default_rng(1))
    flags = mask[:, :, 0, 0]
    whole = flags.all(0)
    assert np.allclose(condition[:, whole], clean[:, whole])
    assert not condition[:, ~flags.any(0)].any()
    if mode == "none":
        assert not flags.any()
    else:
        assert whole[0]
    if mode.endswith("last"):
        assert flags[:, -1].tolist() == [0, 0, 0, 1]
        assert (condition[:, -1] == 5.0).all()
    if mode.endswith("suffix"):
        assert whole[-1]
        assert not whole.all()
    if mode.startswith("first"):
        assert whole.sum() == 1
