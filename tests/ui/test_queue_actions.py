"""What the queue and the gallery offer: order, one more, end now, make again, take along."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from studio.core.errors import StudioError
from studio.core.events import Done
from studio.core.request import TextToVideo, parse_request
from studio.ui.actions import act
from studio.ui.door import Door
from studio.ui.live import Page, look
from studio.ui.routes import own_routes
from tests.ui.conftest import OWNER
from tests.ui.scripted import WORKER

OTHER = "b" * 32


def submit(studio, prompt="a red ball rises", owner=OWNER):
    return studio.store.submit(TextToVideo(prompt=prompt, seconds=0.4), owner)


def order(studio, owner=OWNER):
    jobs = studio.store.list(owner=owner, states=["queued"])
    return [job.id for job in sorted(jobs, key=lambda j: (-j.priority, j.position))]


def test_waiting_jobs_change_places_and_the_page_shows_it(engine, studio):
    a, b, c = (submit(studio, name) for name in ("one", "two", "three"))
    strangers = submit(studio, "not mine", OTHER)
    act(engine, OWNER, Page(), "up", c)
    assert order(studio) == [a, c, b]
    act(engine, OWNER, Page(), "down", a)
    assert order(studio) == [c, a, b]
    act(engine, OWNER, Page(), "up", c)
    act(engine, OWNER, Page(), "down", b)
    assert order(studio) == [c, a, b]
    act(engine, OWNER, Page(), "hurry", b)
    assert order(studio) == [b, c, a]
    shown = look(engine, OWNER, Page())[1]["queue"]
    assert shown.index(b) < shown.index(c) < shown.index(a)
    assert strangers not in shown
    act(engine, OWNER, Page(), "usual", b)
    assert order(studio) == [c, a, b]
    assert studio.claim().id == c


@pytest.mark.parametrize("do", ["up", "down", "hurry", "usual", "duplicate", "force", "again"])
def test_nothing_is_done_to_what_is_not_ones_own(engine, studio, do):
    theirs = submit(studio, "not mine", OTHER)
    for target in (theirs, "", "'; DROP TABLE job; --", "../../x", "\x00"):
        with pytest.raises(StudioError):
            act(engine, OWNER, Page(), do, target)
    assert studio.store.get(theirs).priority == 0
    assert len(studio.store.list()) == 1


def test_strangers_on_a_shared_studio_cannot_pass_others(engine, studio):
    shared = replace(
        engine, settings=engine.settings.model_copy(update={"share": True, "password": ""})
    )
    mine = submit(studio)
    with pytest.raises(StudioError):
        act(shared, OWNER, Page(), "hurry", mine)
    assert studio.store.get(mine).priority == 0


def test_one_more_of_a_job_is_another_job(engine, studio):
    first = submit(studio, "a <b>bold</b> ball")
    page = act(engine, OWNER, Page(), "duplicate", first)
    second = page.focus.removeprefix("job:")
    assert second != first
    assert studio.store.get(second).request == studio.store.get(first).request


def test_a_job_that_is_stopping_can_be_ended_now(engine, studio):
    job_id = submit(studio)
    studio.claim()
    act(engine, OWNER, Page(), "cancel", job_id)
    assert 'data-do="force"' in look(engine, OWNER, Page())[1]["stage"]
    act(engine, OWNER, Page(), "force", job_id)
    assert studio.store.get(job_id).stop == "kill"


def finish(studio, hashes):
    """Let the scripted worker finish the next job with windows of these hashes."""
    job = studio.claim()
    studio.say(job, stage="sampling")
    clip_id = studio.finish(job)
    clip = studio.library.get(clip_id)
    summary = {**clip.summary, "windows": [{"sha256": h} for h in hashes]}
    sidecar = {"request": clip.request, "summary": summary, "plan": clip.plan}
    studio.library.publish(clip_id, {**sidecar, "owner": job.owner})
    return clip_id


@pytest.mark.parametrize(
    ("again", "said"), [(("x", "y"), "all 2 windows are equal"), (("x", "z"), "1 of 2 windows")]
)
def test_made_again_the_page_says_whether_it_is_the_same(engine, studio, again, said):
    submit(studio)
    first = finish(studio, ("x", "y"))
    page = act(engine, OWNER, Page(), "again", first)
    job = studio.store.get(page.focus.removeprefix("job:"))
    assert parse_request(job.request).seed == studio.library.get(first).seed
    second = finish(studio, again)
    assert second != first
    stage = look(engine, OWNER, page)[1]["stage"]
    assert said in stage
    assert "Where the time went" in stage


def test_the_timeline_survives_what_a_worker_may_say(engine, studio):
    job_id = submit(studio, "<script>alert(1)</script>")
    job = studio.claim()
    studio.say(job, stage="sampling", window=10**9, windows=1, step=-4)
    gone = Done("clip-gone", "/nowhere/<b>.mp4", {})
    studio.store.report(job.id, WORKER, gone)
    stage = look(engine, OWNER, Page(focus=f"job:{job_id}"))[1]["stage"]
    assert "<script>" not in stage


@pytest.fixture
def client(engine):
    return TestClient(own_routes(engine, Door("", engine.links.key, engine.t)))


def test_all_clips_are_taken_along_by_their_owner_alone(engine, studio, client):
    submit(studio, "mine")
    mine = finish(studio, ("x",))
    submit(studio, "not mine", OTHER)
    theirs = finish(studio, ("y",))
    page = look(engine, OWNER, Page())[1]["gallery"]
    assert engine.links.archive(OWNER) in page
    assert "free" in page
    answer = client.get(engine.links.archive(OWNER))
    assert answer.status_code == 200
    with zipfile.ZipFile(io.BytesIO(answer.content)) as folder:
        assert set(folder.namelist()) == {f"{mine}.mp4", f"{mine}.json"}
    wrong = engine.links.archive(OWNER).replace(OWNER, OTHER)
    assert client.get(wrong).status_code == 404
    assert theirs not in answer.text


def test_a_clip_can_be_downloaded_without_its_settings(engine, studio, client):
    submit(studio, "mine")
    clip_id = finish(studio, ("x",))
    address = engine.links.clip(clip_id)
    plain = client.get(f"{address}?download=1&plain=1")
    assert plain.status_code == 200
    assert plain.headers["content-type"] == "video/mp4"
    assert "attachment" in plain.headers["content-disposition"]
    studio.library.path(clip_id).write_bytes(b"<html>not a clip</html>" * 99)
    (studio.settings.cache_dir / "plain" / f"{clip_id}.mp4").unlink()
    assert client.get(f"{address}?plain=1").status_code == 503


def test_the_sign_of_life_says_when_nobody_looks_after_the_queue(engine):
    dead = replace(engine, alive=lambda: False)
    client = TestClient(own_routes(dead, Door("", engine.links.key, engine.t)))
    answer = client.get("/healthz")
    assert answer.status_code == 503
    assert "restart" in answer.json()["message"]
