"""Shared storage for jobs that run elsewhere: a folder, NFS, or any address that fsspec opens.

A job's file is kept under the hash of its content and never changed; the job's manifest, replaced
whole, says which names stand for which hashes. Whoever writes late can therefore spoil nothing: the
worst it does is to name other content that is whole as well.
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.core.errors import StorageError
from studio.jobs.segments import sha256
from studio.media.publish import atomic_path

HALF = ".tmp"
LOCAL = ("file", "local")


@dataclass(frozen=True)
class Stored:
    """A file as the manifest has it."""

    sha256: str
    size: int


class Depot:
    """Content-named files and manifests below one address."""

    def __init__(self, url: str) -> None:
        """Open `url`, for example /mnt/studio or s3://bucket/studio.

        Raises:
            StorageError: if the address names a file system that is not installed.
        """
        import fsspec

        try:
            self._fs, root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError, OSError) as error:
            raise StorageError(
                f"the shared storage {url} cannot be opened ({error}); "
                "install its fsspec driver (s3fs for s3://) or set STUDIO_SHARED_URL to a folder"
            ) from error
        self.url = url
        self._root = str(root).rstrip("/")
        names = self._fs.protocol
        protocols = (names,) if isinstance(names, str) else tuple(names)
        self._is_local = any(name in LOCAL for name in protocols)

    def put(self, job_id: str, path: Path) -> Stored:
        """Keep the content of `path`; content that is there already is not sent again.

        Raises:
            StorageError: if the storage cannot be written.
        """
        stored = Stored(sha256(path), path.stat().st_size)
        target = self._blob(job_id, stored.sha256)
        try:
            if not (self._fs.exists(target) and self._fs.size(target) == stored.size):
                self._place(target, lambda place: self._fs.put_file(str(path), place))
        except OSError as error:
            raise self._lost("written", error) from error
        return stored

    def take(self, job_id: str, stored: Stored, path: Path) -> None:
        """Write the content to `path`, whole or not at all, and check it.

        Raises:
            StorageError: if it is not there, or is not what the manifest says.
        """
        if path.is_file() and path.stat().st_size == stored.size and sha256(path) == stored.sha256:
            return
        with atomic_path(path) as temporary:
            try:
                self._fs.get_file(self._blob(job_id, stored.sha256), str(temporary))
            except OSError as error:
                raise self._lost("read", error) from error
            if sha256(temporary) != stored.sha256:
                raise StorageError(
                    f"{path.name} came damaged out of {self.url}; check the shared storage"
                )

    def manifest(self, job_id: str) -> dict[str, Any]:
        """{"fence": number, "files": {name: [sha256, size]}}; empty files for a new job."""
        try:
            read: dict[str, Any] = json.loads(self._fs.cat_file(self._manifest(job_id)))
        except FileNotFoundError:
            return {"fence": 0.0, "files": {}}
        except ValueError:
            # Half a manifest can only be one from a storage that lost power: begin anew.
            return {"fence": 0.0, "files": {}}
        except OSError as error:
            raise self._lost("read", error) from error
        return read

    def write_manifest(self, job_id: str, fence: float, files: dict[str, Stored]) -> None:
        """Replace the job's manifest."""
        data = {"fence": fence, "files": {k: [v.sha256, v.size] for k, v in files.items()}}
        text = json.dumps(data).encode()
        try:
            self._place(self._manifest(job_id), lambda place: self._fs.pipe_file(place, text))
        except OSError as error:
            raise self._lost("written", error) from error

    def drop(self, job_id: str, stored: Stored) -> None:
        """Remove content that no manifest names any more."""
        try:
            self._fs.rm_file(self._blob(job_id, stored.sha256))
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._lost("cleaned", error) from error

    def forget(self, job_id: str) -> None:
        """Remove all that is kept of a job."""
        try:
            self._fs.rm(self._folder(job_id), recursive=True)
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._lost("cleaned", error) from error

    def jobs(self) -> set[str]:
        """The jobs of which something is kept."""
        try:
            found = self._fs.ls(f"{self._root}/jobs", detail=False)
        except FileNotFoundError:
            return set()
        except OSError as error:
            raise self._lost("read", error) from error
        return {str(name).rstrip("/").rsplit("/", 1)[-1] for name in found}

    def _place(self, target: str, write: Any) -> None:
        """Write `target` so that it is there whole; object stores do that by themselves."""
        self._fs.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
        if not self._is_local:
            write(target)
            return
        half = f"{target}.{os.getpid()}-{secrets.token_hex(4)}{HALF}"
        write(half)
        Path(half).replace(target)

    def _folder(self, job_id: str) -> str:
        return f"{self._root}/jobs/{job_id}"

    def _blob(self, job_id: str, digest: str) -> str:
        return f"{self._folder(job_id)}/{digest}"

    def _manifest(self, job_id: str) -> str:
        return f"{self._folder(job_id)}/manifest.json"

    def _lost(self, what: str, error: OSError) -> StorageError:
        return StorageError(
            f"the shared storage {self.url} cannot be {what} ({error.strerror or error}); "
            "check that it is mounted, has room and may be written"
        )


def stored_files(manifest: dict[str, Any]) -> dict[str, Stored]:
    """The files of a manifest by name."""
    return {name: Stored(str(d), int(n)) for name, (d, n) in manifest["files"].items()}
