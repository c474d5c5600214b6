"""Frame rules over all small lengths."""

from __future__ import annotations

import pytest

from studio.core.errors import RequestError
from studio.core.geometry import fit_frames, parse_rule

RULES = ["4k+1", "8k+1", "6k+1", "1k+1", "24k", "17k", "1k", "17x(4k+1)", "9x(4k+1)", "7x(2k+3)"]


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


@pytest.mark.parametrize("text", ["", "4", "k+1", "4k-1", "0k+1", "4k+1+1", "four", "17x4k+1"])
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="looks like 4k"):
        parse_rule(text)


def test_rules_print_as_they_are_written() -> None:
    assert [str(parse_rule(text)) for text in ("4k+1", " 8 k + 1", "24k", "17x(4k+1)")] == [
        "4k+1",
        "8k+1",
        "24k",
        "17x(4k+1)",
    ]


def test_every_micro_batch_begins_with_a_frame_of_its_own() -> None:
    rule = parse_rule("17x(4k+1)")
    assert [rule.latent_frames(n) for n in (17, 51, 102, 204, 408)] == [5, 15, 30, 60, 120]
    for frames in range(1, 300):
        # Counted frame by frame: a chunk's first alone, then groups of four.
        counted = sum(1 for i in range(frames) if i % 17 == 0 or (i % 17) % 4 == 1)
        if rule.is_valid(frames):
            assert rule.latent_frames(frames) == counted
        else:
            assert counted == rule.latent_frames(rule.at_least(frames))


@pytest.mark.parametrize("text", RULES)
def test_lengths_are_rounded_padded_or_cut_and_it_is_said(text: str) -> None:
    rule = parse_rule(text)
    valid = [rule.pixel_frames(k) for k in range(1, 200)]
    for frames in range(rule.first, 150):
        expected = {
            "round": min(valid, key=lambda v: (abs(v - frames), v)),
            "pad": min(v for v in valid if v >= frames),
            "cut": max(v for v in valid if v <= frames),
        }
        for how in ("round", "pad", "cut"):
            made = fit_frames(frames, rule, how)
            assert made.frames == expected[how]
            assert (made.notice == "") == (frames in valid)
            assert made.notice == "" or f"{frames} frames were" in made.notice


def test_what_is_shorter_than_the_shortest_clip_is_not_cut() -> None:
    with pytest.raises(RequestError, match="at least 24 frames"):
        fit_frames(5, parse_rule("24k"), "cut")


@pytest.mark.parametrize("text", ["16x(4k+1)", "17x(0k+1)", "1x(4k+3)"])
def test_a_chunk_that_breaks_its_own_rule_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="fits the rule inside it"):
        parse_rule(text)
