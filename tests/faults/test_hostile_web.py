"""Hostile values and files sent to a running studio: refused at once, and it stays as it is."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.ui.test_web_process import free_port, start, wait_until_up

PASSWORD = "correct horse battery staple"
REFUSED_S = 5.0
GROWTH_BYTES = 300 * 2**20


class Target:
    """A running studio with a password, and a visitor who knows it."""

    def __init__(self, folder, password):
        port = free_port()
        self.url, self.folder = f"http://127.0.0.1:{port}", folder
        self.process = start(folder, port, STUDIO_PASSWORD=password)
        wait_until_up(self.process, f"{self.url}/healthz")
        self.client = httpx.Client(
            base_url=self.url, auth=("me", password), timeout=60, trust_env=False
        )
        # The first answers fill caches that stay.
        self.call("plan", {"kind": "t2v", "prompt": "a red ball", "seconds": 6})

    def call(self, name, value):
        """What an endpoint of the API says: its event's kind, and the text."""
        asked = self.client.post(f"/gradio_api/call/{name}", json={"data": [value]})
        if asked.status_code != 200:
            return str(asked.status_code), asked.text
        heard = self.client.get(f"/gradio_api/call/{name}/{asked.json()['event_id']}").text
        return heard.partition("\n")[0].removeprefix("event: "), heard

    def upload(self, name, content):
        """The path of an uploaded file; None if it was refused."""
        files = {"files": (name, content, "application/octet-stream")}
        answer = self.client.post("/gradio_api/upload", files=files)
        return answer.json()[0] if answer.status_code == 200 else None

    def peak(self):
        """Bytes of memory that the web process ever had."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024


@pytest.fixture(scope="module")
def target(tmp_path_factory) -> Iterator[Target]:
    made = Target(tmp_path_factory.mktemp("hostile"), PASSWORD)
    yield made
    made.client.close()
    made.process.terminate()
    made.process.wait(60)
    assert "Traceback" not in (made.folder / "app.log").read_text()


def refused(target, request):
    """Send it; whether it was refused in time, with a sentence, and nothing is left of it."""
    before = psutil.Process(target.process.pid).memory_info().rss
    began = cpu_s(target)
    kind, said = target.call("generate", request)
    assert kind in ("error", "400", "413", "422"), said[:300]
    assert cpu_s(target) - began < REFUSED_S
    assert "Traceback" not in said
    assert target.peak() - before < GROWTH_BYTES
    assert list((target.folder / "data" / "outputs").iterdir()) == []
    return target.client.get("/healthz").json() == {"status": "ok"}


def cpu_s(target):
    """Seconds that the web process computed: its own time, however busy the machine is."""
    return sum(psutil.Process(target.process.pid).cpu_times()[:2])


VALUES = {
    "nul and bidi": {"kind": "t2v", "prompt": "\u202e\x00" * 2000},
    "path as lora": {
        "kind": "t2v",
        "prompt": "x",
        "loras": [{"path": "../../etc/passwd", "weight": 1}],
    },
    "infinite seconds": {"kind": "t2v", "prompt": "x", "seconds": "1e400"},
    "negative seconds": {"kind": "t2v", "prompt": "x", "seconds": -1},
    "huge steps": {"kind": "t2v", "prompt": "x", "num_inference_steps": 10**30},
    "huge size": {"kind": "t2v", "prompt": "x", "width": 10**6, "height": 10**6},
    "unknown preset": {"kind": "t2v", "prompt": "x", "preset": "../../../etc/passwd"},
    "unknown field": {"kind": "t2v", "prompt": "x", "__class__": "os.system"},
    "many long shots": {"kind": "t2v", "shots": [{"prompt": "y" * 10**5, "seconds": 1}] * 30},
    "prompt of 10 MB": {"kind": "t2v", "prompt": "y" * 10**7},
    "playlist for a name": {"kind": "i2v", "image": "ffconcat version 1.0\nfile /etc/passwd"},
    "file of the machine": {"kind": "i2v", "image": "/etc/passwd"},
    "address": {"kind": "i2v", "image": "http://127.0.0.1:1/a.png"},
    "wrong types": {"kind": ["t2v"], "prompt": {"$ne": 1}},
    "no request": [[[[]]]],
    "nothing": None,
    "deep": json.loads("[" * 500 + "]" * 500),
}


@pytest.mark.parametrize("name", VALUES)
def test_hostile_values_are_refused(target, name):
    assert refused(target, VALUES[name])


def bomb():
    """A PNG of a few kilobytes that says it has 169 million pixels."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", 13_000, 13_000, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(10**6))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [chunk(b"IHDR", head), chunk(b"IDAT", pixels), chunk(b"IEND", b"")]
    )


def zipped():
    """An archive that unpacks to 100 MB."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(10**8))
    return held.getvalue()


def endless_sound():
    """A WAV of a kilobyte whose header promises ten hours."""
    rate, size = 48_000, 0xFFFF_FF00
    form = struct.pack("<HHIIHH", 1, 2, rate, rate * 4, 4, 16)
    head = b"RIFF" + struct.pack("<I", size) + b"WAVEfmt " + struct.pack("<I", 16) + form
    return head + b"data" + struct.pack("<I", size) + bytes(1000)


PLAYLIST = b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
FILES = {
    "bomb.png": bomb,
    "archive.png": zipped,
    "empty.png": lambda: b"",
    "half.png": lambda: bomb()[:40],
    "page.png": lambda: b"<svg onload=alert(1)><script>1</script></svg>",
    "list.png": lambda: PLAYLIST,
    "list.wav": lambda: PLAYLIST,
    "concat.wav": lambda: b"ffconcat version 1.0\nfile /etc/passwd\n",
    "empty.wav": lambda: b"",
    "endless.wav": endless_sound,
    "archive.wav": zipped,
}


@pytest.mark.parametrize("name", FILES)
def test_hostile_files_are_refused(target, name):
    path = target.upload(name, FILES[name]())
    if name.endswith(".wav"):
        face = target.upload("face.png", bomb())
        assert refused(target, {"kind": "avatar", "image": face, "audio": [path]})
        asked = {"kind": "avatar", "preset": "pocket-avatar", "image": "-", "audio": [path]}
        kind, said = target.call("plan", asked)
        assert (kind, "Traceback" in said) == ("error", False), said[:300]
    else:
        assert refused(target, {"kind": "i2v", "prompt": "it moves", "image": path})


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": ""},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
    ],
)
@pytest.mark.parametrize("path", ["/gradio_api/call/generate", "/gradio_api/upload", "/login"])
def test_foreign_names_and_sites_are_turned_away(target, path, headers):
    answer = target.client.post(path, json={"data": [{}]}, headers=headers)
    assert answer.status_code in (400, 403)
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    "path", ["/config", "/gradio_api/info", "/gradio_api/call/presets", "/studio/clips/0/x.mp4"]
)
def test_nobody_is_let_in_without_the_password(target, path):
    for credentials in (None, ("me", "wrong")):
        answer = httpx.get(f"{target.url}{path}", auth=credentials, trust_env=False, timeout=60)
        assert answer.status_code == 401
    posted = httpx.post(f"{target.url}/gradio_api/call/generate", json={}, trust_env=False)
    assert posted.status_code == 401
