"""A studio that is started for real, its torch-free worker included."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from studio.core.settings import ROOT
from tests.faults.conftest import TOY
from tests.ui.test_web_process import environment

SERVE = f"""
import sys
from functools import partial
from pathlib import Path
from studio.core.settings import Settings
from studio.jobs import supervisor
from studio.ui.serve import serve
supervisor.Policy = partial(supervisor.Policy, {TOY!r})
serve(Settings(data_dir=Path(sys.argv[1]), port=int(sys.argv[2])))
"""


def start_with_toy(folder: Path, port: int) -> subprocess.Popen[bytes]:
    """The web process as `app.py` runs it, whose worker makes toy clips."""
    command = [sys.executable, "-c", SERVE, str(folder / "data"), str(port)]
    with (folder / "app.log").open("ab") as log:
        return subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=log, stderr=log)


def living(data_dir: Path) -> list[int]:
    """Processes whose command names a data directory."""
    name = os.fsencode(data_dir)
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if name in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found
