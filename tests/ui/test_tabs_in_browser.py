"""Every tab at two sizes in both languages: nothing overflows, no console error, axe is clean."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from studio.ui.engine import Engine
from studio.ui.languages import COOKIE
from studio.ui.shell import arguments_for, build_page, make_engine
from studio.ui.texts import texts
from tests.ui.scripted import Studio, open_studio
from tests.ui.test_browser import CHROMIUM, DESK, PHONE, SWITCHES, Visit
from tests.ui.test_web_process import free_port

axe_module = pytest.importorskip("axe_playwright_python.sync_playwright")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="/usr/bin/chromium is not installed"),
]
PLACES = ("create", "gallery", "queue", "models", "settings")
GRADIOS_OWN = {
    # rule: why it is Gradio's and not ours
    "aria-prohibited-attr": "Gradio labels plain <div>s",
    "nested-interactive": "Gradio's upload area is a button around an input",
    "aria-required-children": "Gradio's tab list holds a hidden overflow menu",
}
SHOWN_PROMPTS = (
    "a red ball moves right over the meadow",
    "a blue star rises over the sea",
    "a yellow heart falls",
    "a blue ball bounces",
)
WIDER = """width => document.documentElement.scrollWidth <= width ? [] :
  [...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > width)
  .map(e => e.tagName + '.' + e.className + '#' + e.id).slice(0, 12)"""
"""What stands out at the right when the page is wider than its window."""
WITNESS = {
    "create": "stage .vs-stage >> visible=true",
    "gallery": "gallery .vs-card >> visible=true",
    "queue": "queue .vs-queue >> visible=true",
    "models": "models .vs-model >> visible=true",
    "settings": "settings .vs-setting >> visible=true",
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES.split())
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Studio, Engine, str]]:
    """A studio without a worker, its engine and its address."""
    studio = open_studio(tmp_path_factory.mktemp("tabs"), port=free_port())
    engine = make_engine(studio.settings, studio.store, studio.library, studio.presets)
    page = build_page(engine)
    _, url, _ = page.launch(**arguments_for(engine))
    yield studio, engine, url.rstrip("/")
    page.close(verbose=False)
    studio.store.close()


def settle(studio: Studio, engine: Engine, owner: str) -> None:
    """Clips, a running job and two that wait, all of one person."""
    for seed, prompt in enumerate(SHOWN_PROMPTS):
        engine.submit({"kind": "t2v", "prompt": prompt, "seed": seed}, owner)
    for _ in range(len(SHOWN_PROMPTS) - 1):
        studio.finish(studio.claim())
    job = studio.claim()
    studio.say(job, stage="sampling", step=8, steps=20, window=0, windows=2, done=0.4, eta_s=42)
    studio.preview(job, 8)


def findings(page: Any) -> list[str]:
    """Serious and critical findings of axe that are not on the list of Gradio's own."""
    results = axe_module.Axe().run(page).response
    return [
        f"{found['id']}: {node['html'][:160]}"
        for found in results["violations"]
        if found["impact"] in ("serious", "critical") and found["id"] not in GRADIOS_OWN
        for node in found["nodes"]
    ]


def go(page: Any, place: str, language: str) -> None:
    """Choose a tab by its name in the language of the page."""
    name = texts(language)("gallery" if place == "gallery" else place)
    page.get_by_role("tab", name=name, exact=True).first.click()
    page.wait_for_selector(f"#{WITNESS[place]}")


def test_every_tab_at_two_sizes_in_two_languages(browser, served):
    studio, engine, url = served
    visit = Visit(browser, url)
    page = visit.page
    page.click("#stage [data-event=example]")
    page.wait_for_selector("#stage [data-state=queued]")
    settle(studio, engine, studio.store.list()[0].owner)
    wrong: list[str] = []
    for language in ("en", "zh"):
        visit.context.add_cookies([{"name": COOKIE, "value": language, "url": url}])
        for size in (DESK, PHONE):
            page.set_viewport_size(size)
            visit.open()
            page.wait_for_selector("#stage [data-state=running] img")
            assert page.evaluate("document.documentElement.lang") == language
            for place in PLACES:
                go(page, place, language)
                where = f"{place}-{size['width']}-{language}"
                visit.picture(where)
                assert page.evaluate(WIDER, size["width"]) == [], where
                wrong += [f"{where}: {line}" for line in findings(page)]
    assert wrong == []
    assert visit.wrong == []
    visit.context.close()


def test_everything_is_reached_by_keys(browser, served):
    studio, engine, url = served
    visit = Visit(browser, url)
    page = visit.page
    page.keyboard.press("?")
    page.wait_for_selector("#vs-help[open]")
    assert findings(page) == []
    page.keyboard.press("Escape")
    page.wait_for_selector("#vs-help:not([open])", state="attached")
    page.keyboard.press("4")
    page.wait_for_selector(".vs-model >> visible=true")
    page.keyboard.press("Tab")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("1")
    page.fill("#t2v-prompt textarea", "a red ball rises over the sea")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#stage [data-state=queued]")
    assert page.inner_text("#announce") == "Waiting"
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Escape")
    page.wait_for_selector("#stage [data-state=canceled]")
    owner = next(j.owner for j in studio.store.list(states=["canceled"]))
    for seed in (1, 2):
        engine.submit({"kind": "t2v", "prompt": "a red ball", "seed": seed}, owner)
    for job in iter(lambda: studio.store.claim("scripted", 600.0), None):
        studio.finish(job)
    visit.open()
    page.keyboard.press("2")
    page.wait_for_selector("#gallery .vs-card >> visible=true")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    chosen = page.evaluate("document.activeElement.dataset.id")
    page.keyboard.press("Enter")
    page.wait_for_selector(f"#stage [data-clip='{chosen}'] >> visible=true")
    assert visit.wrong == []
    visit.context.close()


def test_settings_are_kept_and_both_methods_stand_side_by_side(browser, served):
    studio, _, url = served
    visit = Visit(browser, url)
    page = visit.page
    page.click("#t2v-quality label:has-text('Draft')")
    page.wait_for_function("document.querySelector('#t2v-steps input[type=number]').value === '10'")
    page.click(".vs-advanced button >> visible=true")
    page.fill("#t2v-recipe-name input, #t2v-recipe-name textarea", "rough")
    page.click("#t2v-recipe-save")
    page.wait_for_function("document.querySelector('#t2v-recipe input').value === 'rough'")
    visit.open()
    page.click("#t2v-quality label:has-text('Standard')")
    page.click(".vs-advanced button >> visible=true")
    page.click("#t2v-recipe input")
    page.get_by_role("option", name="rough").click()
    page.wait_for_function("document.querySelector('#t2v-steps input[type=number]').value === '10'")
    page.fill("#t2v-prompt textarea", "a blue star bounces over the sea")
    page.fill("#t2v-seconds input", "6")
    page.click("#t2v-compare")
    page.wait_for_selector("#stage .vs-compare")
    assert page.locator("#stage .vs-side").count() == 2
    jobs = [studio.claim(), studio.claim()]
    assert {job.request["method"] for job in jobs} == {"overlap-prefix", "position-shift"}
    assert len({job.request["seed"] for job in jobs}) == 1
    for job in jobs:
        studio.finish(job)
    page.wait_for_function("document.querySelectorAll('#stage .vs-side video').length === 2")
    page.click("#stage [data-both]")
    visit.picture("compare")
    assert findings(page) == []
    assert visit.wrong == []
    visit.context.close()
