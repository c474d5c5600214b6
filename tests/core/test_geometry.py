"""Frame rules over all small lengths."""

from __future__ import annotations

import pytest

from studio.core.errors import RequestError
from studio.core.geometry import parse_rule

RULES = ["4k+1", "8k+1", "6k+1", "1k+1", "24k", "17k", "1k"]


@pytest.mark.parametrize("text", RULES)
def test_frames_and_latent_frames_are_inverse(text: str) -> None:
    rule = parse_rule(text)
    for latents in range(1, 60):
        frames = rule.pixel_frames(latents)
        assert rule.is_valid(frames)
        assert rule.latent_frames(frames) == latents
    assert rule.pixel_frames(0) == 0


@pytest.mark.parametrize("text", RULES)
def test_nearest_and_at_least_agree_with_a_search(text: str) -> None:
    rule = parse_rule(text)
    valid = [rule.pixel_frames(k) for k in range(1, 200)]
    for tenths in range(1, 1200):
        frames = tenths / 10
        assert rule.nearest(frames) == min(valid, key=lambda v: (abs(v - frames), v))
    for frames in range(1, 150):
        assert rule.at_least(frames) == min(v for v in valid if v >= frames)
        assert rule.is_valid(frames) == (frames in valid)


def test_a_length_off_the_rule_is_refused_with_the_nearest() -> None:
    with pytest.raises(RequestError, match=r"length must be 4k\+1 frames \(got 42\); try 41"):
        parse_rule("4k+1").latent_frames(42)


@pytest.mark.parametrize("text", ["", "4", "k+1", "4k-1", "0k+1", "4k+1+1", "four"])
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="looks like 4k"):
        parse_rule(text)


def test_rules_print_as_they_are_written() -> None:
    assert [str(parse_rule(text)) for text in ("4k+1", " 8 k + 1", "24k")] == [
        "4k+1",
        "8k+1",
        "24k",
    ]
