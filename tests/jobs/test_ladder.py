"""The steps down when memory runs out."""

from __future__ import annotations

import pytest

from studio.core.request import parse_request
from studio.jobs.ladder import below, rungs
from tests.stitching.plans import preset

SMALL = preset(
    limits={"sizes": [[128, 128], [96, 96], [128, 96]]},
    long={"full_windows": False},
)


@pytest.mark.parametrize(
    ("offload", "stronger"),
    [("none", ["model", "disk"]), ("auto", ["model", "disk"]), ("block", ["disk"]), ("disk", [])],
)
def test_offloads_come_first_then_sizes_from_the_largest(offload: str, stronger: list[str]) -> None:
    request = parse_request({"kind": "t2v", "prompt": "a ball", "offload": offload})
    found = rungs(request, SMALL)
    assert [rung.tile_vae for rung in found] == [True] + [False] * (len(found) - 1)
    kept = 1 + len(stronger)
    assert [rung.changes["offload"] for rung in found[1:kept]] == stronger
    assert all("finished windows are kept" in rung.sentence for rung in found[:kept])
    assert [rung.window_frames for rung in found[kept:]] == [4, None, None]
    assert all(rung.changes["offload"] == "disk" for rung in found[kept:])
    sizes = [(rung.changes["width"], rung.changes["height"]) for rung in found[kept + 1 :]]
    assert sizes == [(128, 96), (96, 96)]
    assert "128x96" in found[-2].sentence


def test_a_clip_that_is_continued_keeps_its_size() -> None:
    data = {"kind": "t2v", "prompt": "a ball", "continue_from": "clip", "offload": "disk"}
    assert [rung.tile_vae for rung in rungs(parse_request(data), SMALL)] == [True]


def test_a_killed_worker_goes_down_two_steps_and_windows_hold_their_overlap() -> None:
    request = parse_request({"kind": "t2v", "prompt": "a ball", "offload": "none"})
    assert below(request, SMALL, 0) == []
    assert below(request, SMALL, 1) == rungs(request, SMALL)[:2]
    wide = request.model_copy(update={"overlap_frames": 4})
    assert all(rung.window_frames is None for rung in rungs(wide, SMALL))
