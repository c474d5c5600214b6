"""A Ray cluster on loopback, and a front end whose actors run the toy or the pocket model."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from studio.core.request import TextToVideo
from studio.core.settings import ROOT, Settings, prepare_data_dir
from studio.jobs.backup import open_store
from studio.jobs.context import DEFAULT_RUNNER
from studio.jobs.supervisor import Policy
from studio.scale.cluster import Cluster
from studio.scale.front import Front
from studio.scale.post import Post
from tests.faults.conftest import wait_for as wait_for_while

TOY = "tests.faults.toy:run"
PATIENCE_S = 300.0


def wait_for(what: Callable[[], object]) -> None:
    """Wait until `what` is true; a cluster's processes start slowly on a busy machine."""
    wait_for_while(what, PATIENCE_S)


class Nodes:
    """`ray start` processes; each is a machine as far as Ray is concerned."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0
        self.raylets: dict[str, psutil.Process] = {}
        self.before = {p.pid for p in psutil.process_iter()}

    def start(self, name: str, cpus: int = 2) -> None:
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
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)

    def stop(self) -> None:
        """End everything that was started here."""
        for name in list(self.raylets):
            self.kill(name)
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
        """Start the front end, if it does not run."""
        if self.front is not None:
            return self.front
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

    def are(self, jobs: list[str], *states: str) -> bool:
        """Whether each of the jobs is in one of `states`; none may fail meanwhile."""
        found = [self.store.get(job) for job in jobs]
        assert "failed" not in {job.state for job in found}, [job.message for job in found]
        return all(job.state in states for job in found)

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


def end(studio: Studio) -> None:
    """Close a front end and end its actors."""
    studio.close()
    studio.clear()
    studio.store.close()


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory, nodes: Nodes) -> Iterator[Studio]:
    made = Studio(tmp_path_factory.mktemp("toys"), nodes)
    yield made
    end(made)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory, nodes: Nodes) -> Iterator[Studio]:
    """A front end whose actors run the pocket model."""
    made = Studio(tmp_path_factory.mktemp("real"), nodes, DEFAULT_RUNNER)
    yield made
    end(made)
