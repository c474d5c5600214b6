"""Where a job's time went, and whether a clip came out the same again."""

from __future__ import annotations

from pathlib import Path

import pytest

from studio.core.errors import MediaError
from studio.core.events import Done, Progress, SegmentDone
from studio.core.request import TextToVideo
from studio.jobs.reproduce import compare, original_of, reproduce_key, request_again
from studio.jobs.store import JobStore
from studio.jobs.timeline import Spent, timeline
from studio.library.clip import Clip


class Told:
    """A store whose clock a test moves."""

    def __init__(self, folder: Path) -> None:
        self.now = 100.0
        self.store = JobStore(folder / "jobs.sqlite", clock=lambda: self.now)
        self.id = self.store.submit(TextToVideo(prompt="a ball"), "anna")
        self.store.claim("w", 1e9)

    def say(self, at: float, event: object) -> None:
        """The job says something at a time (s)."""
        self.now = at
        self.store.report(self.id, "w", event)

    def spent(self) -> tuple[Spent, ...]:
        """The timeline as it is now."""
        return timeline(self.store.get(self.id), self.store.events(self.id), self.now)


def test_seconds_and_bytes_are_told_by_stage_and_window(tmp_path: Path) -> None:
    told = Told(tmp_path)
    told.say(100, Progress("loading"))
    told.say(104, Progress("encoding"))
    told.say(105, Progress("sampling", 0, 2, 1, 2))
    told.say(109, Progress("sampling", 0, 2, 2, 2))
    told.say(110, Progress("decoding", 0, 2))
    told.say(112, SegmentDone(0, "w0.mp4", 0, 9, "aa", 4321))
    told.say(112, Progress("sampling", 1, 2, 0, 2))
    told.now = 115.5
    assert told.spent() == (
        Spent("loading", 0, 4.0),
        Spent("encoding", 0, 1.0),
        Spent("sampling", 0, 5.0),
        Spent("decoding", 0, 2.0),
        Spent("sampling", 1, 3.5),
        Spent("publishing", 0, 0.0, 4321),
    )


def test_the_time_between_two_attempts_is_nobodys(tmp_path: Path) -> None:
    told = Told(tmp_path)
    told.say(100, Progress("loading"))
    told.say(101, Progress("sampling", 0, 1, 0, 9))
    told.say(103, Progress("sampling", 0, 1, 4, 9))
    told.store.interrupt("w", "the machine slept", strike=False)
    told.store.revive()
    told.now = 90_000.0
    told.store.claim("w", 1e9)
    told.say(90_000, Progress("loading"))
    told.say(90_002, Progress("sampling", 0, 1, 9, 9))
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"x" * 77)
    told.say(90_006, Done("clip-1", str(clip), {}))
    told.now = 99_999.0
    assert told.spent() == (
        Spent("loading", 0, 3.0),
        Spent("sampling", 0, 6.0),
        Spent("finishing", 0, 0.0, 77),
    )


def test_a_job_that_said_nothing_has_no_timeline(tmp_path: Path) -> None:
    assert Told(tmp_path).spent() == ()


def clip(*hashes: object, **versions: str) -> Clip:
    return Clip(
        id="c",
        path=Path("c.mp4"),
        created="",
        request={"kind": "t2v", "prompt": "a", "seed": 4},
        summary={"seed": 9, "windows": [{"sha256": h} for h in hashes]},
        plan={},
        versions=versions,
        owner="anna",
        size_bytes=1,
    )


def test_equal_windows_are_the_same_clip() -> None:
    verdict = compare(clip("a", "b", torch="2.13"), clip("a", "b", torch="2.13"))
    assert verdict is not None
    assert verdict.same
    assert (verdict.windows, verdict.versions) == (2, ())


def test_what_differs_is_named() -> None:
    verdict = compare(clip("a", "b", "c", torch="2.13"), clip("a", "x", torch="2.14"))
    assert verdict is not None
    assert not verdict.same
    assert verdict.different == (1, 2)
    assert verdict.versions == ("torch",)


@pytest.mark.parametrize("hostile", [clip(), clip(None), clip("a", 7), clip({"a": 1})])
def test_a_clip_that_names_no_windows_is_not_compared(hostile: Clip) -> None:
    assert compare(hostile, clip("a")) is None
    with pytest.raises(MediaError, match="reuse its settings"):
        request_again(hostile)


def test_the_seed_that_was_used_is_used_again_and_the_job_knows_its_original(
    tmp_path: Path,
) -> None:
    assert request_again(clip("a"))["seed"] == 9
    store = JobStore(tmp_path / "jobs.sqlite")
    wish = TextToVideo(prompt="a ball")
    first, second = (store.submit(wish, "anna", reproduce_key("20260101-aa")) for _ in range(2))
    assert first != second
    assert original_of(store.get(first)) == "20260101-aa"
    assert original_of(store.get(store.submit(wish, "anna", "reproduce:x"))) is None
    store.close()
