"""Forms filled from clips, called as Gradio calls them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from PIL import Image

from studio.core.errors import StudioError
from studio.core.request import parse_request
from studio.media.metadata import clip_tags
from studio.ui import fill, wire
from studio.ui.live import Page
from studio.ui.shell import lay_out
from tests.ui.conftest import OWNER

OTHER = "b" * 32


@pytest.fixture
def laid(engine):
    return lay_out(engine)


def event(**said):
    return SimpleNamespace(_data=said)


def data_of(laid, kind="t2v", **changes):
    """What Gradio gives a handler: the form's first values, changed."""
    form = laid.forms[kind]
    values = {part: getattr(part, "value", None) for part in form.parts.values()}
    values.update({form.parts[name]: value for name, value in changes.items()})
    return {**values, laid.panels.owner: OWNER, laid.panels.page: Page()}


def made(studio, engine, **more):
    request = {"kind": "t2v", "prompt": "a red ball", "seconds": 0.4, "seed": 77, **more}
    engine.submit(request, OWNER)
    return studio.finish(studio.claim())


def test_generate_queues_what_the_form_says(engine, laid, studio):
    form = laid.forms["t2v"]
    data = data_of(laid, prompt="a blue star", seed="5", lock=True, seconds=2)
    updates = wire.generate(engine, form, laid.panels, data)
    job = studio.store.list()[0]
    assert (job.prompt, job.request["seed"], job.owner) == ("a blue star", 5, OWNER)
    assert updates[form.error] == ""
    assert job.id in updates[laid.panels.stage]


def test_an_unlocked_seed_is_new_each_time_and_shown(engine, laid, studio):
    form = laid.forms["t2v"]
    shown = set()
    for _ in range(3):
        data = data_of(laid, prompt="a blue star", seed="5", lock=False)
        shown.add(wire.generate(engine, form, laid.panels, data)[form.parts["seed"]])
    assert {str(job.request["seed"]) for job in studio.store.list()} == shown
    assert len(shown) == 3


@pytest.mark.parametrize(
    "changes", [{"prompt": ""}, {"prompt": "x", "seconds": float("nan")}, {"prompt": {"a": 1}}]
)
def test_what_cannot_be_made_is_said_beside_the_button(engine, laid, studio, changes):
    form = laid.forms["t2v"]
    updates = wire.generate(engine, form, laid.panels, data_of(laid, **changes))
    assert list(updates) == [form.error]
    assert 'role="alert"' in updates[form.error]
    assert studio.store.list() == []


def test_the_plan_needs_no_prompt_and_no_picture(engine, laid):
    for kind in ("t2v", "i2v", "flf2v"):
        data = data_of(laid, kind, seconds=6)
        assert "vs-strip" in wire.plan_text(engine, laid.forms[kind], data)
        data = data_of(laid, kind, seconds=0)
        assert "vs-warn" in wire.plan_text(engine, laid.forms[kind], data)


def test_reuse_brings_back_every_setting(engine, laid, studio):
    clip_id = made(studio, engine, num_inference_steps=9, method="overlap-prefix")
    updates = fill.reuse(engine, laid.forms, laid.panels, OWNER, event(do="reuse", id=clip_id))
    parts = laid.forms["t2v"].parts
    found = {name: updates[parts[name]] for name in ("prompt", "seed", "lock", "steps", "method")}
    assert found == {
        "prompt": "a red ball",
        "seed": "77",
        "lock": True,
        "steps": 9,
        "method": "overlap-prefix",
    }


def test_reuse_brings_back_the_picture(engine, laid, studio):
    place = studio.settings.cache_dir / "p.png"
    Image.new("RGB", (64, 64), (9, 99, 9)).save(place)
    clip_id = made(studio, engine, kind="i2v", image=str(place))
    updates = fill.reuse(engine, laid.forms, laid.panels, OWNER, event(do="reuse", id=clip_id))
    path = updates[laid.forms["i2v"].parts["image"]]
    assert engine.uploaded(path).read_bytes() == place.read_bytes()


def test_continue_names_the_clip_and_its_owner_may_queue_it(engine, laid, studio):
    clip_id = made(studio, engine)
    updates = fill.reuse(engine, laid.forms, laid.panels, OWNER, event(do="continue", id=clip_id))
    assert updates[laid.forms["t2v"].parts["continue_from"]]["value"] == clip_id
    request = {"kind": "t2v", "prompt": "it stops", "continue_from": clip_id}
    assert engine.submit(request, OWNER)
    with pytest.raises(StudioError):
        engine.submit(request, OTHER)


