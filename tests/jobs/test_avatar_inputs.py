"""What a talking portrait is given: every odd sound or face is an error at once, or is said."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from studio.core.errors import MediaError, RequestError
from studio.core.preset import load_presets
from studio.core.request import parse_request
from studio.core.settings import ROOT
from studio.jobs.inputs import audio_seconds, read_inputs
from studio.stitching.windows import make_plan

PRESETS = load_presets([ROOT / "presets"])


def write_sound(path: Path, samples: np.ndarray, rate: int = 16_000, layout: str = "mono") -> Path:
    """samples float32 [channels, n]."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("pcm_f32le", rate=rate, layout=layout)
        packed = np.ascontiguousarray(samples.T.reshape(1, -1).astype(np.float32))
        frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=layout)
        frame.sample_rate = rate
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            out.mux(packet)
    return path


def tone(seconds: float, rate: int = 16_000, channels: int = 1) -> np.ndarray:
    time = np.arange(int(seconds * rate)) / rate
    return np.tile(0.3 * np.sin(2 * np.pi * 440 * time), (channels, 1)).astype(np.float32)


@pytest.fixture
def portrait(tmp_path: Path) -> Path:
    path = tmp_path / "portrait.png"
    Image.new("RGB", (200, 150), "orange").save(path)
    return path


def read(portrait: Path, *sounds: Path, preset: str = "pocket-avatar", **more: object):
    """(plan, inputs, what was said)."""
    data = {"kind": "avatar", "preset": preset, "image": str(portrait)}
    request = parse_request({**data, "audio": [str(s) for s in sounds], **more})
    plan = make_plan(request, PRESETS[preset], audio_seconds=audio_seconds(request))
    said: list[str] = []
    return plan, read_inputs(request, plan, said.append), said


FACE = {"x": 30, "y": 20, "width": 60, "height": 70}
OTHER = {"x": 110, "y": 20, "width": 60, "height": 70}


@pytest.mark.parametrize("seconds", [0.5, 1.0, 3.333, 5.01])
def test_clip_and_sound_agree_to_one_frame(portrait: Path, tmp_path: Path, seconds: float) -> None:
    sound = write_sound(tmp_path / "a.wav", tone(seconds))
    plan, _, _ = read(portrait, sound, faces=[FACE])
    assert 0 <= plan.frames - seconds * plan.fps < 1
    assert sum(window.frames for window in plan.windows) == plan.frames


def test_the_longest_track_sets_the_length_and_it_is_said(portrait: Path, tmp_path: Path) -> None:
    a = write_sound(tmp_path / "a.wav", tone(1.0))
    b = write_sound(tmp_path / "b.wav", tone(2.0))
    plan, inputs, said = read(portrait, a, b, faces=[FACE, OTHER])
    assert plan.frames == 25
    assert len(inputs.faces) == 2
    assert any("1.00 s and 2.00 s" in note for note in said)


def test_silence_and_dull_sound_are_said(portrait: Path, tmp_path: Path) -> None:
    quiet = write_sound(tmp_path / "a.wav", np.zeros((1, 16_000), np.float32))
    _, _, said = read(portrait, quiet, faces=[FACE])
    assert any("silent" in note for note in said)
    dull = write_sound(tmp_path / "b.wav", tone(1.0, 8_000), rate=8_000)
    _, _, said = read(portrait, dull, faces=[FACE])
    assert any("8000 samples" in note for note in said)


def test_eight_channels_become_one(portrait: Path, tmp_path: Path) -> None:
    sound = write_sound(tmp_path / "a.wav", tone(1.0, channels=8), layout="7.1")
    _, _, said = read(portrait, sound, faces=[FACE])
    assert any("8 channels" in note for note in said)


def test_bad_sounds_are_refused_before_anything_is_loaded(portrait: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.wav"
    text.write_text("no sound at all")
    nan = tone(1.0)
    nan[0, 100] = np.nan
    bad = {
        "text": text,
        "nothing": write_sound(tmp_path / "none.wav", tone(0.01)),
        "nan": write_sound(tmp_path / "nan.wav", nan),
        "hour": write_sound(tmp_path / "hour.wav", np.zeros((1, 4_000 * 3_600), np.float32), 4_000),
        "picture": portrait,
    }
    for name, path in bad.items():
        with pytest.raises(MediaError) as error:
            read(portrait, path, faces=[FACE])
        assert str(error.value), name


def test_without_a_box_one_speaker_has_the_whole_picture(portrait: Path, tmp_path: Path) -> None:
    sound = write_sound(tmp_path / "a.wav", tone(1.0))
    _, inputs, said = read(portrait, sound)
    assert inputs.faces == () or len(inputs.faces) == 1
    assert inputs.faces or any("whole picture" in note for note in said)


def test_a_face_at_the_border_is_cut_and_one_outside_refused(
    portrait: Path, tmp_path: Path
) -> None:
    sound = write_sound(tmp_path / "a.wav", tone(1.0))
    border = {"x": 0, "y": 100, "width": 60, "height": 50}
    _, inputs, _ = read(portrait, sound, faces=[border])
    face = inputs.faces[0]
    assert face.x == 0
    assert face.y + face.height == 128
    with pytest.raises(RequestError, match="inside the portrait"):
        read(portrait, sound, faces=[{"x": 190, "y": 0, "width": 40, "height": 40}])


def test_speakers_and_rates_that_a_model_does_not_know(portrait: Path, tmp_path: Path) -> None:
    sound = write_sound(tmp_path / "a.wav", tone(1.0))
    with pytest.raises(RequestError, match="2 sounds and 5 faces"):
        read(portrait, sound, sound, faces=[FACE] * 5)
    with pytest.raises(RequestError, match="at most 1 speaker"):
        read(portrait, sound, sound, preset="omniavatar-1.3b", faces=[FACE, OTHER])
    with pytest.raises(RequestError, match="at most 2 speaker"):
        read(portrait, sound, sound, sound, faces=[FACE, OTHER, FACE])
    with pytest.raises(RequestError, match=r"25 or 12\.5 fps"):
        read(portrait, sound, preset="hunyuan-video-avatar", fps=24.0)
    plan, _, _ = read(portrait, sound, preset="hunyuan-video-avatar", fps=12.5)
    assert plan.fps == 12.5
    with pytest.raises(RequestError, match="multiples of 64"):
        read(portrait, sound, preset="hunyuan-video-avatar", width=720, height=720)
    with pytest.raises(RequestError, match="multiples of 16"):
        read(portrait, sound, preset="omniavatar-1.3b", width=408, height=720)
