"""Plans: every kept frame covered, none twice in the output, the length exact; and refusals."""

from __future__ import annotations

import re
from itertools import product

import pytest

from studio.core.errors import RequestError
from studio.stitching.layout import PrefixRule, prefix_windows, windows_at
from studio.stitching.windows import (
    prompt_shares,
    retake_window,
    step_windows,
    window_seed,
)
from tests.stitching.plans import plan, preset


def check_output(made) -> None:
    """Video frames are covered in order, once each, and add up to the plan's."""
    at = 0
    for window in made.windows:
        assert window.first_frame == at
        at += window.frames
    assert at == made.frames
    edges = [0] + [span.stop for span in made.prompts]
    assert [span.start for span in made.prompts] == edges[:-1]
    assert edges[-1] == made.latent_frames


# --- layouts over all small sizes


@pytest.mark.parametrize(("full", "exact"), list(product([True, False], repeat=2)))
def test_prefix_windows_cover_every_frame_once(full: bool, exact: bool) -> None:
    cases = 0
    for size in range(2, 9):
        for overlap, total, before in product(range(1, size), range(1, 30), range(4)):
            rule = PrefixRule(size, overlap, full, exact)
            spans = prefix_windows(before, before + total, before, rule)
            new = [frame for span in spans for frame in range(*span.new)]
            assert new == list(range(before, before + total))
            for index, span in enumerate(spans):
                assert span.start >= 0
                assert span.stop - span.start <= size
                assert span.new[0] < span.new[1]
                assert span.pinned == (overlap if index else min(overlap, before))
                if full and not exact:
                    assert span.stop - span.start == size
                if exact:
                    assert span.stop <= before + total
            if full and exact and len(spans) > 1:
                assert all(span.stop - span.start == size for span in spans)
            assert sum(span.discard for span in spans[:-1]) == 0 or exact
            # No layout of full windows has fewer passes.
            room = size - min(overlap, before)
            assert len(spans) == 1 + max(0, -(-(total - room) // (size - overlap)))
            cases += 1
    assert cases > 3000


def test_shifted_windows_cover_every_frame_and_count_exactly() -> None:
    cases = 0
    for size, total, shift in product(range(1, 9), range(1, 26), range(8)):
        for step, ends in product(range(6), ("ring", "clamped")):
            rule = {"window_frames": size, "shift_frames": shift, "total_frames": total}
            windows = windows_at(step, ends=ends, **rule)
            assert {frame for window in windows for frame in window} == set(range(total))
            least = -(-total // size)
            if ends == "ring":
                assert len(windows) == least
            else:
                assert least <= len(windows) <= least + 1
                assert all(list(w) == list(range(w[0], w[0] + len(w))) for w in windows)
            for window in windows:
                assert len(window) == min(size, total)
                assert len(set(window)) == len(window)
            cases += 1
    assert cases > 15000


def test_windows_move_backwards_by_the_shift_on_the_ring() -> None:
    rule = {"window_frames": 7, "shift_frames": 3, "ends": "ring", "total_frames": 21}
    assert windows_at(0, **rule)[0] == (0, 1, 2, 3, 4, 5, 6)
    assert windows_at(1, **rule)[0] == (18, 19, 20, 0, 1, 2, 3)
    assert windows_at(7, **rule)[0] == (0, 1, 2, 3, 4, 5, 6)


def test_shifted_windows_never_cross_a_cut() -> None:
    for step, total, cut in product(range(8), range(4, 24), range(1, 4)):
        windows = windows_at(
            step,
            window_frames=5,
            shift_frames=2,
            ends="clamped",
            total_frames=total,
            cuts=(cut,),
        )
        assert {frame for window in windows for frame in window} == set(range(total))
        assert all((window[0] < cut) == (window[-1] < cut) for window in windows)


# --- whole plans


@pytest.mark.parametrize("method", ["overlap-prefix", "position-shift"])
def test_twenty_seconds_are_249_frames(method: str) -> None:
    made = plan(seconds=20, method=method)
    assert (made.frames, made.latent_frames, made.method) == (249, 63, method)
    check_output(made)
    assert "249" in made.notices[0]


def test_two_seconds_are_one_window_of_25_frames() -> None:
    made = plan()
    assert (made.frames, made.latent_frames, made.method) == (25, 7, "single")
    assert made.notices == ()
    assert len(made.windows) == 1
    assert made.windows[0].cut
    assert made.forwards == 1 * 20 * 2  # window x steps x branches


@pytest.mark.parametrize("mode", ["t2v", "i2v", "flf2v"])
@pytest.mark.parametrize("full", [True, False])
def test_every_length_and_overlap_is_covered_exactly(mode: str, full: bool) -> None:
    model = preset(long={"full_windows": full})
    images = {"t2v": {}, "i2v": {"image": "a.png"}}.get(mode, {"image": "a.png", "last_image": "b"})
    for latents, overlap in product(range(1, 40), range(1, 7)):
        frames = 4 * (latents - 1) + 1
        for method in ("overlap-prefix", "position-shift"):
            made = plan(
                model, kind=mode, frames=frames, overlap_frames=overlap, method=method, **images
            )
            assert made.frames == frames
            assert made.latent_frames == latents
            check_output(made)
            last = made.windows[-1]
            if mode == "flf2v":
                assert last.pinned_end == 1
                assert last.stop == latents
                assert last.discard == 0


def test_forwards_of_both_methods() -> None:
    ring = plan(seconds=20, method="position-shift", ends="ring")
    assert ring.forwards == 9 * 20 * 2  # 248 frames are 62 latents: ceil(62 / 7) windows
    clamped = plan(seconds=20, method="position-shift")
    assert ring.forwards <= clamped.forwards <= 10 * 20 * 2
    assert clamped.forwards == 2 * sum(len(step_windows(clamped, i)) for i in range(20))
    prefix = plan(seconds=20, method="overlap-prefix", guidance_scale=1)
    assert prefix.forwards == len(prefix.windows) * 20  # guidance 1: one branch
    assert plan(preset(guidance="embedded")).branches == 1


def test_every_request_length_rounds_to_the_rule() -> None:
    for rule, stride, first in (("4k+1", 4, 1), ("8k+1", 8, 1), ("6k+1", 6, 1), ("24k", 24, 24)):
        model = preset(frame_rule=rule, long={"window_frames": 20})
        for frames in range(1, 90):
            made = plan(model, frames=frames)
            assert (made.frames - first) % stride == 0
            assert abs(made.frames - frames) <= stride // 2 or frames < first
            assert bool(made.notices) == (made.frames != frames)
            check_output(made)


def test_sound_sets_the_length_and_is_never_cut_off() -> None:
    model = preset(modes=["avatar"])
    for tenths in range(1, 90):
        made = plan(model, kind="avatar", image="a.png", audio=["a.wav"], audio_seconds=tenths / 10)
        assert made.frames >= tenths / 10 * 12.5 - 1e-6
        assert made.frames < tenths / 10 * 12.5 + 4
        check_output(made)


def test_three_branches_only_with_an_own_audio_scale() -> None:
    model = preset(modes=["avatar"])
    base = {"kind": "avatar", "image": "a.png", "audio": ["a.wav"]}
    assert plan(model, **base).branches == 2
    assert plan(model, **base, audio_guidance_scale=5).branches == 3
    assert plan(model, **base, audio_guidance_scale=2.5).branches == 2


# --- shots


def shots(*items):
    return {
        "shots": [dict(zip(("prompt", "seconds", "join"), item, strict=False)) for item in items]
    }


@pytest.mark.parametrize("method", ["overlap-prefix", "position-shift"])
@pytest.mark.parametrize("mode", ["t2v", "flf2v"])
def test_shots_of_all_lengths_and_joins_are_covered(method: str, mode: str) -> None:
    images = {} if mode == "t2v" else {"image": "a", "last_image": "b"}
    for a, b, c in product((0.1, 1.0, 2.0, 3.3), repeat=3):
        for joins in product(("cut", "continue"), repeat=2):
            made = plan(
                kind=mode,
                method=method,
                prompt="",
                **images,
                **shots(("one", a), ("two", b, joins[0]), ("three", c, joins[1])),
            )
            check_output(made)
            assert len(made.cuts) == joins.count("cut")
            assert [span.prompt for span in made.prompts] == ["one", "two", "three"]
            for window in made.windows:
                assert not any(window.start < cut < window.stop for cut in made.cuts) or (
                    window.discard
                )


def test_a_shot_starts_with_its_own_prompt_and_a_cut_without_prefix() -> None:
    made = plan(
        prompt="",
        **shots(("one", 2.0), ("two", 2.0, "continue"), ("three", 2.0, "cut")),
        overlap_frames=1,
    )
    rows = [(w.prompt, w.start, w.stop, w.pinned, w.cut, w.first_frame) for w in made.windows]
    # 50 frames in the first stretch round to 49 = 13 latents: 7, then 6 new after 1 pinned.
    assert rows == [
        ("one", 0, 7, 0, True, 0),
        ("two", 6, 13, 1, False, 25),
        ("three", 13, 20, 0, True, 49),
    ]
    assert made.frames == 74
    assert made.cuts == (13,)


def test_prompt_shares_of_a_window_across_a_join() -> None:
    made = plan(prompt="", method="position-shift", **shots(("one", 2.0), ("two", 2.0)))
    assert prompt_shares(made, (5, 6, 7, 8)) == {"one": 0.5, "two": 0.5}
    assert made.windows[0].prompt == "one"
    assert made.windows[1].prompt == "two"


# --- continuing a clip


@pytest.mark.parametrize("method", ["overlap-prefix", "position-shift"])
def test_a_continued_clip_gets_only_new_frames(method: str) -> None:
    for frames in range(1, 80):
        made = plan(continue_from="a.mp4", frames=frames, method=method)
        assert made.given_frames == 2
        assert made.frames % 4 == 0
        assert made.latent_frames == 2 + made.frames // 4
        check_output(made)
        if method == "overlap-prefix":
            assert made.windows[0].pinned == 2
        assert not made.windows[0].cut


# --- making one window anew


@pytest.mark.parametrize("method", ["overlap-prefix", "position-shift"])
def test_a_retaken_window_makes_its_own_frames_between_fixed_neighbours(method: str) -> None:
    for latents, overlap in product(range(8, 30), range(1, 7)):
        made = plan(frames=4 * latents - 3, overlap_frames=overlap, method=method)
        for window in made.windows:
            again = retake_window(made, window.index, seed=5, prompt="a blue ball")
            first, last = window.index == 0, window.index == len(made.windows) - 1
            assert (again.first_frame, again.frames) == (window.first_frame, window.frames)
            assert (again.seed, again.prompt) == (5, "a blue ball")
            assert (again.pinned >= 1) == (not first)
            assert (again.pinned_end, again.discard) == ((0, 0) if last else (1, 1))
            new = made.frames if last else made.windows[window.index + 1].first_frame
            assert (again.stop - again.discard - 1) * 4 + 1 == new
            assert again.stop - again.start <= 7 + 2


def test_only_a_window_that_is_there_can_be_retaken() -> None:
    with pytest.raises(RequestError, match=re.escape("windows 0 to 0 (got 3); choose one")):
        retake_window(plan(), 3, seed=1)


# --- seeds


def test_window_seeds_differ_and_depend_on_seed_and_index_alone() -> None:
    made = plan(seconds=20, seed=7)
    seeds = [window.seed for window in made.windows]
    assert seeds[0] == 7
    assert len(set(seeds)) == len(seeds)
    assert seeds == [window_seed(7, k) for k in range(len(seeds))]
    assert all(0 <= seed < 2**63 for seed in seeds)
    shifted = plan(seconds=20, seed=7, method="position-shift")
    assert {window.seed for window in shifted.windows} == {7}


# --- refusals


REFUSED = [
    ({"kind": "avatar", "image": "a", "audio": ["b"]}, {}, "does not make a speaking portrait"),
    ({"num_inference_steps": 150}, {}, "at most 100 steps (got 150); lower the steps to 100"),
    ({"seconds": 300}, {}, "at most 120 s"),
    ({"width": 256, "height": 256}, {}, "makes 128x128, 128x96 (got 256x256); choose one"),
    ({"width": 100}, {}, "makes 128x128, 128x96 (got 100xany); choose one"),
    (
        {"width": 250, "height": 256},
        {"limits": {"any_size": True, "size_multiple": 32}},
        "multiples of 32 (got 250x256); try 256x256",
    ),
    ({"overlap_frames": 7}, {}, "less than the window of 7 latent frames (got 7); try 2"),
    ({"shift_frames": 9}, {}, "less than the window of 7 latent frames (got 9); try 3"),
    (
        {"seconds": 20, "method": "position-shift"},
        {"long": {"methods": ["overlap-prefix"], "reason": "its VAE is not causal"}},
        "does not offer position-shift: its VAE is not causal; choose overlap-prefix",
    ),
    (
        {"seconds": 20},
        {"long": {"methods": []}},
        "one shot of at most 25 frames (2 s) (got 249 frames); shorten the clip or choose",
    ),
    (
        {"prompt": "", **shots(("a", 0.5), ("b", 0.5))},
        {"long": {"methods": []}},
        "(got 2 shots); shorten the clip or choose",
    ),
    (
        {"ends": "ring", "method": "overlap-prefix"},
        {},
        "needs position-shift (got overlap-prefix with pocket); choose position-shift",
    ),
    ({"ends": "ring"}, {"long": {"methods": ["overlap-prefix"]}}, "needs position-shift"),
    (
        {"kind": "flf2v", "image": "a", "last_image": "b", "ends": "ring"},
        {},
        "has no first and last frame",
    ),
    ({"ends": "ring", "continue_from": "a.mp4"}, {}, "has no first and last frame"),
    ({"prompt": "", "ends": "ring", **shots(("a", 3), ("b", 3, "cut"))}, {}, "has no cuts"),
]


@pytest.mark.parametrize(("request_", "changes", "words"), REFUSED)
def test_refusals_say_rule_value_and_remedy(request_: dict, changes: dict, words: str) -> None:
    with pytest.raises(RequestError, match=re.escape(words)) as caught:
        plan(preset(**changes), **request_)
    assert ";" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_ring_of_a_short_clip_is_one_turning_window() -> None:
    """All latents of a loop stand for 4 frames; a model of full windows makes at least 7."""
    made = plan(ends="ring")
    assert (made.method, made.frames, made.latent_frames) == ("position-shift", 28, 7)
    assert made.forwards == 1 * 20 * 2
    assert {len(step_windows(made, i)) for i in range(20)} == {1}
    assert plan(preset(long={"full_windows": False}), ends="ring").latent_frames == 6


def test_the_ring_covers_every_length() -> None:
    for frames in range(1, 300, 3):
        made = plan(ends="ring", frames=frames)
        assert made.frames == 4 * made.latent_frames
        check_output(made)
    made = plan(prompt="", ends="ring", **shots(("one", 3.0), ("two", 3.0)))
    check_output(made)
    assert made.frames == 76  # 75 rounds to 19 latents of 4


def test_sizes_complete_each_other() -> None:
    assert (plan(width=128, height=96).height, plan(height=96).width) == (96, 128)
    wide = preset(limits={"any_size": True, "size_multiple": 32})
    assert plan(wide, width=256, height=64).width == 256


def test_an_explicit_method_on_a_short_clip_is_said_to_change_nothing() -> None:
    assert "fits one window" in plan(method="position-shift").notices[0]
    assert "2 times as fast" in plan(fps=25, frames=25).notices[0]
