"""One clip on two processes: by windows, by guidance branches, by the tokens of each forward."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from studio.core.errors import RequestError
from studio.core.preset import Preset
from studio.core.request import parse_request
from studio.core.settings import Settings
from studio.jobs.context import RunContext
from studio.jobs.runner import run
from studio.models.manager import ModelManager
from studio.scale.local import local_group
from studio.scale.shares import Share, share_out
from tests.parity import tiny


@dataclass(frozen=True)
class Made:
    """Latents of a clip and the evaluations they took."""

    latents: torch.Tensor
    forwards: int


class Maker:
    """Makes clips alone or with a group."""

    def __init__(self, folder: Path, preset: Preset) -> None:
        self.folder = folder
        self.preset = preset
        self.models = ModelManager(2**33, cache_dir=folder / "cache")
        self.count = 0

    def make(self, wish: dict[str, Any], spread: Any = None) -> Made:
        """The latents of `wish`."""
        self.count += 1
        work = self.folder / f"job{self.count}"
        work.mkdir()
        (self.folder / "out").mkdir(exist_ok=True)
        saved = work / "latents.safetensors"
        context = RunContext(
            job_id=work.name,
            work_dir=work,
            outputs_dir=self.folder / "out",
            cache_dir=self.folder / "cache",
            models=self.models,
            presets={self.preset.id: self.preset},
            emit=lambda _event: None,
            should_stop=lambda: False,
            save_latents=saved,
            out=work / "clip.mp4",
            spread=spread,
        )
        request = parse_request(
            {"kind": "t2v", "preset": self.preset.id, "prompt": "a red ball", "seed": 3, **wish}
        )
        done = run(request, context)
        return Made(load_file(saved)["latents"], done.summary["forwards"])


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory) -> Preset:
    folder = tmp_path_factory.mktemp("tiny")
    tiny.wan_pipeline("pocket").save_pretrained(folder)
    return tiny.preset_for(
        folder,
        ("t2v",),
        spatial_stride=16,
        latent_channels=48,
        options={"condition": "latents"},
        pin="mask_channels",
        defaults={"num_inference_steps": 3, "fps": 12.5, "guidance_scale": 2.0},
        limits={"size_multiple": 32},
        long={
            "methods": ["overlap-prefix", "position-shift"],
            "window_frames": 4,
            "overlap_frames": 1,
            "shift_frames": 1,
        },
    )


@pytest.fixture(scope="module")
def maker(tmp_path_factory: pytest.TempPathFactory, preset: Preset) -> Maker:
    return Maker(tmp_path_factory.mktemp("made"), preset)


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("data"), threads=1)
    with local_group(settings, 2) as opened:
        yield opened


SHIFT = {"method": "position-shift", "seconds": 2.0}
PREFIX = {"method": "overlap-prefix", "seconds": 2.0}


@pytest.mark.parametrize("wish", [SHIFT, PREFIX], ids=["windows", "branches"])
def test_two_processes_make_the_clip_of_one(maker: Maker, group: Any, wish: Any) -> None:
    alone = maker.make(wish)
    before = group.received
    together = maker.make(wish, group)
    # Half of all that was computed came from the other process.
    assert group.received - before >= alone.forwards // 4
    assert together.forwards == alone.forwards
    assert alone.latents.std() > 0.1
    assert torch.allclose(together.latents, alone.latents, atol=1e-5, rtol=0)


@pytest.mark.parametrize("by", ["ulysses", "ring"])
def test_two_processes_share_the_tokens_of_every_forward(maker: Maker, group: Any, by: str) -> None:
    alone = maker.make(PREFIX)
    group.by = by
    try:
        together = maker.make(PREFIX, group)
    finally:
        group.by = "windows"
    assert torch.allclose(together.latents, alone.latents, atol=1e-5, rtol=0)
    # Afterwards the transformer is whole again: nobody else has to take part.
    assert torch.equal(maker.make(PREFIX).latents, alone.latents)


def test_tokens_that_cannot_be_shared_evenly_are_refused_in_words() -> None:
    from studio.models.parallel import share_tokens

    # One process is a group of one: three of a kind cannot be shared by two.
    model = tiny.wan_transformer(48, 48)
    with pytest.raises(RequestError, match="heads"):
        share_tokens(model, "ulysses", 3)
    with pytest.raises(RequestError, match="no plan"):
        share_tokens(torch.nn.Linear(2, 2), "ring", 2)


@pytest.mark.parametrize("world", [1, 2, 3, 5])
@pytest.mark.parametrize("windows", [1, 2, 3, 8])
@pytest.mark.parametrize("branches", [1, 2])
def test_every_piece_of_a_step_is_computed_once(world: int, windows: int, branches: int) -> None:
    shares = share_out(windows, branches=branches, world=world)
    for window in range(windows):
        views = sorted(s.view for s in shares if s.window == window)
        assert views in (["guided"], ["negative", "positive"])
    loads = [
        sum(2 if s.view == "guided" else 1 for s in shares if s.rank == r) for r in range(world)
    ]
    assert sum(loads) == 2 * windows
    assert max(loads) <= 2 * -(-windows // world)


def test_branches_are_split_only_where_that_is_quicker() -> None:
    assert share_out(2, branches=2, world=2) == (Share(0, "guided", 0), Share(1, "guided", 1))
    assert [s.rank for s in share_out(3, branches=2, world=2)] == [0, 1, 0, 1, 0, 1]
    assert all(s.view == "guided" for s in share_out(1, branches=1, world=4))
