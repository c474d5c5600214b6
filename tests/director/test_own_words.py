"""A user's director.toml counts wherever an idea is rewritten, and so does the server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from studio.cli import app
from studio.commands.wishes import Wish, make_ready
from studio.core.errors import PresetError, RequestError
from studio.core.preset import load_presets
from studio.core.settings import Settings
from studio.director.cards import cards_of, change
from studio.director.endpoint import Endpoint
from studio.director.words import load_words
from studio.jobs.rewriter import again, rewritten, writer_of

WAN = load_presets([Path(__file__).parents[2] / "presets"])["wan2.1-t2v-1.3b"]
OWN = """
[[style]]
means = "felt"
words = ["feltworld"]
en = "handmade felt puppets"
zh = "手工毛毡"
"""
IDEA = "a fox runs in a feltworld forest"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "director.toml").write_text(OWN, encoding="utf-8")
    return tmp_path


def test_the_rewrite_command_reads_it(home: Path) -> None:
    asked = ["rewrite", IDEA, "--preset", WAN.id, "--mode", "director", "--data-dir", str(home)]
    ended = CliRunner().invoke(app, asked)
    assert "felt puppets" in ended.stdout


def test_the_director_option_reads_it(home: Path) -> None:
    wish = Wish(mode="t2v", prompt=IDEA, preset=WAN.id, director="director")
    [ready] = make_ready(wish, Settings(data_dir=home))
    assert "felt puppets" in ready.request.prompt
    assert ready.request.idea == IDEA


def test_one_card_is_rewritten_with_it(home: Path) -> None:
    settings = Settings(data_dir=home)
    cards = cards_of(rewritten(settings, "a fox runs", "director", WAN))
    shot = cards.shots[0].model_copy(update={"short": IDEA})
    cards = cards.model_copy(update={"shots": (shot,)})
    fresh = change(cards, "rewrite", 0, WAN, again(settings))
    assert "felt puppets" in fresh.shots[0].text


def test_a_changed_file_counts_at_once(home: Path) -> None:
    own = home / "director.toml"
    assert load_words(own).style[0].en == "handmade felt puppets"
    own.write_text(OWN.replace("handmade felt puppets", "wool"), encoding="utf-8")
    assert load_words(own).style[0].en == "wool"


@pytest.mark.parametrize(
    "text",
    ["[[style]\n", '[[style]]\nmeans = "a"\n', '[[camera]]\nmove = "dolly"\nwords = ["d"]\n'],
    ids=["not TOML", "no words", "no camera move"],
)
def test_a_broken_file_is_said(tmp_path: Path, text: str) -> None:
    own = tmp_path / "director.toml"
    own.write_text(text, encoding="utf-8")
    with pytest.raises(PresetError, match=r"director\.toml"):
        load_words(own)


def test_the_settings_choose_who_writes(tmp_path: Path) -> None:
    def settings(**more: object) -> Settings:
        return Settings(data_dir=tmp_path, **json.loads(json.dumps(more)))

    url = "http://127.0.0.1:9/v1"
    assert writer_of(settings()) is None
    assert isinstance(writer_of(settings(llm_base_url=url)), Endpoint)
    assert writer_of(settings(llm_base_url=url, llm_backend="rules")) is None
    with pytest.raises(RequestError, match="STUDIO_LLM_BASE_URL"):
        writer_of(settings(llm_backend="endpoint"))


def test_an_endpoint_that_is_away_leaves_a_notice(tmp_path: Path) -> None:
    url = "http://127.0.0.1:9/v1"
    settings = Settings(data_dir=tmp_path, llm_base_url=url, llm_timeout_s=2.0)
    result = rewritten(settings, "a fox runs", "normal", WAN)
    assert result.backend == "rules"
    assert "built-in rules were used" in result.notes[0]
