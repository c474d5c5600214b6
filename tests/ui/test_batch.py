"""Many prompts, one a line: each becomes a job, or none does."""

from __future__ import annotations

import pytest

from studio.ui import wire
from studio.ui.batch import MAX_LINES
from studio.ui.shell import lay_out
from tests.ui.conftest import OWNER
from tests.ui.test_fill import data_of

PROMPTS = ["a red ball rises", "a blue star falls", "a yellow square turns"]
TEXT = "\n" + "\n\n".join(f"  {prompt} " for prompt in PROMPTS) + "\r\n"


@pytest.fixture
def laid(engine):
    return lay_out(engine)


def press(engine, laid, kind="t2v", **changes):
    form = laid.forms[kind]
    return wire.generate(engine, form, laid.panels, data_of(laid, kind, **changes), wire._lines)


def test_each_line_becomes_a_job_in_their_order(engine, laid, studio):
    updates = press(engine, laid, prompt=TEXT, seed="5", lock=True, seconds=2)
    jobs = sorted(studio.store.list(), key=lambda job: job.seq)
    assert [job.prompt for job in jobs] == PROMPTS
    assert {(job.request["seed"], job.owner, job.state) for job in jobs} == {(5, OWNER, "queued")}
    assert updates[laid.forms["t2v"].error] == ""
    assert jobs[0].id in updates[laid.panels.stage]
    assert all(job.id in updates[laid.panels.queue] for job in jobs)


def test_a_free_seed_is_another_for_each(engine, laid, studio):
    updates = press(engine, laid, prompt=TEXT, seed="5", lock=False)
    jobs = sorted(studio.store.list(), key=lambda job: job.seq)
    assert len({job.request["seed"] for job in jobs}) == len(PROMPTS)
    assert str(jobs[0].request["seed"]) == updates[laid.forms["t2v"].parts["seed"]]


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ("", "at least two"),
        ("only one\n\n", "at least two"),
        ("a ball\n" * (MAX_LINES + 1), "at most"),
        ("a ball\n" + "x" * 100_000, "prompt"),
    ],
)
def test_a_bad_line_queues_nothing(engine, laid, studio, prompt, says):
    updates = press(engine, laid, prompt=prompt)
    assert says in updates[laid.forms["t2v"].error]
    assert studio.store.list() == []


def test_a_full_queue_takes_none_of_them(engine, laid, studio, monkeypatch):
    monkeypatch.setattr("studio.ui.batch.MAX_QUEUED", 3)
    for k in range(2):
        engine.submit({"kind": "t2v", "prompt": f"ball {k}", "seconds": 1}, OWNER)
    updates = press(engine, laid, prompt="one\ntwo")
    assert "may wait" in updates[laid.forms["t2v"].error]
    assert len(studio.store.list()) == 2
