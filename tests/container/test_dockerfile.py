"""The Dockerfile by its text, and each RUN line on a bare Debian root (`--long`, as root)."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from studio.core.settings import ROOT, Settings
from tests.container.run_lines import Build, instructions, main, step

TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
FOUND = list(instructions(TEXT))


def test_it_is_small_private_and_well_behaved():
    words: dict[str, list[str]] = {}
    for word, rest in FOUND:
        words.setdefault(word, []).append(rest)
    assert "slim" in words["FROM"][0]
    assert words["ENTRYPOINT"] == ['["tini", "--"]']
    assert "/healthz" in words["HEALTHCHECK"][0]
    assert words["EXPOSE"] == ["7860"]
    assert "--uid 1000" in " ".join(words["RUN"])
    assert words["USER"] == ["user"]
    assert words["ARG"] == ['TORCH_INDEX=""', 'TORCH=""']
    assert not [part for part in ("TOKEN", "SECRET", "PASSWORD", "API_KEY") if part in TEXT.upper()]


def test_its_environment_is_one_the_studio_reads(monkeypatch):
    build = Build()
    for word, rest in FOUND:
        step(build, word, rest)
    for name, value in build.variables.items():
        if name.startswith("STUDIO_"):
            monkeypatch.setenv(name, value)
    settings = Settings()
    assert (settings.host, settings.port) == ("0.0.0.0", 7860)
    volumes = next(rest for word, rest in FOUND if word == "VOLUME")
    assert str(settings.data_dir) in volumes
    assert build.variables["HF_HOME"] in volumes
    assert build.variables["PATH"].startswith("/home/user/.local/bin:/usr/local")


@pytest.mark.slow
@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("debootstrap") is None, reason="needs root and debootstrap"
)
def test_every_run_line_runs_on_a_bare_debian(tmp_path: Path):
    bound = [part for part in os.environ.get("PIP_FIND_LINKS", "").split() if part.startswith("/")]
    binds = [word for part in bound for word in ("--bind", part)]
    then = "python -m studio presets --json >/dev/null"
    assert main(["--root", str(tmp_path / "root"), *binds, "--then", then]) == 0
