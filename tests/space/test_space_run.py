"""The Space as it is started there: app.py as it stands, its environment, no home to write to."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from gradio_client import Client

from studio.core.settings import ROOT
from tests.ui.test_web_process import environment, free_port, wait_until_up

WEIGHTS = ROOT / "studio" / "pocket" / "weights" / "transformer"
PATIENCE_S = 240.0
USER = 1000


def may_run_as_user() -> bool:
    """Whether another user can read this interpreter and the studio."""
    if os.geteuid() != 0:
        return False
    code = "import sys; sys.path.insert(0, sys.argv[1]); import studio, gradio"
    command = [sys.executable, "-c", code, str(ROOT)]
    try:
        return subprocess.run(command, user=USER, group=USER, check=False).returncode == 0
    except PermissionError:
        return False


def unwritable_home(folder: Path, root: bool) -> Path:
    """A home nobody can write; root may write anywhere, but not below a file."""
    home = folder / "home"
    if not root:
        home.mkdir(mode=0o555)
        return home
    home.write_bytes(b"")
    return home / "user"


@pytest.mark.skipif(not WEIGHTS.is_dir(), reason="the pocket model's weights are not here")
def test_a_space_makes_a_clip_as_user_1000_without_a_home(tmp_path: Path):
    who = {"user": USER, "group": USER} if may_run_as_user() else {}
    home = unwritable_home(tmp_path, root=not who)
    free = subprocess.run(["ss", "-ltn"], capture_output=True, text=True, check=False).stdout
    port = 7860 if ":7860 " not in free else free_port()
    more = {
        "SPACE_ID": "someone/video-studio",
        "SPACE_HOST": "someone-video-studio.hf.space",
        "SPACE_AUTHOR_NAME": "someone",
        "ACCELERATOR": "none",
        "CPU_CORES": "2",
        "MEMORY": "16Gi",
        "HOME": str(home),
        "TMPDIR": str(tmp_path / "tmp"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    Path(more["TMPDIR"]).mkdir(mode=0o777)
    Path(more["TMPDIR"]).chmod(0o777)
    tmp_path.chmod(0o755)
    if port != 7860:
        more["STUDIO_PORT"] = str(port)
    log = (tmp_path / "space.log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "app.py", *(["--port", str(port)] if port != 7860 else [])],
        cwd=ROOT,
        env=environment(**more),
        stdout=log,
        stderr=log,
        **who,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_up(process, url)
        there = httpx.get(url, headers={"host": more["SPACE_HOST"]}, trust_env=False)
        assert there.status_code == 200
        assert "huggingface.co" in there.headers["content-security-policy"]
        assert httpx.get(url, headers={"host": "evil.example"}, trust_env=False).status_code == 400
        client = Client(url, verbose=False, analytics_enabled=False)
        asked = {"kind": "t2v", "prompt": "a red ball", "seconds": 0.4, "num_inference_steps": 2}
        job_id = client.predict(asked, api_name="/generate")
        end = time.monotonic() + PATIENCE_S
        state = {}
        while state.get("state") != "done" and time.monotonic() < end:
            state = client.predict(job_id, api_name="/status")
            assert state["state"] not in ("failed", "canceled"), state
            time.sleep(0.5)
        result = client.predict(job_id, api_name="/result")
        clip = httpx.get(url + result["url"], trust_env=False)
        assert clip.headers["content-type"] == "video/mp4"
        assert b"ftyp" in clip.content[:16]
        assert not home.exists() or list(home.iterdir()) == []
    finally:
        process.terminate()
        process.wait(30)
        log.close()
