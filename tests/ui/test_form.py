"""From a form to a request and back."""

from __future__ import annotations

import pytest

from studio.core.errors import RequestError
from studio.core.request import dump_request, parse_request
from studio.ui.form import (
    MAX_SEED,
    form_values,
    picture_path,
    read_seed,
    request_data,
    usable_draft,
)
from studio.ui.shell import build_page
from studio.ui.tab import find_tabs
from studio.ui.texts import texts

T = texts("en")
VALUES = {
    "preset": "pocket",
    "prompt": "a red ball rises",
    "negative": "",
    "seconds": 4,
    "seed": "7",
    "lock": True,
    "steps": 12.0,
    "guidance": 3.5,
    "method": "overlap-prefix",
    "overlap": 2,
    "shift": 0,
    "carry": "auto",
    "ends": "clamped",
    "cache": "none",
    "size": "128×128",
}


def test_a_form_becomes_the_request_it_says():
    request = parse_request(request_data(T, "t2v", VALUES))
    assert (request.seconds, request.seed, request.num_inference_steps) == (4, 7, 12)
    assert (request.width, request.height, request.overlap_frames) == (128, 128, 2)
    assert request.shift_frames is None


def test_a_request_goes_back_into_the_form_unchanged(studio):
    request = parse_request(request_data(T, "t2v", VALUES))
    back = form_values(dump_request(request), studio.presets["pocket"], {})
    assert {name: back[name] for name in VALUES} == VALUES


def test_what_a_request_leaves_open_is_the_presets_in_the_form(studio):
    back = form_values({"prompt": "x", "frames": 50}, studio.presets["pocket"], {})
    d = studio.presets["pocket"].defaults
    assert (back["steps"], back["guidance"]) == (d.num_inference_steps, d.guidance_scale)
    assert back["seconds"] == 4.0


@pytest.mark.parametrize("seed", [str(MAX_SEED), " 12 ", "0", 5])
def test_seeds_keep_every_digit(seed):
    assert str(read_seed(T, seed)) == str(seed).strip()


@pytest.mark.parametrize(
    "seed", ["", None, "-1", "1.5", "abc", "²", str(MAX_SEED + 1), "9" * 99, []]
)
def test_other_seeds_are_refused_with_a_sentence(seed):
    with pytest.raises(RequestError, match="a seed is a whole number"):
        read_seed(T, seed)


@pytest.mark.parametrize("size", ["128", "axb", "128x128", "²×²", "1×-1"])
def test_other_sizes_are_refused_with_a_sentence(size):
    with pytest.raises(RequestError, match="a size looks like"):
        request_data(T, "t2v", {**VALUES, "size": size})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seconds", 0),
        ("seconds", -1),
        ("seconds", float("nan")),
        ("seconds", 10_000),
        ("seconds", "abc"),
        ("steps", 0),
        ("steps", 1e9),
        ("guidance", float("inf")),
        ("method", "magic"),
        ("cache", {}),
        ("prompt", "x" * 10_000_000),
        ("prompt", "a\x00b"),
        ("prompt", {"a": 1}),
    ],
)
def test_bad_values_become_sentences(name, value):
    with pytest.raises(RequestError) as caught:
        parse_request(request_data(T, "t2v", {**VALUES, name: value}))
    assert 10 < len(str(caught.value)) < 400
    assert "Traceback" not in str(caught.value)


def test_a_missing_picture_is_asked_for():
    values = {**VALUES, "image": None, "fit": "crop"}
    with pytest.raises(RequestError, match="choose a first frame"):
        request_data(T, "i2v", values)
    with pytest.raises(RequestError, match="choose a last frame"):
        request_data(T, "flf2v", {**values, "image": "a.png", "last_image": None})


def test_uploaded_files_are_their_paths():
    assert picture_path({"path": "/a/b.png", "url": "http://x"}) == "/a/b.png"
    assert picture_path("text") == "text"


def test_tabs_are_found_in_their_order():
    assert [tab.kind for tab in find_tabs()][:3] == ["t2v", "i2v", "flf2v"]


def test_drafts_are_believed_as_far_as_they_fit(engine):
    page = build_page(engine)
    parts = {b.elem_id: b for b in page.blocks.values() if getattr(b, "elem_id", None)}
    fields = {"prompt": parts["t2v-prompt"], "preset": parts["t2v-preset"]}
    good = {"prompt": "a star", "preset": "pocket"}
    assert usable_draft(good, fields) == good
    assert usable_draft({"prompt": {"x": 1}, "preset": "evil", "other": 1}, fields) == {}
    for nonsense in (None, [], "x", 3):
        assert usable_draft(nonsense, fields) == {}
