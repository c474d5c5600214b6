"""A clip says how it was made; what it says is never trusted."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from studio.core.errors import MediaError, RequestError
from studio.core.request import (
    AudioAvatar,
    FirstLastFrame,
    ImageToVideo,
    Lora,
    Request,
    Shot,
    TextToVideo,
)
from studio.media.metadata import (
    MAX_TAG_BYTES,
    clip_tags,
    parameters_text,
    read_metadata,
    without_folders,
)
from studio.media.mux import ClipWriter, concat_segments

REQUESTS: list[Request] = [
    TextToVideo(prompt="a red ball; é 好\nx", negative_prompt="blur", seed=2**62, fps=12.5),
    TextToVideo(shots=(Shot(prompt="one", seconds=1), Shot(prompt="two", seconds=2, join="cut"))),
    ImageToVideo(image="in.png", prompt="it turns", loras=(Lora(path="a.safetensors"),)),
    FirstLastFrame(image="a.png", last_image="b.png", fit="pad"),
    AudioAvatar(image="a.png", audio=("x.wav", "y.wav")),
]


def clip(path: Path, tags: dict[str, str]) -> Path:
    with ClipWriter(path, 8, (16, 16), tags) as writer:
        writer.write(np.zeros((2, 16, 16, 3), np.uint8))
    return path


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda r: r.mode)
def test_request_comes_back_from_the_clip(tmp_path: Path, request_: Request) -> None:
    summary = {"seed": 5, "width": 16, "windows": [{"seed": 5}], "path": "/home/x/secret.mp4"}
    path = clip(tmp_path / "a.mp4", clip_tags(request_, summary))
    found = read_metadata(path)
    assert found.request == request_
    assert found.source == "comment"
    assert found.notices == ()
    assert found.summary == {"seed": 5, "width": 16, "windows": [{"seed": 5}]}


def test_joining_keeps_the_tags(tmp_path: Path) -> None:
    tags = clip_tags(REQUESTS[0])
    concat_segments([clip(tmp_path / "s.mp4", {})], tmp_path / "out.mp4", tags)
    assert read_metadata(tmp_path / "out.mp4").request == REQUESTS[0]


def test_folders_are_not_told(tmp_path: Path) -> None:
    request = AudioAvatar(
        image="/home/me/secret/face.png",
        audio=("C:\\me\\secret\\a.wav", "/secret/b.wav"),
        loras=(Lora(path="/secret/style.safetensors", weight=0.5),),
    )
    tags = clip_tags(request)
    assert not [text for text in tags.values() if "secret" in text]
    back = read_metadata(clip(tmp_path / "a.mp4", tags)).request
    assert isinstance(back, AudioAvatar)
    assert (back.image, back.audio) == ("face.png", ("a.wav", "b.wav"))
    assert back.loras == (Lora(path="style.safetensors", weight=0.5),)


def test_paths_of_a_stranger_become_names(tmp_path: Path) -> None:
    record = {"request": {"kind": "i2v", "image": "../../etc/passwd", "loras": [{"path": "/x/y"}]}}
    found = read_metadata(clip(tmp_path / "a.mp4", {"comment": json.dumps(record)})).request
    assert isinstance(found, ImageToVideo)
    assert (found.image, found.loras[0].path) == ("passwd", "y")
    assert without_folders({"image": "..", "audio": ["/"]}) == {"image": "..", "audio": ["unknown"]}


def test_unknown_settings_are_reported_not_fatal(tmp_path: Path) -> None:
    record = {"request": {"kind": "t2v", "prompt": "x", "warp_speed": 9, "<script>": 1}}
    found = read_metadata(clip(tmp_path / "a.mp4", {"comment": json.dumps(record)}))
    assert found.request == TextToVideo(prompt="x")
    assert "warp_speed" in found.notices[0]


@pytest.mark.parametrize(
    "comment",
    [
        "not json",
        "[" * 100_000,
        "null",
        "[]",
        '{"request": 5}',
        '{"request": {"kind": ["t2v"]}}',
        '{"request": {"kind": "t2v", "prompt": "x", "seconds": NaN}}',
        '{"request": {"kind": "t2v", "prompt": "x", "seconds": 1e9}}',
        '{"request": {"kind": "t2v", "prompt": {"a": 1}}}',
        '{"request": {"kind": "t2v", "prompt": "x", "seed": ' + "9" * 5000 + "}}",
    ],
)
def test_hostile_comments_are_one_sentence(tmp_path: Path, comment: str) -> None:
    path = clip(tmp_path / "a.mp4", {"comment": comment})
    with pytest.raises(MediaError, match="cannot be used") as caught:
        read_metadata(path)
    assert len(str(caught.value)) < 400


def test_an_overlong_comment_is_ignored(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mp4", {"comment": "x" * (MAX_TAG_BYTES + 1)})
    with pytest.raises(MediaError, match="does not say how"):
        read_metadata(path)


def test_the_sidecar_helps_when_the_container_says_nothing(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mp4", {})
    sidecar = tmp_path / "a.json"
    sidecar.write_text(json.dumps({"schema": 1, "request": {"kind": "t2v", "prompt": "x"}}))
    assert read_metadata(path).source == "sidecar"
    assert read_metadata(sidecar).request == TextToVideo(prompt="x")
    sidecar.write_bytes(b"{" + b" " * MAX_TAG_BYTES)
    with pytest.raises(MediaError, match="at most"):
        read_metadata(sidecar)
    sidecar.write_bytes(b"\xff\xfe")
    with pytest.raises(MediaError):
        read_metadata(sidecar)


def test_text_of_other_tools_is_understood(tmp_path: Path) -> None:
    text = (
        "a cat, on a mat\nin the sun\nNegative prompt: blurry, dark\n"
        "Steps: 20, Sampler: Euler a, CFG scale: 7.5, Seed: 123, Size: 512x768, Model: abc"
    )
    found = read_metadata(clip(tmp_path / "a.mp4", {"parameters": text}))
    assert found.source == "parameters"
    assert found.request == TextToVideo(
        prompt="a cat, on a mat in the sun",
        negative_prompt="blurry, dark",
        num_inference_steps=20,
        guidance_scale=7.5,
        seed=123,
        width=512,
        height=768,
    )


def test_text_of_other_tools_out_of_range_is_reported(tmp_path: Path) -> None:
    text = "a cat\nSteps: 9999, Seed: -1, Size: 1x1, CFG scale: nan"
    found = read_metadata(clip(tmp_path / "a.mp4", {"parameters": text}))
    assert found.request == TextToVideo(prompt="a cat")
    assert "num_inference_steps, width, height" in found.notices[-1]


def test_own_parameters_text_can_be_read_by_others() -> None:
    request = TextToVideo(prompt="a ball", num_inference_steps=8, guidance_scale=3.0)
    text = parameters_text(request, {"width": 128, "height": 96, "seed": 7, "fps": 12.5})
    assert (
        text == "a ball\nSteps: 8, CFG scale: 3.0, Seed: 7, Size: 128x96, Model: pocket, FPS: 12.5"
    )


def test_very_many_windows_do_not_overflow_the_tag() -> None:
    windows = [{"prompt": "x" * 4000, "seed": i} for i in range(200)]
    tags = clip_tags(REQUESTS[0], {"windows": windows, "seed": 1})
    assert len(tags["comment"].encode()) < MAX_TAG_BYTES
    assert json.loads(tags["comment"])["summary"] == {"seed": 1}


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    record=st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["request", "kind", "image", "audio", "loras", "prompt", "x"])
                | st.text(max_size=5),
                inner,
                max_size=4,
            )
        ),
    ),
    kind=st.sampled_from(["t2v", "i2v", "avatar"]),
)
def test_any_json_is_a_request_or_a_sentence(tmp_path: Path, record: object, kind: str) -> None:
    whole = {"request": {**record, "kind": kind}} if isinstance(record, dict) else record
    (tmp_path / "a.json").write_text(json.dumps(whole))
    with contextlib.suppress(MediaError, RequestError):
        assert read_metadata(tmp_path / "a.json").request.mode == kind
