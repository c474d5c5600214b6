"""Wildcards: chosen by the seed, recorded beside what was written, never a path."""

from __future__ import annotations

from pathlib import Path

import pytest

from studio.commands.wishes import Wish, make_ready
from studio.core.errors import RequestError
from studio.core.preset import load_presets
from studio.core.settings import Settings
from studio.director.wildcards import expand, expand_request, load_wildcards
from studio.jobs.rewriter import rewritten
from studio.media.metadata import clip_tags

IDEA = "a __colour__ __shape__ rises"


def test_a_seed_chooses_and_chooses_the_same_again(tmp_path: Path) -> None:
    lists = load_wildcards(tmp_path)
    made = {seed: expand(IDEA, seed, lists) for seed in range(40)}
    assert made == {seed: expand(IDEA, seed, lists) for seed in range(40)}
    assert len(set(made.values())) > 12
    for text in made.values():
        _, colour, shape, _ = text.split()
        assert colour in lists["colour"]
        assert shape in lists["shape"]


def test_own_lists_come_first_and_may_name_others(tmp_path: Path) -> None:
    (tmp_path / "wildcards").mkdir()
    (tmp_path / "wildcards" / "colour.txt").write_text("# mine\n\n棕色\n", encoding="utf-8")
    (tmp_path / "wildcards" / "thing.txt").write_text("__colour__ fox", encoding="utf-8")
    assert expand("the __Thing__", 7, load_wildcards(tmp_path)) == "the 棕色 fox"


@pytest.mark.parametrize("text", ["__nothing__", "__loop__"])
def test_what_cannot_be_replaced_is_said(tmp_path: Path, text: str) -> None:
    with pytest.raises(RequestError, match="wildcard"):
        expand(text, 0, {"loop": ("a __loop__",)})


def test_a_name_is_no_path(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("x", encoding="utf-8")
    assert expand("__../secret__", 0, load_wildcards(tmp_path)) == "__../secret__"


def test_the_metadata_holds_what_was_written_and_what_it_became(tmp_path: Path) -> None:
    wish = Wish(mode="t2v", prompt=IDEA, seed=5)
    [ready] = make_ready(wish, Settings(data_dir=tmp_path))
    assert ready.request.idea == IDEA
    assert ready.request.prompt == expand(IDEA, 5, load_wildcards(tmp_path))
    assert IDEA in clip_tags(ready.request)["comment"]


def test_each_shot_is_expanded(tmp_path: Path) -> None:
    shots = [{"prompt": IDEA, "seconds": 1}, {"prompt": "a blue star", "seconds": 1}]
    data = expand_request({"prompt": "", "shots": shots, "seed": 1}, tmp_path)
    assert "__" not in data["shots"][0]["prompt"]
    assert data["shots"][1]["prompt"] == "a blue star"
    assert data["idea"] == f"{IDEA}; a blue star"


def test_a_rewrite_keeps_the_idea_as_it_was_written(tmp_path: Path) -> None:
    pocket = load_presets([Path(__file__).parents[2] / "presets"])["pocket"]
    result = rewritten(Settings(data_dir=tmp_path), IDEA, "director", pocket, 5)
    assert result.original == IDEA
    assert "__" not in result.text