def test_nothing_of_others_and_nothing_unknown_is_reused(engine, laid, studio):
    clip_id = made(studio, engine)
    for owner, said in ((OTHER, clip_id), (OWNER, "../../etc/passwd"), (OWNER, "")):
        for handler in (fill.reuse, fill.use_frame):
            updates = handler(engine, laid.forms, laid.panels, owner, event(do="last", id=said))
            assert list(updates) == [laid.panels.modes]


def test_frames_go_where_they_are_asked_for(engine, laid, studio):
    clip_id = made(studio, engine)
    cases = (
        ({"do": "last", "mode": "t2v"}, "flf2v", "last_image"),
        ({"do": "first", "mode": "t2v"}, "i2v", "image"),
        ({"do": "first", "mode": "flf2v", "at": 0.1}, "flf2v", "image"),
        ({"do": "first", "mode": [], "at": "now"}, "i2v", "image"),
    )
    for said, kind, name in cases:
        updates = fill.use_frame(engine, laid.forms, laid.panels, OWNER, event(id=clip_id, **said))
        assert engine.uploaded(updates[laid.forms[kind].parts[name]]).suffix == ".png"


def test_a_clip_that_is_dropped_in_says_how_it_was_made(engine, laid, studio, monkeypatch):
    from tests.ui import scripted

    tags = clip_tags(parse_request({"kind": "t2v", "prompt": "from a file", "seed": 5}))
    writer = scripted.ClipWriter
    monkeypatch.setattr(scripted, "ClipWriter", lambda p, fps, size, _: writer(p, fps, size, tags))
    clip = engine.clip(made(studio, engine), OWNER)
    upload = studio.settings.cache_dir / "dropped.mp4"
    upload.write_bytes(clip.path.read_bytes())
    updates = fill.read_file(engine, laid.forms, laid.panels, {"path": str(upload)})
    parts = laid.forms["t2v"].parts
    assert (updates[parts["prompt"]], updates[parts["seed"]]) == ("from a file", "5")
    for other in ({"path": "/etc/passwd"}, None, {"path": str(clip.path)}):
        updates = fill.read_file(engine, laid.forms, laid.panels, other)
        assert list(updates) == [laid.panels.modes]


def test_the_gallery_is_searched_by_words_and_stars(engine, laid, studio):
    red, blue = made(studio, engine), made(studio, engine, prompt="a BLUE star")
    engine.library.star(red, True)

    def shown(query, starred):
        updates = fill.search(engine, laid.panels, OWNER, Page(), query, starred)
        return [c for c in (red, blue) if f'data-clip="{c}"' in updates[laid.panels.gallery]]

    assert shown("", False) == [red, blue]
    assert shown("blue", False) == [blue]
    assert shown("", True) == [red]
    assert shown("blue", True) == []
    assert shown(None, "yes") == [red, blue]


def test_an_example_is_made_in_one_click(engine, laid, studio):
    form = laid.forms["t2v"]
    data = data_of(laid)
    updates = fill.try_example(engine, form, laid.panels, data, event(id="1"))
    job = studio.store.list()[0]
    assert job.prompt == engine.t("example.1") == updates[form.parts["prompt"]]


def test_a_page_opens_on_the_job_of_its_address(engine, laid, studio):
    old = engine.submit({"kind": "t2v", "prompt": "the old one"}, OWNER)
    engine.submit({"kind": "t2v", "prompt": "the new one"}, OWNER)
    request = SimpleNamespace(query_params={"job": old})
    updates = wire.arrive(engine, laid.panels, OWNER, request)
    assert old in updates[laid.panels.stage]
    stranger = wire.arrive(engine, laid.panels, OTHER, request)
    assert 'data-state="empty"' in stranger[laid.panels.stage]
    assert stranger[laid.panels.queue] == ""


def test_a_poll_without_news_says_nothing(engine, laid):
    first = wire.poll(engine, laid.panels, OWNER, Page())
    again = wire.poll(engine, laid.panels, OWNER, first[laid.panels.page])
    assert list(again) == [laid.panels.stage]
    assert again[laid.panels.stage] == {"__type__": "update"}
