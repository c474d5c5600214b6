"""The web process is told to end while a page is open and a job runs."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from studio.jobs.store import JobStore
from tests.faults.conftest import wait_for
from tests.faults.running import living, start_with_toy
from tests.ui.test_browser import CHROMIUM, PATIENCE_MS, SWITCHES
from tests.ui.test_web_process import free_port, wait_until_up

PROMPT = "a red ball moves right"
DRAFT = "a blue star that nobody asked for yet"
SECONDS = 60
END_S = 10.0


@pytest.fixture
def page() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES.split())
        opened = browser.new_page()
        opened.set_default_timeout(PATIENCE_MS)
        yield opened
        browser.close()


def open_job(page: Any, url: str) -> str:
    """Ask for a long clip in the page, then leave a draft in the form; the job's id."""
    page.goto(url)
    page.wait_for_selector("#t2v-plan .vs-plan")
    page.click("#t2v-prompt textarea")
    page.keyboard.insert_text(PROMPT)
    page.fill("#t2v-seconds input", str(SECONDS))
    page.keyboard.press("Tab")
    page.wait_for_selector("#t2v-plan .vs-strip")
    page.click("#t2v-generate")
    page.wait_for_selector("#stage [data-state=running]")
    page.click("#t2v-prompt textarea")
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(DRAFT)
    return str(page.get_attribute("#stage [data-job]", "data-job"))


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM.exists(), reason="/usr/bin/chromium is not installed")
def test_sigterm_ends_it_in_time_with_no_process_left(page: Any, tmp_path: Path) -> None:
    port = free_port()
    url, data = f"http://127.0.0.1:{port}", tmp_path / "data"
    web = start_with_toy(tmp_path, port)
    try:
        wait_until_up(web, url)
        job_id = open_job(page, url)
        store = JobStore(data / "jobs.sqlite")
        wait_for(lambda: len(store.get(job_id).segments) >= 1)
        assert len(living(data)) == 2
        began = time.monotonic()
        web.send_signal(signal.SIGTERM)
        assert web.wait(60) == 0
        assert time.monotonic() - began < END_S
        assert living(data) == []
        assert store.get(job_id).state in ("interrupted", "queued", "running")
        store.close()
    finally:
        if web.poll() is None:
            for child in psutil.Process(web.pid).children(recursive=True):
                child.kill()
        web.kill()
        web.wait()
    assert "Traceback" not in (tmp_path / "app.log").read_text()
