"""The web process as it is started for real: small, closed, quick, and ended by a signal."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from gradio_client import Client

from studio.core.errors import StudioError
from studio.core.settings import ROOT, Settings
from studio.ui.serve import check_open, with_data_dir

PATIENCE_S = 120.0


def free_port() -> int:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return int(door.getsockname()[1])


def environment(**more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("STUDIO_", "GRADIO_"))}
    return {**kept, **more}


def start(folder: Path, port: int, **more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "app.py", "--port", str(port), "--data-dir", str(folder / "data")]
    with (folder / "app.log").open("wb") as log:
        return subprocess.Popen(command, cwd=ROOT, env=environment(**more), stdout=log, stderr=log)


def wait_until_up(process: subprocess.Popen[bytes], url: str) -> float:
    began = time.monotonic()
    while time.monotonic() - began < PATIENCE_S:
        assert process.poll() is None, "the studio ended"
        try:
            if httpx.get(url, trust_env=False).status_code == 200:
                return time.monotonic() - began
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError("the studio did not answer")


@pytest.fixture(scope="module")
def running(tmp_path_factory) -> Iterator[tuple[subprocess.Popen[bytes], str, Path]]:
    folder = tmp_path_factory.mktemp("web")
    port = free_port()
    process = start(folder, port)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_up(process, url)
        yield process, url, folder
    finally:
        process.kill()
        process.wait()


def test_the_page_never_imports_torch():
    code = (
        "import sys, studio.ui.shell, studio.ui.serve, studio.jobs.executors\n"
        "heavy = {'torch', 'diffusers', 'transformers'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment(), check=False)
    assert done.returncode == 0


def test_a_sign_of_life_and_the_page(running):
    _, url, _ = running
    assert httpx.get(f"{url}/healthz").json() == {"status": "ok"}
    page = httpx.get(url)
    assert page.status_code == 200
    assert page.headers["x-content-type-options"] == "nosniff"


def test_the_page_names_no_other_machine(running):
    _, url, _ = running
    text = httpx.get(url).text
    for name in ("googleapis", "gstatic", "jsdelivr", "cdnjs", "huggingface.co/datasets"):
        assert name not in text, name
    assert httpx.get(f"{url}/gradio_api/startup-events").status_code == 200


def test_the_web_process_stays_small(running):
    process, url, _ = running
    for _ in range(5):
        httpx.get(url)
    assert psutil.Process(process.pid).memory_info().rss < 250 * 2**20


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"origin": "http://evil.example"},
        {"sec-fetch-site": "cross-site"},
    ],
)
def test_foreign_names_and_sites_get_no_upload(running, headers):
    _, url, folder = running
    files = {"files": ("a.png", b"x" * 10, "image/png")}
    answer = httpx.post(f"{url}/gradio_api/upload", files=files, headers=headers)
    assert answer.status_code in (400, 403)
    assert list((folder / "data" / "cache").rglob("a.png")) == []


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file=../../etc/passwd",
        "/gradio_api/file=https://evil.example/x.png",
        "/gradio_api/process_recording",
        "/pwa_icon/9000",
        "/monitoring",
        "/studio/clips/000/x.mp4",
        "/studio/clips/000/..%2f..%2fjobs.mp4",
    ],
)
def test_files_and_needless_routes_are_closed(running, path):
    _, url, _ = running
    answer = httpx.get(f"{url}{path}")
    assert answer.status_code in (403, 404, 405), answer.text[:300]


def test_the_data_directory_is_not_served(running):
    _, url, folder = running
    for name in ("jobs.sqlite", "studio.key", "outputs/a.mp4", "inputs/a.png"):
        path = folder / "data" / name
        assert httpx.get(f"{url}/gradio_api/file={path}").status_code == 403, name


def test_programs_use_the_api(running):
    _, url, _ = running
    client = Client(url, verbose=False, analytics_enabled=False)
    try:
        names = httpx.get(f"{url}/gradio_api/info").json()["named_endpoints"]
        assert set(names) == {"/generate", "/status", "/result", "/plan", "/presets", "/rewrite"}
        assert all(names[name]["description"] for name in names)
        assert "pocket" in {p["id"] for p in client.predict(api_name="/presets")}
        request = {"kind": "t2v", "prompt": "a red ball rises", "seconds": 6, "seed": 2}
        plan = client.predict(request, api_name="/plan")
        assert plan["forwards"] > 0
        with pytest.raises(Exception, match="seconds"):
            client.predict({**request, "seconds": -1}, api_name="/generate")
        i2v = {"kind": "i2v", "image": "/etc/passwd"}
        with pytest.raises(Exception, match="not here any more"):
            client.predict(i2v, api_name="/generate")
    finally:
        client.close()


def test_sigterm_ends_it_cleanly(running):
    """The last test that uses the running studio."""
    process, _, folder = running
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0
    assert "Traceback" not in (folder / "app.log").read_text()


def test_it_says_in_a_sentence_why_it_does_not_start(tmp_path):
    done = subprocess.run(
        [sys.executable, "app.py", "--data-dir", "/proc/nowhere"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


def test_others_are_let_in_only_with_a_password(monkeypatch):
    monkeypatch.delenv("SPACE_ID", raising=False)
    for more in ({"host": "0.0.0.0"}, {"share": True}, {"host": "192.168.0.4"}):
        with pytest.raises(StudioError, match="password"):
            check_open(Settings(password="", **more))
        check_open(Settings(password="correct horse", **more))
    check_open(Settings(host="127.0.0.1", password=""))
    monkeypatch.setenv("SPACE_ID", "me/studio")
    assert check_open(Settings(host="0.0.0.0", password="")) is None


def test_a_space_without_a_home_keeps_its_data_elsewhere(monkeypatch, tmp_path):
    monkeypatch.setenv("SPACE_ID", "me/studio")
    monkeypatch.delenv("STUDIO_DATA_DIR", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", "/proc/nowhere")
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    assert with_data_dir(Settings()).data_dir == tmp_path / "video-studio"
    with pytest.raises(StudioError, match="cannot be written"):
        with_data_dir(Settings(data_dir=Path("/proc/elsewhere")))
    monkeypatch.delenv("SPACE_ID")
    with pytest.raises(StudioError, match="cannot be written"):
        with_data_dir(Settings())


def test_a_space_listens_where_it_must(monkeypatch):
    from app import read_settings

    monkeypatch.setenv("SPACE_ID", "me/studio")
    monkeypatch.delenv("STUDIO_HOST", raising=False)
    settings = read_settings([])
    assert (settings.host, settings.port) == ("0.0.0.0", 7860)
    monkeypatch.delenv("SPACE_ID")
    assert read_settings([]).host == "127.0.0.1"
