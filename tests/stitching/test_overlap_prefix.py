"""Carries, windows in a row, and blending, on a toy codec with the causal 4k+1 rule."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from studio.core.geometry import parse_rule
from studio.core.plan import Window
from studio.core.preset import Preset
from studio.core.request import parse_request
from studio.stitching.blend import FrameMean, crossfade, match_colour, ramp
from studio.stitching.overlap_prefix import (
    added,
    noised_prefix,
    prefix_latents,
    run_windows,
    tail_frames,
)
from studio.stitching.windows import make_plan

RULE = parse_rule("4k+1")


def decode(latents: torch.Tensor) -> np.ndarray:
    """Latent 0 becomes one frame, every other one four equal frames."""
    values = latents[0, 0, :, 0, 0].numpy().astype(np.uint8)
    frames = np.repeat(values, [1] + [4] * (len(values) - 1))
    return np.broadcast_to(frames[:, None, None, None], (len(frames), 2, 2, 3)).copy()


def encode(frames: np.ndarray) -> torch.Tensor:
    """The mean of each latent's frames: 1, then 4 at a time."""
    values = frames.astype(np.float32)[:, 0, 0, 0]
    assert RULE.is_valid(len(values))
    rows = [values[0], *(values[i : i + 4].mean() for i in range(1, len(values), 4))]
    return torch.tensor(rows).view(1, 1, -1, 1, 1)


def clip(count: int) -> torch.Tensor:
    return (torch.arange(float(count)) * 4).view(1, 1, -1, 1, 1)


@pytest.mark.parametrize("overlap", [1, 2, 3, 4])
def test_latent_and_warm_carries_keep_each_latents_meaning(overlap: int) -> None:
    latents = clip(12)
    frames = decode(latents)
    for carry in ("latent", "reencode-warm"):
        made = prefix_latents(
            carry, overlap, rule=RULE, latents=latents, tail=lambda n: frames[-n:], encode=encode
        )
        assert torch.equal(made, latents[:, :, -overlap:])


def test_reencode_makes_the_first_latent_of_one_frame() -> None:
    asked = []

    def tail(n: int) -> np.ndarray:
        asked.append(n)
        return frames[-n:]

    frames = np.arange(45, dtype=np.uint8)[:, None, None, None] + np.zeros((1, 2, 2, 3), np.uint8)
    made = prefix_latents("reencode", 4, rule=RULE, latents=clip(12), tail=tail, encode=encode)
    # The last 13 frames are 32 to 44: one alone, then means of four.
    assert asked == [13]
    assert made.flatten().tolist() == [32.0, 34.5, 38.5, 42.5]


def test_warm_carry_of_a_short_clip_uses_what_is_there() -> None:
    latents = clip(3)
    frames = decode(latents)
    made = prefix_latents(
        "reencode-warm", 2, rule=RULE, latents=latents, tail=lambda n: frames[-n:], encode=encode
    )
    assert torch.equal(made, latents[:, :, -2:])


def test_tail_frames_bound_what_must_be_kept() -> None:
    assert tail_frames("latent", 4, RULE) == 0
    assert tail_frames("reencode", 4, RULE) == 13
    assert tail_frames("reencode-warm", 4, RULE) == 25


def plan(seconds: float, **more):
    preset = Preset.model_validate(
        {
            "id": "toy",
            "title": "Toy",
            "family": "toy",
            "modes": ["t2v"],
            "frame_rule": "4k+1",
            "spatial_stride": 8,
            "latent_channels": 1,
            "weights": {"source": "local", "licence": "Apache-2.0"},
            "defaults": {
                "seconds": 2,
                "fps": 12.5,
                "num_inference_steps": 2,
                "guidance_scale": 1,
            },
            "limits": {"sizes": [[16, 16]]},
            "long": {"methods": ["overlap-prefix"], "window_frames": 7, "full_windows": True},
            "memory": {"transformer_bytes": 1, "text_encoder_bytes": 1, "vae_bytes": 1},
        }
    )
    request = parse_request({"kind": "t2v", "prompt": "x", "seconds": seconds, **more})
    return make_plan(request, preset)


@pytest.mark.parametrize("overlap", [1, 2, 3])
@pytest.mark.parametrize("resume_at", [0, 1, 2])
def test_windows_in_a_row_make_one_clip_and_resume_makes_the_same(
    overlap: int, resume_at: int
) -> None:
    made = plan(10, overlap_frames=overlap)

    def make(window: Window, prefix: torch.Tensor | None) -> torch.Tensor:
        """Counts on from its prefix; the first window counts from 0."""
        first = 0.0 if prefix is None else float(prefix[0, 0, 0])
        return first + torch.arange(float(window.stop - window.start)).view(1, 1, -1, 1, 1)

    parts: list[torch.Tensor] = []

    def prefix(window: Window) -> torch.Tensor:
        return torch.cat(parts, 2)[:, :, -window.pinned :]

    for _, part in run_windows(made.windows[:resume_at], make=make, prefix=prefix):
        parts.append(part)
    for _, part in run_windows(made.windows[resume_at:], make=make, prefix=prefix):
        parts.append(part)
    whole = torch.cat(parts, 2)
    assert whole.flatten().tolist() == [float(i) for i in range(made.latent_frames)]


def test_added_refuses_latents_of_another_length() -> None:
    with pytest.raises(AssertionError):
        added(plan(2).windows[0], clip(3))


def test_noised_prefix_mixes_by_share_and_seed() -> None:
    prefix = torch.ones((1, 8, 2, 16, 16))
    assert torch.equal(noised_prefix(prefix, 0.0, torch.Generator().manual_seed(1)), prefix)
    a, b = (noised_prefix(prefix, 0.1, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(a, b)
    assert abs(float(a.mean()) - 0.9) < 0.01
    assert abs(float(a.std()) - 0.1) < 0.01


def test_frame_mean_leaves_single_cover_untouched_and_weights_the_rest() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn((1, 2, 3, 2, 2), generator=generator) for _ in range(2))
    mean = FrameMean(5)
    mean.add(first, (0, 1, 2))
    mean.add(second, (2, 3, 4), torch.tensor([3.0, 1.0, 1.0]))
    out = mean.result()
    assert torch.equal(out[:, :, :2], first[:, :, :2])
    assert torch.equal(out[:, :, 3:], second[:, :, 1:])
    assert torch.allclose(out[:, :, 2], (first[:, :, 2] + 3 * second[:, :, 0]) / 4)
    gap = FrameMean(4)
    gap.add(first, (0, 1, 2))
    with pytest.raises(AssertionError, match="no window"):
        gap.result()


def test_ramp_and_crossfade_are_even() -> None:
    assert ramp(3).tolist() == [0.25, 0.5, 0.75]
    zero, one = torch.zeros((1, 1, 3, 1, 1)), torch.ones((1, 1, 3, 1, 1))
    assert crossfade(zero, one).flatten().tolist() == [0.25, 0.5, 0.75]


def test_colour_match_undoes_a_gain_and_an_offset() -> None:
    generator = torch.Generator().manual_seed(0)
    clean = torch.randn((1, 3, 6, 8, 8), generator=generator)
    gain = torch.tensor([1.2, 0.8, 1.0]).view(1, 3, 1, 1, 1)
    drifted = clean * gain + 0.3
    back = match_colour(drifted, drifted[:, :, :2], clean[:, :, :2])
    assert torch.allclose(back, clean, atol=1e-5)
    assert torch.equal(match_colour(drifted, drifted, clean, share=0.0), drifted)
