"""Events survive the store."""

from __future__ import annotations

import json

import pytest

from studio.core.events import (
    Done,
    Event,
    Failed,
    Notice,
    Preview,
    Progress,
    SegmentDone,
    from_json,
    to_json,
)

EVENTS = [
    Progress("sampling", 1, 3, 4, 20, 0.4, 12.5, "going"),
    Preview("a.webp", 1, 4),
    SegmentDone(0, "w.mp4", 0, 25, "abc"),
    Notice("rounded"),
    Done("id", "a.mp4", {"frames": 25}),
    Failed("MemoryError", "too big; choose offload: disk", True),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_survives_json(event: Event) -> None:
    assert from_json(json.loads(json.dumps(to_json(event)))) == event


def test_an_unknown_kind_is_an_error() -> None:
    with pytest.raises(KeyError):
        from_json({"kind": "Rumour"})
