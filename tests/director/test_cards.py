"""Cards: what a person does to a shot list, and what of it reaches the request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from studio.core.errors import RequestError
from studio.core.preset import load_presets
from studio.core.request import parse_request
from studio.director.cards import Cards, cards_of, change, differences, edited, read_cards
from studio.director.rewrite import rewrite
from studio.ui.director import corner_values, director_data, pressed, view_of
from studio.ui.texts import texts

POCKET = load_presets([Path(__file__).parents[2] / "presets"])["pocket"]
IDEA = "a red ball rises, then it falls, then cut to a green heart spinning"


@pytest.fixture
def cards() -> Cards:
    return cards_of(rewrite(IDEA, "director", POCKET))


def test_add_split_order_and_drop(cards: Cards) -> None:
    assert len(change(cards, "add", 0, POCKET).shots) == 4
    halves = change(cards, "split", 0, POCKET).shots[:2]
    assert sum(s.seconds for s in halves) == cards.shots[0].seconds
    assert change(cards, "down", 0, POCKET).shots[1] == cards.shots[0]
    assert change(cards, "up", 2, POCKET).shots[1] == cards.shots[2]
    assert change(cards, "drop", 1, POCKET).shots == (cards.shots[0], cards.shots[2])


def test_a_locked_card_and_the_last_one_stay(cards: Cards) -> None:
    locked = cards.shots[0].model_copy(update={"locked": True})
    one = cards.model_copy(update={"shots": (locked,)})
    for what in ("rewrite", "drop"):
        with pytest.raises(RequestError):
            change(one, what, 0, POCKET)
    with pytest.raises(RequestError):
        change(cards, "drop", 9, POCKET)


def test_an_edited_card_is_composed_anew_and_the_others_are_not(cards: Cards) -> None:
    shots = [s.model_copy(update={"text": ""}) for s in cards.shots]
    shots[0] = shots[0].model_copy(update={"short": "a blue star grows", "camera": "zoom in"})
    after = edited(cards, shots, POCKET)
    assert "a blue star grows" in after.shots[0].text
    assert after.shots[0].text.endswith("camera zooms in")
    assert after.shots[1:] == cards.shots[1:]


def test_a_browser_is_not_believed(cards: Cards) -> None:
    for wrong in ("{", '{"shots": []}', "x" * 300_000):
        with pytest.raises(RequestError):
            read_cards(wrong)
    kept = cards.model_dump_json()
    for rows in (None, [], [{"short": "", "seconds": 1}], [{"short": "a", "seconds": "soon"}]):
        with pytest.raises(RequestError):
            pressed(kept, POCKET, {"do": "edit", "shots": rows})


def test_the_difference_has_all_words_of_both() -> None:
    said = differences("a red ball 红球", "A red star 红星")
    assert "".join(t for how, t in said if how != "new").lower() == "a red ball 红球"
    assert "".join(t for how, t in said if how != "gone") == "A red star 红星"


def test_shots_and_idea_reach_the_request_and_come_back(cards: Cards) -> None:
    t = texts("en")
    values: dict[str, Any] = {"prompt": IDEA, "director": "director"}
    with pytest.raises(RequestError, match="Rewrite"):
        director_data(t, "t2v", values)
    data = director_data(t, "t2v", {**values, "cards": cards.model_dump_json()})
    request = parse_request({"kind": "t2v", "preset": "pocket", **data})
    assert request.idea == IDEA
    assert [s.prompt for s in request.shots] == [s.text for s in cards.shots]
    back = corner_values(request.model_dump(), 2.0)
    assert back["prompt"] == IDEA
    assert director_data(t, "t2v", {**back}) == data


def test_another_idea_is_not_made_with_the_old_cards(cards: Cards) -> None:
    values = {"prompt": "a dog", "director": "director", "cards": cards.model_dump_json()}
    with pytest.raises(RequestError, match="changed"):
        director_data(texts("en"), "t2v", values)
    assert director_data(texts("en"), "t2v", {**values, "director": "off"}) == {}


def test_what_a_person_wrote_is_text_on_the_page() -> None:
    cards = cards_of(rewrite('a ball <script>alert("x")</script>', "director", POCKET))
    assert "<script" not in view_of(texts("zh"), cards)


def test_one_card_is_rewritten_by_the_writer_that_is_given() -> None:
    cards = cards_of(rewrite("a red ball rises, then a blue star falls", "director", POCKET))
    asked = []

    def writer(idea, mode, preset):  # type: ignore[no-untyped-def]
        asked.append((idea, mode))
        return rewrite("a green heart grows", mode, preset)

    fresh = change(cards, "rewrite", 1, POCKET, writer)
    assert asked == [(cards.shots[1].short, "director")]
    assert fresh.shots[0] == cards.shots[0]
    assert "green heart" in fresh.shots[1].text
