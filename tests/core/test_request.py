"""Requests: JSON both ways, and every refusal one sentence with rule, value and remedy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from studio.core.errors import RequestError
from studio.core.request import dump_request, input_files, parse_request

GOOD = [
    {"kind": "t2v", "prompt": "a red ball rises"},
    {"kind": "t2v", "shots": [{"prompt": "a", "seconds": 2}, {"prompt": "b", "seconds": 1}]},
    {"kind": "i2v", "image": "a.png", "seconds": 3.5, "seed": 2**63 - 1},
    {"kind": "flf2v", "image": "a.png", "last_image": "b.png", "method": "position-shift"},
    {
        "kind": "avatar",
        "image": "a.png",
        "audio": ["a.wav", "b.wav"],
        "faces": [{"x": 0, "y": 0, "width": 5, "height": 5}] * 2,
    },
]


@pytest.mark.parametrize("data", GOOD, ids=lambda data: data["kind"])
def test_a_request_survives_json_both_ways(data: dict) -> None:
    request = parse_request(data)
    again = parse_request(json.dumps(dump_request(request)))
    assert again == request
    assert again.mode == data["kind"]


def test_prompts_are_normalised() -> None:
    request = parse_request({"kind": "t2v", "prompt": "  a\tred\n ball  "})
    assert request.prompt == "a red ball"


BAD = [
    ({"prompt": ""}, "a prompt is needed"),
    ({"prompt": "x" * 10_000_000}, "at most 4000 characters (got 10000000)"),
    ({"prompt": "a\x00b"}, "control characters (got U+0000)"),
    ({"prompt": "a", "seconds": 0}, "seconds"),
    ({"prompt": "a", "seconds": -1}, "seconds"),
    ({"prompt": "a", "seconds": float("nan")}, "seconds"),
    ({"prompt": "a", "seconds": 10_000}, "seconds"),
    ({"prompt": "a", "num_inference_steps": 0}, "num_inference_steps"),
    ({"prompt": "a", "seconds": 2, "frames": 25}, "not both"),
    ({"prompt": "a", "wdith": 5}, "wdith is not a known option"),
    ({"prompt": "a", "seed": -1}, "seed"),
    ({"shots": [{"prompt": "", "seconds": 1}]}, "a shot needs a prompt"),
    ({"shots": [{"prompt": "a", "seconds": 1}], "seconds": 2}, "sets the length itself"),
]


@pytest.mark.parametrize(("data", "words"), BAD)
def test_bad_values_are_refused_in_one_sentence(data: dict, words: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_request({"kind": "t2v", **data})
    message = str(caught.value)
    assert words in message
    assert "\n" not in message
    assert len(message) < 300


@pytest.mark.parametrize("text", ["", "{", b"\xff", "[]", '{"kind": "song"}', "null"])
def test_what_is_no_request_is_refused(text: str | bytes) -> None:
    with pytest.raises(RequestError):
        parse_request(text)


def test_input_files_are_listed_in_order() -> None:
    request = parse_request(GOOD[4])
    assert input_files(request) == [Path("a.png"), Path("a.wav"), Path("b.wav")]
    assert input_files(parse_request(GOOD[0])) == []


@pytest.mark.parametrize(
    ("bad", "remedy"),
    [
        ({"seed": -3}, "at least 0 and at most"),
        ({"num_inference_steps": 0}, "at least 1 and at most 200"),
        ({"num_inference_steps": 1e9}, "at least 1 and at most 200"),
        ({"seconds": -0.0}, "more than 0 and at most 600"),
        ({"guidance_scale": float("-inf")}, "at least 0 and at most 30"),
        ({"offload": "\x00"}, "choose 'auto', 'none'"),
    ],
)
def test_the_remedy_names_what_is_allowed(bad, remedy):
    with pytest.raises(RequestError, match="; ") as found:
        parse_request({"kind": "t2v", "prompt": "a ball", **bad})
    assert remedy in str(found.value).partition("; ")[2]
