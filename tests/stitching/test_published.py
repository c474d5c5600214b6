"""The published loops' plans against the recorded ones."""

from __future__ import annotations

import json

import pytest

from studio.core.errors import RequestError
from studio.stitching.windows import published_plan
from tests.shared_files import shared


@pytest.fixture(scope="module")
def golden() -> dict:
    return json.loads(shared("golden/stitch_plans.json").read_text(encoding="utf-8"))


def test_sonic_equals_the_recorded_plans(golden: dict) -> None:
    for frames, steps in golden["sonic"].items():
        plan = published_plan("sonic", int(frames), steps=len(steps))
        assert [[list(w.latents) for w in step] for step in plan.steps] == steps


def test_hva_equals_the_recorded_plans(golden: dict) -> None:
    for audio, known in golden["hva"].items():
        plan = published_plan("hva", int(audio), steps=len(known["plan"]))
        made = [
            [{"lat": list(w.latents), "aud": list(w.audio)} for w in step] for step in plan.steps
        ]
        assert made == known["plan"]
        assert (plan.padded_audio, plan.total, plan.keep) == (
            known["padded_audio"],
            known["N"],
            known["keep"],
        )


def test_omniavatar_equals_the_recorded_plans(golden: dict) -> None:
    for key, known in golden["omni"].items():
        audio, length, overlap = map(int, key.split("/"))
        plan = published_plan("omniavatar", audio, segment_frames=length, overlap_frames=overlap)
        made = [
            {
                "prefix_frames": s.prefix_frames,
                "prefix_latents": s.prefix_latents,
                "audio_new": [s.audio_start, s.audio_stop],
                "drop_frames": s.drop_frames,
                "frame_range": [s.frame_start, s.frame_stop],
            }
            for s in plan.segments
        ]
        assert made == known["segments"]
        assert (plan.latents, plan.padded_audio, plan.frames) == (
            known["T"],
            known["padded_audio"],
            known["final_frames"],
        )


def test_hva_hits_k_minus_one_latents_twice() -> None:
    """k windows of 33 on 32k + 1 latents: k - 1 latents are averaged at every step."""
    for audio in (130, 251, 400):
        plan = published_plan("hva", audio, steps=4)
        for step in plan.steps:
            hits = [p for w in step for p in w.latents]
            assert set(hits) == set(range(plan.total))
            assert len(hits) - plan.total == len(step) - 1


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(RequestError, match="sonic, hva and omniavatar"):
        published_plan("latentsync", 100)
