"""The editor on real files: every edit makes a new clip or file and leaves the old one alone."""

from __future__ import annotations

import wave
from types import SimpleNamespace

import numpy as np
import pytest

from studio.core.errors import StudioError
from studio.media.decode import probe
from studio.ui import editing
from studio.ui.editing import NEEDS, make_edit, shown_fields
from tests.ui.conftest import OWNER

VALUES = {
    "start": 0.4,
    "stop": 1.2,
    "style": "ping-pong",
    "times": 2,
    "others": [],
    "fade": 0.2,
    "sound": None,
    "keep": False,
    "side": 64,
    "at": 0.5,
    "model": None,
}


@pytest.fixture
def clips(studio, engine):
    """Two finished clips of OWNER."""
    for seed in (1, 2):
        engine.submit({"kind": "t2v", "prompt": "a red ball", "seed": seed}, OWNER)
    return [studio.finish(studio.claim()) for _ in range(2)]


def run(engine, clip_id, kind, owner=OWNER, **more):
    """`make_edit` with VALUES and `more`; components are stood for by their names."""
    fields = {name: name for names in NEEDS.values() for name in names}
    editor = SimpleNamespace(clip="clip", kind="kind", fields=fields)
    data = {"clip": clip_id, "kind": kind, **VALUES, **more}
    return make_edit(engine, editor, owner, data)


def sound(engine) -> str:
    """A second of a tone, uploaded."""
    folder = engine.settings.cache_dir / "up"
    folder.mkdir(parents=True)
    path = folder / "tone.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(22_050)
        tone = np.sin(np.arange(22_050) / 22_050 * 440 * 6.283) * 9000
        file.writeframes(tone.astype("<i2").tobytes())
    return str(path)


def test_trim_loop_join_and_sound_make_new_clips(engine, clips):
    first, second = clips
    before = engine.library.path(first).read_bytes()
    old = engine.library.get(first)
    made = {
        "trim": run(engine, first, "trim"),
        "ping": run(engine, first, "loop"),
        "ring": run(engine, first, "loop", style="ring", times=1),
        "join": run(engine, first, "join", others=[second]),
        "sound": run(engine, first, "sound", sound={"path": sound(engine)}),
    }
    found = {name: engine.library.get(clip_id) for name, (clip_id, _) in made.items()}
    fps, frames = old.summary["fps"], old.summary["frames"]
    fade = round(0.2 * fps)
    assert found["trim"].summary["frames"] == round(1.2 * fps) - round(0.4 * fps)
    assert found["ping"].summary["frames"] == 2 * (2 * frames - 2)
    assert found["ring"].summary["frames"] == frames - fade
    assert found["join"].summary["frames"] == 2 * frames - fade
    assert probe(found["sound"].path).has_audio
    assert all(clip.owner == OWNER for clip in found.values())
    assert all(clip.summary["edited_from"] == first for clip in found.values())
    assert all(clip.prompt == old.prompt for clip in found.values())
    assert engine.library.path(first).read_bytes() == before


def test_a_gif_and_a_poster_are_files_that_the_page_may_serve(engine, clips):
    for kind, magic in (("gif", b"GIF8"), ("still", b"\x89PNG")):
        clip_id, file = run(engine, clips[0], kind)
        assert clip_id == ""
        assert file.read_bytes().startswith(magic)
        assert file.is_relative_to(engine.settings.cache_dir)


@pytest.mark.parametrize(
    ("kind", "more", "said"),
    [
        ("trim", {"start": 1.5, "stop": 1.0}, "at least one frame"),
        ("trim", {"start": "x"}, "start is a number"),
        ("trim", {"stop": float("nan")}, "ordinary number"),
        ("loop", {"times": 99}, "repeated 1 to"),
        ("loop", {"style": "x"}, "a loop is"),
        ("join", {}, "at least two clips"),
        ("join", {"others": ["../../etc/passwd"]}, "not here"),
        ("sound", {}, "choose a sound"),
        ("sound", {"sound": "/etc/passwd"}, "not here"),
        ("gif", {"side": 100_000}, "32 to 1280"),
        ("still", {"at": 99}, "a time in this clip"),
        ("larger", {"model": "../x.safetensors"}, "no upscaling network"),
        ("fly", {}, "no edit"),
    ],
)
def test_what_cannot_be_done_is_said(engine, clips, kind, more, said):
    with pytest.raises(StudioError, match=said):
        run(engine, clips[0], kind, **more)


def test_nobody_edits_what_is_not_theirs(engine, clips):
    with pytest.raises(StudioError, match="not here"):
        run(engine, clips[0], "trim", owner="c" * 32)


def test_every_edit_shows_its_own_fields():
    fields = {name: name for names in NEEDS.values() for name in names}
    for kind, needed in NEEDS.items():
        shown = shown_fields(SimpleNamespace(fields=fields), kind)
        assert {name for name, update in shown.items() if update["visible"]} == set(needed)
    assert set(NEEDS) == set(editing.KINDS)
