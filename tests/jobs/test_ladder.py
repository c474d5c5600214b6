"""The steps down when memory runs out."""

from __future__ import annotations

import pytest

from studio.core.request import parse_request
from studio.jobs.ladder import rungs
from tests.stitching.plans import preset

SMALL = preset(limits={"sizes": [[128, 128], [96, 96], [128, 96]]})


@pytest.mark.parametrize(
    ("offload", "stronger"),
    [("none", ["model", "disk"]), ("auto", ["model", "disk"]), ("block", ["disk"]), ("disk", [])],
)
def test_offloads_come_first_then_sizes_from_the_largest(offload: str, stronger: list[str]) -> None:
    request = parse_request({"kind": "t2v", "prompt": "a ball", "offload": offload})
    found = rungs(request, SMALL)
    assert [rung.changes["offload"] for rung in found] == [*stronger, "disk", "disk"]
    sizes = [(rung.changes["width"], rung.changes["height"]) for rung in found[len(stronger) :]]
    assert sizes == [(128, 96), (96, 96)]
    assert all("finished windows are kept" in rung.sentence for rung in found[: len(stronger)])
    assert "128x96" in found[-2].sentence


def test_a_clip_that_is_continued_keeps_its_size() -> None:
    data = {"kind": "t2v", "prompt": "a ball", "continue_from": "clip", "offload": "disk"}
    assert rungs(parse_request(data), SMALL) == []
