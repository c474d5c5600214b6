"""A Ray cluster on loopback, and a front end whose actors run the toy or the pocket model."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from studio.core.request import TextToVideo
from studio.core.settings import ROOT, Settings, prepare_data_dir
from studio.jobs.backup import open_store
from studio.jobs.supervisor import Policy
from studio.scale.cluster import Cluster
from studio.scale.front import Front, Post
from tests.faults.conftest import wait_for

TOY = "tests.faults.toy:run"


class Nodes:
    """`ray start` processes; each is a machine as far as Ray is concerned."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0
        self.raylets: dict[str, psutil.Process] = {}
        self.before = {p.pid for p in psutil.process_iter()}

    def start(self, name: str, cpus: int = 1) -> None:
        """Start the head, or another node of its cluster."""
        seen = {p.pid for p in psutil.process_iter()}
        if not self.port:
            import socket

            with socket.socket() as found:
                found.bind(("127.0.0.1", 0))
                self.port = found.getsockname()[1]
            place = ["--head", f"--port={self.port}", "--include-dashboard=false"]
        else:
            place = [f"--address=127.0.0.1:{self.port}"]
        command = [str(Path(sys.executable).parent / "ray"), "start", *place]
        command += ["--node-ip-address=127.0.0.1", f"--num-cpus={cpus}", "--num-gpus=0"]
        command += ["--object-store-memory=80000000", "--disable-usage-stats"]
        if "--head" in command:
            command.append(f"--temp-dir={self.folder}")
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_DISABLE_IMPORT_WARNING": "1"}
        environment["OMP_NUM_THREADS"] = "1"
        subprocess.run(command, env=environment, check=True, capture_output=True, timeout=120)
        for process in psutil.process_iter():
            if process.pid not in seen and process.name() == "raylet":
                self.raylets[name] = process

    def kill(self, name: str) -> None:
        """A power cut: the node's daemon and all that it started, at once."""
        raylet = self.raylets.pop(name)
        for process in [raylet, *raylet.children(recursive=True)]:
            process.send_signal(signal.SIGKILL)

    def stop(self) -> None:
        """End everything that was started here."""
        for process in psutil.process_iter():
            if process.pid in self.before:
                continue
            try:
                line = " ".join(process.cmdline())
            except psutil.Error:
                continue
            if str(self.folder) in line or f":{self.port}" in line:
                process.kill()


class Studio:
    """A front end without a page."""

    def __init__(self, data_dir: Path, nodes: Nodes, runner: str = TOY) -> None:
        self.settings = Settings(
            data_dir=data_dir,
            executor="ray",
            ray_address=f"127.0.0.1:{nodes.port}",
            scratch_dir=data_dir / "scratch",
            threads=1,
        )
        prepare_data_dir(self.settings)
        self.store = open_store(self.settings.jobs_db)
        self.policy = Policy(runner=runner, tick_s=0.05)
        self.cluster = Cluster(self.settings, namespace=data_dir.name)
        self.front: Front | None = None

    def open(self) -> Front:
        """Start the front end."""
        self.front = Front(self.store, self.settings, self.policy, self.cluster)
        self.front.start()
        return self.front

    def close(self) -> None:
        """End the front end."""
        if self.front is not None:
            self.front.close(30)
            self.front = None

    def clear(self) -> None:
        """End this studio's actors; the cluster stays for the next."""
        self.cluster.connect()
        names = [place.name for place in self.cluster.places()]
        self.cluster.remove([a for a in map(self.cluster.find, names) if a is not None])
        self.cluster.close()

    def submit(self, seconds: float = 3, seed: int = 0, prompt: str = "a red ball") -> str:
        """Queue a job."""
        return self.store.submit(TextToVideo(prompt=prompt, seconds=seconds, seed=seed), "anna")

    def all_are(self, *states: str) -> bool:
        """Whether every job is in one of `states`."""
        return all(job.state in states for job in self.store.list())

    def post_of(self, job_id: str) -> Post:
        """The actor that has the job."""
        assert self.front is not None

        def found() -> Post | None:
            posts = list(self.front.posts.values())
            return next((p for p in posts if p.mail and p.mail.job_id == job_id and p.seen), None)

        wait_for(found)
        post = found()
        assert post is not None
        return post


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    # Ray's sockets lie in this folder, and their names are short by law.
    import tempfile

    with tempfile.TemporaryDirectory(prefix="ray") as folder:
        made = Nodes(Path(folder))
        try:
            made.start("head")
            made.start("second")
            yield made
        finally:
            made.stop()


@pytest.fixture
def studio(tmp_path: Path, nodes: Nodes) -> Iterator[Studio]:
    made = Studio(tmp_path, nodes)
    yield made
    made.close()
    made.clear()
    made.store.close()
