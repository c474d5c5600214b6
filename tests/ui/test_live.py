"""What the page shows, and that it is asked for only when it changed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from studio.core.errors import StudioError
from studio.core.events import Failed
from studio.core.request import TextToVideo
from studio.ui.actions import act
from studio.ui.live import PARTS, Page, look
from tests.ui.conftest import OWNER
from tests.ui.scripted import WORKER

OTHER = "b" * 32


def submit(studio, prompt="a red ball rises", owner=OWNER):
    return studio.store.submit(TextToVideo(prompt=prompt, seconds=0.4), owner)


def test_a_new_page_shows_everything_and_then_nothing_new(engine):
    page, parts = look(engine, OWNER, Page())
    assert tuple(parts) == PARTS
    assert 'data-event="example"' in parts["stage"]
    assert look(engine, OWNER, page) == (page, {})


def test_a_job_is_told_from_waiting_to_clip(engine, studio):
    job_id = submit(studio)
    page, parts = look(engine, OWNER, Page(focus=f"job:{job_id}"))
    assert 'data-state="queued"' in parts["stage"]
    assert parts["pace"] == "1.0"
    job = studio.claim()
    studio.say(job, stage="sampling", step=3, steps=20, window=1, windows=4, done=0.25, eta_s=70)
    studio.preview(job, 3)
    page, parts = look(engine, OWNER, page)
    for said in (
        "Making frames",
        "window 2 of 4",
        "step 3 of 20",
        "1 min 10 s",
        "/studio/previews/",
    ):
        assert said in parts["stage"]
    assert 'aria-valuenow="25"' in parts["stage"]
    assert "25 %" in parts["queue"]
    clip_id = studio.finish(job)
    page, parts = look(engine, OWNER, page)
    assert engine.links.clip(clip_id) in parts["stage"]
    assert clip_id in parts["gallery"]
    assert "<b>Seams</b> 1.04" in parts["stage"]
    assert parts["queue"] == ""
    assert parts["announce"] == "Done"


def test_the_announcement_does_not_change_with_every_step(engine, studio):
    job_id = submit(studio)
    job = studio.claim()
    studio.say(job, stage="sampling", step=1, steps=9)
    page, _ = look(engine, OWNER, Page(focus=f"job:{job_id}"))
    studio.say(job, stage="sampling", step=2, steps=9)
    _, parts = look(engine, OWNER, page)
    assert "stage" in parts
    assert "announce" not in parts


def test_a_page_that_is_opened_again_finds_its_running_job(engine, studio):
    submit(studio, "the first")
    submit(studio, "the second")
    studio.claim()
    _, parts = look(engine, OWNER, Page())
    assert "the first" in parts["stage"]
    assert "1 ahead" in parts["queue"]


def test_a_failure_says_why_and_offers_another_try(engine, studio):
    job_id = submit(studio)
    studio.claim()
    studio.store.report(job_id, WORKER, Failed("MemoryBudgetError", "too large; make it shorter"))
    page = Page(focus=f"job:{job_id}")
    _, parts = look(engine, OWNER, page)
    assert "too large; make it shorter" in parts["stage"]
    act(engine, OWNER, page, "retry", job_id)
    assert studio.store.get(job_id).state == "queued"


def test_nobody_sees_or_touches_another_owners_job_or_clip(engine, studio):
    job_id = submit(studio, "secret thing", OTHER)
    clip_id = studio.finish(studio.claim())
    _, parts = look(engine, OWNER, Page(focus=f"job:{job_id}"))
    assert "secret thing" not in "".join(parts.values())
    for do, target in (
        ("cancel", job_id),
        ("open", clip_id),
        ("trash", clip_id),
        ("star", clip_id),
    ):
        with pytest.raises(StudioError):
            act(engine, OWNER, Page(), do, target)
    assert [c.id for c in engine.clips(OTHER)] == [clip_id]


def test_what_people_write_is_never_markup(engine, studio):
    evil = '<img src=x onerror="alert(1)"> "><script>alert(2)</script> \' &'
    job_id = submit(studio, evil)
    page, parts = look(engine, OWNER, Page(focus=f"job:{job_id}"))
    studio.finish(studio.claim())
    _, more = look(engine, OWNER, page)
    said = "".join([*parts.values(), *more.values()])
    assert "&lt;img src=x" in said
    assert "<script" not in said
    assert "<img src=x" not in said


def test_a_deleted_clip_comes_back_with_undo(engine, studio):
    submit(studio)
    clip_id = studio.finish(studio.claim())
    page = act(engine, OWNER, Page(), "trash", clip_id)
    page, parts = look(engine, OWNER, page)
    assert 'data-do="restore"' in parts["gallery"]
    assert engine.clips(OWNER) == []
    page = act(engine, OWNER, page, "restore", clip_id)
    assert [c.id for c in engine.clips(OWNER)] == [clip_id]
    with pytest.raises(StudioError):
        act(engine, OWNER, page, "restore", clip_id)


def test_stars_stay(engine, studio):
    submit(studio)
    clip_id = studio.finish(studio.claim())
    page = act(engine, OWNER, Page(), "star", clip_id)
    _, parts = look(engine, OWNER, page)
    assert 'data-do="unstar"' in parts["gallery"]
    page = act(engine, OWNER, page, "unstar", clip_id)
    _, parts = look(engine, OWNER, page)
    assert 'data-do="unstar"' not in parts["gallery"]


def test_more_cards_are_shown_when_asked_for(engine, studio):
    for _ in range(3):
        submit(studio)
        studio.finish(studio.claim())
    _, parts = look(engine, OWNER, Page(cards=2))
    assert parts["gallery"].count("vs-card") - parts["gallery"].count("vs-cards") == 2
    page = act(engine, OWNER, Page(cards=2), "more", "")
    _, parts = look(engine, OWNER, page)
    assert parts["gallery"].count('<li class="vs-card"') == 3


def test_a_held_queue_says_why(engine, studio):
    submit(studio)
    studio.store.hold("storage", "the disk is full; free some space")
    _, parts = look(engine, OWNER, replace(Page(), stamp=()))
    assert "the disk is full; free some space" in parts["queue"]


def test_unknown_actions_are_refused(engine):
    with pytest.raises(StudioError, match="no action"):
        act(engine, OWNER, Page(), "explode", "x")
