"""Many viewers, uploads and reloads of a running studio; the long forms run with --long."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.ui.test_web_process import free_port, start, wait_until_up


class Web:
    """A studio as it is started for real, and a way to ask what its page asks."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.folder = folder
        self.url = f"http://127.0.0.1:{port}"
        self.process = start(folder, port)
        wait_until_up(self.process, self.url)
        config = httpx.get(f"{self.url}/config", timeout=60, trust_env=False).json()
        # The page's own clock: of all ticks it alone is told the visitor and what was painted.
        self.tick = next(
            d["id"]
            for d in config["dependencies"]
            if any(event == "tick" for _, event in d["targets"]) and len(d["inputs"]) == 2
        )

    def poll(self, client: httpx.Client, session: str) -> float:
        """What the page does at every beat; the seconds it took."""
        began = time.monotonic()
        data = {"fn_index": self.tick, "session_hash": session, "data": ["a" * 32, None]}
        answer = client.post(f"{self.url}/gradio_api/run/predict", json=data)
        assert answer.status_code == 200, answer.text[:300]
        return time.monotonic() - began

    def rss(self) -> int:
        """Bytes of memory of the web process."""
        return psutil.Process(self.process.pid).memory_info().rss

    def cpu_s(self) -> float:
        """Seconds that the web process has computed."""
        return float(sum(psutil.Process(self.process.pid).cpu_times()[:2]))

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(60)


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    made = Web(tmp_path_factory.mktemp("load"))
    yield made
    made.close()


def watch(web: Web, viewers: int, seconds: float, every_s: float) -> tuple[list[float], list[str]]:
    """`viewers` pages poll for a while; how long each answer took, and what failed."""
    took: list[float] = []
    failed: list[str] = []
    end = time.monotonic() + seconds

    def view(number: int) -> None:
        with httpx.Client(timeout=30, trust_env=False) as client:
            time.sleep(every_s * number / viewers)
            while time.monotonic() < end:
                try:
                    took.append(web.poll(client, f"viewer{number}"))
                except (httpx.HTTPError, AssertionError) as error:
                    failed.append(repr(error))
                time.sleep(max(0.0, every_s - (took[-1] if took else 0.0)))

    threads = [threading.Thread(target=view, args=(n,)) for n in range(viewers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return took, failed


def p95(took: list[float]) -> float:
    """The value that 95 of 100 answers stay below."""
    return statistics.quantiles(took, n=20)[-1]


def test_l1_a_few_viewers_are_answered_at_once(web: Web) -> None:
    watch(web, 5, 3.0, 1.0)
    before, spent = web.rss(), web.cpu_s()
    took, failed = watch(web, 10, 8.0, 5.0)
    assert failed == []
    assert len(took) >= 10
    # The server's own work, so that a busy machine changes nothing; the long form takes the time.
    assert (web.cpu_s() - spent) / len(took) < 0.1
    assert web.rss() - before < 20 * 2**20


@pytest.mark.slow
def test_l1_fifty_viewers_for_a_minute(web: Web) -> None:
    watch(web, 50, 8.0, 5.0)
    before = web.rss()
    took, failed = watch(web, 50, 60.0, 5.0)
    assert failed == []
    assert len(took) >= 50 * 60 / 5 * 0.8
    assert p95(took) < 0.3
    assert web.rss() - before < 20 * 2**20


def test_l4_uploads_stay_below_the_cap_and_leave_nothing(web: Web) -> None:
    cache = web.folder / "data" / "cache"
    before = sum(f.stat().st_size for f in cache.rglob("*") if f.is_file())
    statuses: list[int] = []

    def upload(number: int) -> None:
        def body() -> Iterator[bytes]:
            yield b'--x\r\ncontent-disposition: form-data; name="files"; filename="a.mp4"\r\n\r\n'
            for _ in range(210):
                yield bytes(2**20)

        headers = {"content-type": "multipart/form-data; boundary=x"}
        try:
            answer = httpx.post(
                f"{web.url}/gradio_api/upload?upload_id=u{number}",
                content=body(),
                headers=headers,
                timeout=120,
                trust_env=False,
            )
            statuses.append(answer.status_code)
        except httpx.TransportError:
            # The door was shut while we were still talking.
            statuses.append(413)

    threads = [threading.Thread(target=upload, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(statuses) <= {400, 413}
    assert len(statuses) == 4
    after = sum(f.stat().st_size for f in cache.rglob("*") if f.is_file())
    assert after - before < 2**20
    assert httpx.get(f"{web.url}/healthz", trust_env=False).status_code == 200


def reload_pages(web: Web, times: int) -> None:
    """Open and leave the page."""
    with httpx.Client(timeout=60, trust_env=False) as client:
        for k in range(times):
            assert client.get(web.url).status_code == 200
            assert client.get(f"{web.url}/config").status_code == 200
            web.poll(client, f"reload{k}")


@pytest.mark.parametrize("times", [10, pytest.param(200, marks=pytest.mark.slow)])
def test_l6_reloads_leave_no_threads_and_no_files_open(web: Web, times: int) -> None:
    reload_pages(web, 3)
    process = psutil.Process(web.process.pid)
    threads, files, memory = process.num_threads(), process.num_fds(), web.rss()
    reload_pages(web, times)
    assert process.num_threads() - threads <= 4
    assert process.num_fds() - files <= 8
    assert web.rss() - memory < 30 * 2**20


def test_an_idle_studio_costs_next_to_nothing(web: Web) -> None:
    time.sleep(1.0)
    before = web.cpu_s()
    time.sleep(10.0)
    # Processor time grows with what else shares the caches.
    assert (web.cpu_s() - before) / 10.0 < 0.08
