"""Fetching weights from the page: progress by bytes, failures as sentences, only for the owner."""

from __future__ import annotations

import sys
import time
from dataclasses import replace

import pytest

from studio.core.errors import RequestError
from studio.ui import downloads
from studio.ui.downloads import Downloads, folder_bytes, hub_folder
from studio.ui.models_view import models_panel
from studio.ui.places import fetch_or_stop
from tests.ui.scripted import open_studio


def hub_preset(engine):
    """Some preset whose weights come from the hub."""
    return engine.presets["wan2.1-t2v-1.3b"]


def wait_until(check):
    end = time.monotonic() + 60
    while not check() and time.monotonic() < end:
        time.sleep(0.05)
    assert check()


def test_bytes_on_the_way_are_counted(engine, tmp_path, monkeypatch):
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    preset = hub_preset(engine)
    folder = hub_folder(preset.weights.path)
    code = f"import pathlib, time; p = pathlib.Path({str(folder)!r}, 'blobs'); " + (
        "p.mkdir(parents=True); (p / 'x.incomplete').write_bytes(b'0' * 1000); time.sleep(60)"
    )
    real = downloads.subprocess.Popen
    monkeypatch.setattr(
        downloads.subprocess, "Popen", lambda _, **more: real([sys.executable, "-c", code], **more)
    )
    monkeypatch.setattr(downloads, "LOOK_S", 0.0)
    fetching = Downloads()
    fetching.start(preset, engine.settings)
    wait_until(lambda: fetching.state(preset).done_bytes == 1000)
    state = fetching.state(preset)
    assert state.running
    assert state.total_bytes == preset.weights.download_bytes
    assert fetching.busy
    shown = models_panel(replace(engine, downloads=fetching))
    assert 'role="progressbar"' in shown
    fetching.stop(preset)
    wait_until(lambda: not fetching.busy)
    assert fetching.state(preset) is None
    assert folder_bytes(folder) == 1000


def test_a_failure_is_the_last_sentence_that_was_said(engine, monkeypatch):
    code = "import sys; sys.stderr.write('first\\nthe hub said no; try later\\n'); sys.exit(1)"
    real = downloads.subprocess.Popen
    monkeypatch.setattr(
        downloads.subprocess, "Popen", lambda _, **more: real([sys.executable, "-c", code], **more)
    )
    fetching, preset = Downloads(), hub_preset(engine)
    fetching.start(preset, engine.settings)
    wait_until(lambda: not fetching.busy)
    assert fetching.state(preset).message == "the hub said no; try later"
    assert "the hub said no" in models_panel(replace(engine, downloads=fetching))


def test_what_ships_is_here_and_says_so(engine):
    shown = models_panel(engine)
    assert 'data-preset="pocket" data-here="1"' in shown
    with pytest.raises(RequestError, match="nothing to download"):
        engine.downloads.start(engine.presets["pocket"], engine.settings)


def test_on_a_space_visitors_fetch_nothing(engine, monkeypatch, tmp_path):
    monkeypatch.setenv("SPACE_ID", "someone/studio")
    assert not engine.private
    with pytest.raises(RequestError, match="owner"):
        fetch_or_stop(engine, "start", "wan2.1-t2v-1.3b")
    assert "vs-get" not in models_panel(engine)
    behind_a_door = open_studio(tmp_path / "door", password="x")
    assert replace(engine, settings=behind_a_door.settings).private
