"""What comes in from outside is judged before anything is queued."""

from __future__ import annotations

import shutil
import struct
import zlib
from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image

from studio.core.errors import StudioError
from studio.ui.links import Links, load_key
from studio.ui.pictures import fit_view, frame_of
from studio.ui.plan_view import plan_panel
from tests.ui.conftest import OWNER


def upload(studio, name="a.png", size=(160, 200)):
    folder = studio.settings.cache_dir / "up"
    folder.mkdir(exist_ok=True)
    Image.new("RGB", size, (200, 40, 30)).save(folder / name)
    return folder / name


def i2v(path):
    return {"kind": "i2v", "prompt": "it moves", "image": str(path)}


def test_an_uploaded_picture_is_kept_by_its_content(engine, studio):
    job_id = engine.submit(i2v(upload(studio)), OWNER)
    kept = studio.store.get(job_id).request["image"]
    assert kept.startswith(str(studio.settings.inputs_dir))
    again = studio.store.get(engine.submit(i2v(kept), OWNER)).request["image"]
    assert again == kept


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "/etc/hostname", "", "a.png", "http://x/a.png", "\0"]
)
def test_no_other_file_of_the_machine_can_be_named(engine, studio, name):
    with pytest.raises(StudioError):
        engine.submit(i2v(name), OWNER)
    assert studio.store.list() == []


def test_links_out_of_the_upload_folder_lead_nowhere(engine, studio):
    link = studio.settings.cache_dir / "up.png"
    link.symlink_to("/etc/passwd")
    with pytest.raises(StudioError):
        engine.submit(i2v(link), OWNER)
    assert list(studio.settings.inputs_dir.iterdir()) == []


def test_a_text_file_called_png_is_refused(engine, studio):
    fake = studio.settings.cache_dir / "fake.png"
    fake.write_text("hello")
    with pytest.raises(StudioError, match="not a picture"):
        engine.submit(i2v(fake), OWNER)
    assert "not a picture" in fit_view(engine, [str(fake)], "crop", (128, 128))


def test_a_bomb_is_refused_before_it_is_decoded(engine, studio):
    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", 13_000, 13_000, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" * 1000)
    bomb = studio.settings.cache_dir / "bomb.png"
    bomb.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )
    with pytest.raises(StudioError):
        engine.submit(i2v(bomb), OWNER)
    assert 'role="alert"' in fit_view(engine, [str(bomb)], "crop", (128, 128))


def test_other_paths_in_a_request_are_refused(engine):
    base = {"kind": "t2v", "prompt": "x"}
    for bad in (
        {"loras": [{"path": "/etc/passwd"}]},
        {"continue_from": "/etc/passwd"},
        {"preset": "nothing"},
        {"extra": 1},
        {"seconds": 599},
    ):
        with pytest.raises(StudioError):
            engine.admit({**base, **bad})


def test_owners_are_taken_only_in_their_form(engine):
    assert engine.owner(OWNER) == OWNER
    for value in (None, "", "x", OWNER.upper(), OWNER + "\n", {"a": 1}, 5):
        assert engine.owner(value) not in (value, OWNER)


def test_the_picture_is_shown_as_the_model_sees_it(engine, studio):
    shown = fit_view(engine, [str(upload(studio))], "crop", (128, 96))
    assert shown.count("data:image/png;base64,") == 1
    assert "128×96" in shown
    assert "cut off" in shown
    assert fit_view(engine, [None], "crop", (128, 96)).count("<img") == 0


def test_a_frame_of_a_clip_becomes_a_picture(engine, studio):
    engine.submit({"kind": "t2v", "prompt": "a red ball", "seconds": 0.4}, OWNER)
    clip = engine.clip(studio.finish(studio.claim()), OWNER)
    first, last = (frame_of(engine, clip.path, None, end=end) for end in (False, True))
    assert engine.uploaded(first) == first.resolve()
    left, right = (np.array(Image.open(p))[70, 24] for p in (first, last))
    assert left[0] > 170 > left[2]
    assert right[2] > 170
    middle = frame_of(engine, clip.path, 0.2, end=True)
    with Image.open(middle) as picture:
        assert picture.size == (128, 128)


def test_the_plan_draws_its_windows(engine):
    request = engine.admit({"kind": "t2v", "prompt": "x", "seconds": 8})
    plan = engine.plan(request)
    shown = plan_panel(engine.t, plan)
    assert shown.count("<i style") == len(plan.windows) > 1
    assert str(plan.forwards) in shown
    assert asdict(plan)["windows"]


def test_addresses_cannot_be_made_up(tmp_path):
    links = Links(load_key(tmp_path / "key"))
    assert Links(load_key(tmp_path / "key")) == links
    assert (tmp_path / "key").stat().st_mode & 0o077 == 0
    token = links.token("clips", "a")
    assert links.good("clips", "a", token)
    assert not links.good("clips", "b", token)
    assert not links.good("posters", "a", token)
    assert not links.good("clips", "a", "é")


def test_kept_pictures_are_lent_to_the_page(engine, studio):
    kept = studio.settings.inputs_dir / "abc.png"
    shutil.copyfile(upload(studio), kept)
    lent = engine.lend(kept)
    assert lent.read_bytes() == kept.read_bytes()
    assert lent.is_relative_to(studio.settings.cache_dir)


@pytest.mark.parametrize("data", [None, [[[[]]]], [], "x", 5, {}, {"kind": ["t2v"]}])
def test_what_is_no_request_is_a_sentence(engine, studio, data):
    with pytest.raises(StudioError):
        engine.submit(data, OWNER)
    with pytest.raises(StudioError):
        engine.uploaded(f"{studio.settings.cache_dir}/{'x' * 5000}")
    assert studio.store.list() == []


@pytest.mark.parametrize("job_id", [None, [1], {"a": 1}, "\ud800", "x" * 10**5, 7])
def test_what_is_no_job_is_a_sentence(engine, job_id):
    import gradio as gr

    from studio.ui.api import public_api

    for endpoint in public_api(engine)[1:3]:
        with pytest.raises(gr.Error):
            endpoint(job_id)
