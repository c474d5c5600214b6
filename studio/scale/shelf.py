"""One job's files between a worker's scratch folder and the depot."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from studio.core.errors import StorageError
from studio.jobs.records import LeaseLost
from studio.scale.depot import Depot, Stored, stored_files

WORK, CLIPS = "work", "clips"
STEPS = "steps.safetensors"
PREVIEW = "preview.webp"
_Mark = tuple[float, int]


class Shelf:
    """What of `work_dir` and `outputs_dir` is in the depot, for one attempt at one job.

    `fence` grows with every claim of the job: once a later attempt has written the manifest, this
    one may not any more.
    """

    def __init__(
        self, depot: Depot, job_id: str, fence: float, work_dir: Path, outputs_dir: Path
    ) -> None:
        self.depot = depot
        self.job_id = job_id
        self.fence = fence
        self.roots = {WORK: work_dir, CLIPS: outputs_dir}
        self._files: dict[str, Stored] = {}
        self._marks: dict[str, _Mark] = {}

    def open(self) -> None:
        """Bring what earlier attempts published into `work_dir`, and take over the manifest."""
        self._files = {
            name: stored
            for name, stored in stored_files(self.depot.manifest(self.job_id)).items()
            if name.startswith(f"{WORK}/")
        }
        for name in sorted(self._files, key=_records_last):
            path = self._path(name)
            self.depot.take(self.job_id, self._files[name], path)
            self._marks[name] = _mark(path)
        self.depot.write_manifest(self.job_id, self.fence, self._files)

    def ignore(self, root: str) -> None:
        """What lies in `root` now came from elsewhere and is not this job's work."""
        for path in self._found(root):
            self._marks[self._name(root, path)] = _mark(path)

    def push(self, root: str = WORK, only: str | None = None) -> bool:
        """Publish what is new or changed; whether anything was.

        Raises:
            LeaseLost: if a later attempt has begun.
            StorageError: if the depot cannot be written.
        """
        paths = [self.roots[root] / only] if only else self._found(root)
        fresh = {self._name(root, p): p for p in paths if p.is_file()}
        fresh = {name: p for name, p in fresh.items() if self._marks.get(name) != _mark(p)}
        gone = set() if only else {n for n in self._of(root) if not self._path(n).is_file()}
        if not fresh and not gone:
            return False
        before = set(self._files.values())
        for name, path in fresh.items():
            mark = _mark(path)
            self._files[name] = self.depot.put(self.job_id, path)
            self._marks[name] = mark
        for name in gone:
            del self._files[name]
        if self.depot.manifest(self.job_id)["fence"] > self.fence:
            raise LeaseLost(f"job {self.job_id} was begun elsewhere; stop it here")
        self.depot.write_manifest(self.job_id, self.fence, self._files)
        for replaced in before - set(self._files.values()):
            self.depot.drop(self.job_id, replaced)
        return True

    def _of(self, root: str) -> list[str]:
        return [name for name in self._files if name.startswith(f"{root}/")]

    def _found(self, root: str) -> list[Path]:
        base = self.roots[root]
        return [
            path
            for path in sorted(base.rglob("*"))
            if path.is_file() and path.suffix != ".tmp" and path.name != PREVIEW
        ]

    def _name(self, root: str, path: Path) -> str:
        return f"{root}/{path.relative_to(self.roots[root]).as_posix()}"

    def _path(self, name: str) -> Path:
        return place(self.roots, name)


def place(roots: dict[str, Path], name: str) -> Path:
    """Where the file that a manifest calls `name` belongs.

    Raises:
        StorageError: for a name that leads out of its folder.
    """
    root, *rest = PurePosixPath(name).parts
    if root not in roots or not rest or ".." in rest:
        raise StorageError(f"the shared storage names a file {name!r}; clean its jobs folder")
    return roots[root].joinpath(*rest)


def _records_last(name: str) -> tuple[bool, str]:
    return name.endswith(".json"), name


def _mark(path: Path) -> _Mark:
    about = path.stat()
    return about.st_mtime, about.st_size
