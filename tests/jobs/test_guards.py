"""Broken numbers and pictures are found; memory that ends in the middle costs no window."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from studio.core.errors import EstimateError, NumericError
from studio.core.events import Event, Notice, SegmentDone
from studio.core.preset import Preset
from studio.core.request import parse_request
from studio.jobs.context import RunContext
from studio.jobs.guards import FrameGuard, check_estimate
from studio.jobs.runner import run
from studio.jobs.setting import Setting
from studio.models.families.wan_tiles import TiledWanDecoder, tiles_of
from studio.models.families.wan_vae import WanStreamDecoder
from studio.models.manager import ModelManager
from tests.parity import tiny


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory) -> Preset:
    folder = tmp_path_factory.mktemp("wan")
    tiny.wan_pipeline("t2v").save_pretrained(folder)
    return tiny.preset_for(
        folder,
        ("t2v",),
        defaults={"num_inference_steps": 2, "fps": 8, "guidance_scale": 4.0},
        long={"methods": ["overlap-prefix"], "window_frames": 3, "overlap_frames": 1},
    )


def make(root: Path, preset: Preset, **fields: Any) -> tuple[list[Event], ModelManager]:
    """A clip of four windows."""
    events: list[Event] = []
    (root / "work").mkdir(parents=True, exist_ok=True)
    context = RunContext(
        job_id="job",
        work_dir=root / "work",
        outputs_dir=root / "outputs",
        cache_dir=root / "cache",
        models=ModelManager(2**33),
        presets={preset.id: preset},
        emit=events.append,
        should_stop=lambda: False,
    )
    request = {"kind": "t2v", "preset": preset.id, "prompt": "a ball", "frames": 33, "seed": 3}
    run(parse_request({**request, **fields}), context)
    return events, context.models


def said(events: list[Event]) -> str:
    return " ".join(event.message for event in events if isinstance(event, Notice))


def test_estimates_that_are_no_picture_are_found() -> None:
    fine = torch.randn(1, 4, 6, 3, 3)
    check_estimate(fine, 0, 0)
    broken = fine.clone()
    broken[0, 0, 5, 0, 0] = float("nan")
    flat = torch.ones(1, 4, 6, 3, 3) * torch.arange(4).view(1, 4, 1, 1, 1)
    frozen = fine[:, :, :1].repeat(1, 1, 6, 1, 1)
    for wrong, word in ((broken, "not a number"), (flat, "flat"), (frozen, "frozen")):
        with pytest.raises(EstimateError, match=word):
            check_estimate(wrong, 1, 0)
    with pytest.raises(EstimateError):
        check_estimate(broken, 9, 0)
    check_estimate(frozen, 9, 0)


def test_frames_that_are_no_picture_are_found() -> None:
    moving = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 3), dtype=np.uint8)
    flat = np.repeat(np.arange(6, dtype=np.uint8), 48).reshape(6, 4, 4, 3)
    for frames, word in ((flat, "flat"), (np.repeat(moving[:1], 6, axis=0), "frozen")):
        guard = FrameGuard(0)
        guard.push(frames[:1])
        guard.push(frames[1:])
        with pytest.raises(NumericError, match=word):
            guard.close()
    guard = FrameGuard(0)
    guard.push(moving)
    guard.close()


def test_broken_attention_is_replaced_by_plain_attention(
    tmp_path: Path, preset: Preset, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = torch.nn.functional.scaled_dot_product_attention

    def fused(*args: Any, **more: Any) -> torch.Tensor:
        made = usual(*args, **more)
        return made * float("nan") if torch.backends.cuda.flash_sdp_enabled() else made

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", fused)
    before = make(tmp_path, preset)[0]
    assert "attention computed plainly" in said(before)
    assert sum(isinstance(event, SegmentDone) for event in before) == 4


def test_a_vae_that_gives_no_numbers_ends_with_a_sentence(
    tmp_path: Path, preset: Preset, monkeypatch: pytest.MonkeyPatch
) -> None:
    push: Callable[..., Any] = WanStreamDecoder.push
    monkeypatch.setattr(WanStreamDecoder, "push", lambda me, x: push(me, x * float("nan")))
    with pytest.raises(NumericError, match="VAE"):
        make(tmp_path, preset)


def test_memory_that_ends_in_the_third_window_costs_no_finished_one(
    tmp_path: Path, preset: Preset, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "whole", preset)
    spent: list[int] = []
    opened = Setting.open_denoiser

    def once(me: Setting, held: Any, conditions: Any) -> Any:
        spent.append(conditions.first_frame)
        if len(spent) == 3:
            raise torch.OutOfMemoryError("out of memory")
        return opened(me, held, conditions)

    monkeypatch.setattr(Setting, "open_denoiser", once)
    events, models = make(tmp_path / "broken", preset)
    assert models.tile_vae
    assert "in tiles" in said(events)
    assert spent[2] == spent[3]
    assert len(spent) == 5, spent
    for index in range(4):
        name = f"window-{index:03d}.safetensors"
        whole, again = (load_file(tmp_path / x / "work" / name) for x in ("whole", "broken"))
        assert torch.equal(whole["latents"], again["latents"]), index


def test_tiles_cover_the_picture_and_go_on_from_the_whole_one() -> None:
    vae = tiny.wan_vae()
    latents = torch.randn(1, 16, 3, 18, 34, generator=torch.Generator().manual_seed(5))
    assert len(tiles_of(18, 34)) == 4
    assert len(tiles_of(7, 15)) == 1
    whole, tiled = WanStreamDecoder(vae), TiledWanDecoder(vae)
    first = whole.push(latents[:, :, :2])
    tiles = tiled.push(latents[:, :, :2])
    assert tiles.shape == first.shape
    apart = np.abs(tiles.astype(int) - first.astype(int))
    assert apart.mean() < 3, apart.mean()
    state, own = whole.snapshot(), tiled.snapshot()
    assert {k: v.shape for k, v in own.items()} == {k: v.shape for k, v in state.items()}
    again = TiledWanDecoder(vae)
    again.restore(state)
    later = again.push(latents[:, :, 2:])
    back = WanStreamDecoder(vae)
    back.restore(own)
    assert back.push(latents[:, :, 2:]).shape == later.shape
    rest = whole.push(latents[:, :, 2:])
    assert np.abs(later.astype(int) - rest.astype(int)).mean() < 3
