"""The talking portrait in a real browser: example, faces, waveforms, a clip with sound."""

from __future__ import annotations

from typing import Any

import pytest

from studio.core.settings import ROOT
from tests.ui.scripted import Studio
from tests.ui.test_browser import (  # noqa: F401  # fixtures
    CHROMIUM,
    Visit,
    browser,
    plays,
    served,
)
from tests.ui.test_web_process import free_port, start, wait_until_up

ADAPTER = ROOT / "studio" / "pocket" / "weights" / "avatar" / "adapter"
TAB = "Talking portrait"
HEARD = "document.querySelector('#stage video').webkitAudioDecodedByteCount > 0"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="/usr/bin/chromium is not installed"),
]


def fill_example(page: Any, button: str) -> None:
    """One click: portrait, sounds and faces are in the form and shown."""
    page.click(button)
    page.wait_for_selector("#avatar-faces-view rect")
    page.wait_for_selector("#avatar-waves svg path")


def play(page: Any) -> None:
    """A clip with sound waits for a click where the browser wants one."""
    page.wait_for_selector("#stage video")
    page.wait_for_function("document.querySelector('#stage video').readyState >= 2")
    if page.evaluate("document.querySelector('#stage video').paused"):
        page.click("#stage video")
    plays(page)


def test_faces_and_tracks_are_shown_corrected_and_queued(
    browser: Any,  # noqa: F811
    served: tuple[Studio, str],  # noqa: F811
) -> None:
    studio, url = served
    visit = Visit(browser, url)
    page = visit.page
    visit.tab(TAB)
    page.wait_for_selector("#avatar-about p")
    fill_example(page, "#avatar-example-2")
    page.wait_for_function("document.querySelectorAll('#avatar-faces-view rect').length === 2")
    page.wait_for_function("document.querySelectorAll('#avatar-waves svg').length === 2")
    page.wait_for_selector("#avatar-waves .vs-window")
    page.wait_for_selector("#avatar-plan .vs-chip")
    before = page.input_value("#avatar-faces textarea")
    box = page.locator("#avatar-faces-view rect").first.bounding_box()
    x, y = box["x"] + box["width"] / 3, box["y"] + box["height"] / 3
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 12, y + 6, steps=4)
    page.mouse.up()
    page.wait_for_function(
        "old => document.querySelector('#avatar-faces textarea').value !== old", arg=before
    )
    visit.picture("avatar")
    page.click("#avatar-generate")
    page.wait_for_selector("#stage [data-state=queued]")
    job = studio.claim()
    assert job.kind == "avatar"
    assert len(job.request["audio"]) == len(job.request["faces"]) == 2
    assert job.request["faces"][0] != {"x": 15, "y": 49, "width": 36, "height": 45}
    assert all(str(studio.settings.inputs_dir) in path for path in job.request["audio"])
    studio.finish(job)
    play(page)
    assert visit.wrong == []
    visit.context.close()


@pytest.mark.skipif(not ADAPTER.is_dir(), reason="the pocket avatar's weights are not here")
def test_a_portrait_and_a_sound_become_a_clip_that_is_heard(
    browser: Any,  # noqa: F811
    tmp_path: Any,
) -> None:
    port = free_port()
    process = start(tmp_path, port)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_up(process, url)
        visit = Visit(browser, url)
        visit.tab(TAB)
        fill_example(visit.page, "#avatar-example")
        visit.page.click("#avatar-generate")
        visit.page.wait_for_selector("#stage [data-state=done]", timeout=400_000)
        play(visit.page)
        visit.page.wait_for_function(HEARD)
        assert "Lip sync" in visit.page.inner_text("#stage")
        visit.picture("avatar-done")
        assert visit.wrong == []
    finally:
        process.terminate()
        process.wait(60)
