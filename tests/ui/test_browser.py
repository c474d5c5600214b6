"""The studio in a real browser. Jobs stand where the test puts them: nothing is seen in passing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from studio.core.settings import ROOT
from studio.ui.shell import arguments_for, build_page, make_engine
from tests.ui.scripted import Studio, open_studio
from tests.ui.test_web_process import free_port, start, wait_until_up

CHROMIUM = Path("/usr/bin/chromium")
WEIGHTS = ROOT / "studio" / "pocket" / "weights" / "transformer"
SWITCHES = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
PATIENCE_MS = 120_000
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1440, "height": 900}
PROMPT = "a red ball moves right over the meadow at day"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="/usr/bin/chromium is not installed"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES.split())
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Studio, str]]:
    """A studio without a worker, and its address."""
    studio = open_studio(tmp_path_factory.mktemp("browser"), port=free_port())
    engine = make_engine(studio.settings, studio.store, studio.library, studio.presets)
    page = build_page(engine)
    _, url, _ = page.launch(**arguments_for(engine))
    yield studio, url.rstrip("/")
    page.close(verbose=False)
    studio.store.close()


class Visit:
    """One browser with one page; what goes wrong in it is kept."""

    def __init__(self, browser: Any, url: str, size: dict[str, int] = DESK) -> None:
        self.url = url
        self.wrong: list[str] = []
        self.context = browser.new_context(viewport=size, color_scheme="light")
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", self._asked)
        self.open()

    def open(self, query: str = "") -> None:
        """Load the page and wait until it planned, which it does last."""
        self.page.goto(self.url + query)
        self.page.wait_for_selector("#t2v-plan .vs-plan")

    def picture(self, name: str) -> None:
        """Keep a screenshot where STUDIO_SCREENSHOTS says."""
        folder = os.environ.get("STUDIO_SCREENSHOTS")
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)

    def tab(self, name: str) -> None:
        """Choose a mode; on a narrow screen those that find no room stand in a menu."""
        shown = self.page.get_by_role("tab", name=name)
        if not shown.count():
            self.page.locator(".overflow-menu > button").locator("visible=true").first.click()
            shown = self.page.locator(".overflow-dropdown button", has_text=name)
        shown.locator("visible=true").first.click()

    def _heard(self, message: Any) -> None:
        if message.type == "error":
            self.wrong.append(message.text)

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self.url, "data:", "blob:")):
            self.wrong.append(f"a request left the machine: {request.url}")


def plays(page: Any) -> None:
    """Wait until the clip on the stage has a picture and moves."""
    page.wait_for_selector("#stage video")
    page.wait_for_function("document.querySelector('#stage video').currentTime > 0")


def test_a_prompt_becomes_a_clip_and_nothing_is_lost_on_the_way(browser, served):
    studio, url = served
    visit = Visit(browser, url)
    page = visit.page
    visit.picture("empty")
    page.click("#t2v-generate")
    page.wait_for_selector("#t2v-error [role=alert]")
    page.click("#t2v-prompt textarea")
    page.keyboard.insert_text(PROMPT)
    page.fill("#t2v-seconds input", "6")
    page.keyboard.press("Tab")
    page.wait_for_selector("#t2v-plan .vs-strip")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#stage [data-state=queued]")
    job = studio.claim()
    studio.say(job, stage="sampling", step=8, steps=20, window=1, windows=4, done=0.4, eta_s=42)
    studio.preview(job, 8)
    page.wait_for_selector("#stage [data-state=running] img")
    assert "step 8 of 20" in page.inner_text("#stage")
    visit.picture("running")
    visit.open()
    page.wait_for_selector("#stage [data-state=running] img")
    assert page.input_value("#t2v-prompt textarea") == PROMPT
    assert page.input_value("#t2v-seconds input") == "6"
    visit.open(f"/?job={job.id}")
    page.wait_for_selector(f"#stage [data-job='{job.id}']")
    studio.finish(job)
    plays(page)
    page.wait_for_function("document.title.startsWith('Done')")
    page.fill("#t2v-prompt textarea", "something else")
    visit.tab("Gallery")
    page.click("#gallery [data-event=reuse]")
    page.wait_for_function(
        "text => document.querySelector('#t2v-prompt textarea').value === text", arg=PROMPT
    )
    seed = str(job.request["seed"])
    assert page.input_value("#t2v-seed input, #t2v-seed textarea") == seed
    visit.tab("Gallery")
    page.click("#gallery [data-do=trash]")
    page.click("#gallery [data-do=restore]")
    visit.tab("Gallery")
    page.wait_for_selector("#gallery .vs-card")
    visit.picture("done")
    assert visit.wrong == []
    visit.context.close()


def test_pictures_are_shown_as_the_model_sees_them(browser, served):
    studio, url = served
    visit = Visit(browser, url)
    page = visit.page
    visit.tab("First & last frame")
    page.get_by_role("button", name="Use an example").locator("visible=true").click()
    page.wait_for_function("document.querySelectorAll('#flf2v-fit-view img').length === 2")
    sources = "[...document.querySelectorAll('#flf2v-fit-view img')].map(i => i.src).join()"
    first, last = page.evaluate(sources.replace(".join()", ""))
    page.click("#flf2v-swap")
    page.wait_for_function(f"wanted => {sources} === wanted", arg=f"{last},{first}")
    visit.picture("first-last")
    page.click("#flf2v-generate")
    page.wait_for_selector("#stage [data-state=queued]")
    job = studio.claim()
    assert job.kind == "flf2v"
    studio.finish(job)
    plays(page)
    visit.tab("Image to video")
    page.click("#stage [data-do=first]")
    page.wait_for_selector("#i2v-fit-view img")
    page.click("#i2v-fit label:has-text('Pad')")
    page.click("#i2v-generate")
    page.wait_for_selector("#stage [data-state=queued]")
    page.click("#stage [data-do=cancel]")
    page.wait_for_selector("#stage [data-state=canceled]")
    assert [j.request["fit"] for j in studio.store.list(states=["canceled"])] == ["pad"]
    assert visit.wrong == []
    visit.context.close()


def test_a_phone_sees_all_of_it_in_the_dark(browser, served):
    _, url = served
    visit = Visit(browser, url, PHONE)
    page = visit.page
    page.click("[data-theme-switch]")
    page.wait_for_selector("body.dark")
    visit.open()
    page.wait_for_selector("body.dark")
    for name in ("Text to video", "Image to video", "First & last frame"):
        visit.tab(name)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        visit.picture(f"phone-{name.split()[0].lower()}")
    assert visit.wrong == []
    visit.context.close()


@pytest.mark.skipif(not WEIGHTS.is_dir(), reason="the pocket model's weights are not here")
def test_one_click_makes_a_clip_with_the_pocket_model(browser, tmp_path):
    port = free_port()
    process = start(tmp_path, port)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_up(process, url)
        visit = Visit(browser, url)
        visit.page.click("#stage [data-event=example]")
        visit.page.wait_for_selector("#stage [data-state=running], #stage [data-state=done]")
        visit.open()
        plays(visit.page)
        visit.picture("pocket")
        assert visit.wrong == []
    finally:
        process.terminate()
        process.wait(60)
