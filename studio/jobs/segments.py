"""Windows that are finished, in a job's folder: written whole, checked before they are used.

A window is `window-000.mp4`, `window-000.safetensors` (its latents and the last frames) and
`window-000.json`, written last: what has a JSON file whose hashes fit is published and never
computed again. `window-000.decoder.safetensors` is kept for the newest window alone.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.media.publish import atomic_path, remove_leftovers, write_bytes

if TYPE_CHECKING:
    import torch

Tensors = dict[str, "torch.Tensor"]


@dataclass(frozen=True)
class Segment:
    """A published window."""

    index: int
    key: str
    """Fingerprint of everything that decides the run; another key means another run."""
    first_frame: int
    frames: int
    seed: int
    prompt: str
    forwards: int
    clip_sha256: str
    tensors_sha256: str


class SegmentStore:
    """The published windows of one run in `folder`."""

    def __init__(self, folder: Path, key: str) -> None:
        self.folder = folder
        self.key = key
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder)

    def clip_path(self, index: int) -> Path:
        """The window's frames."""
        return self.folder / f"window-{index:03d}.mp4"

    def _tensor_path(self, index: int) -> Path:
        return self.folder / f"window-{index:03d}.safetensors"

    def _decoder_path(self, index: int) -> Path:
        return self.folder / f"window-{index:03d}.decoder.safetensors"

    def _record_path(self, index: int) -> Path:
        return self.folder / f"window-{index:03d}.json"

    def published(self, count: int) -> list[Segment]:
        """The first windows of the run, as far as they are there without a gap."""
        found: list[Segment] = []
        for index in range(count):
            segment = self._read(index)
            if segment is None:
                break
            found.append(segment)
        while 0 < len(found) < count and not self._decoder_path(len(found) - 1).is_file():
            found.pop()
        return found

    def _read(self, index: int) -> Segment | None:
        path = self._record_path(index)
        try:
            segment = Segment(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        files = (self.clip_path(index), self._tensor_path(index))
        if segment.key != self.key or not all(file.is_file() for file in files):
            return None
        hashes = (segment.clip_sha256, segment.tensors_sha256)
        return segment if tuple(sha256(file) for file in files) == hashes else None

    def publish(self, tensors: Tensors, decoder: Tensors, **about: Any) -> Segment:
        """Publish the window whose clip is at `clip_path` already; `about` fills the Segment.

        Raises:
            StorageError: if the disk is full or the folder cannot be written.
        """
        index = int(about["index"])
        save_tensors(self._tensor_path(index), tensors)
        save_tensors(self._decoder_path(index), decoder)
        segment = Segment(
            key=self.key,
            clip_sha256=sha256(self.clip_path(index)),
            tensors_sha256=sha256(self._tensor_path(index)),
            **about,
        )
        write_bytes(self._record_path(index), json.dumps(asdict(segment)).encode())
        if index:
            self._decoder_path(index - 1).unlink(missing_ok=True)
        return segment

    def tensors(self, index: int) -> Tensors:
        """`latents` [1, C, n, h, w] that the window added, and `tail` uint8 [n, H, W, 3]."""
        return load_tensors(self._tensor_path(index))

    def decoder(self, index: int) -> Tensors:
        """The decoder's memory after the window."""
        return load_tensors(self._decoder_path(index))


def save_tensors(path: Path, tensors: Tensors) -> None:
    """Publish a safetensors file.

    Raises:
        StorageError: if the disk is full or the folder cannot be written.
    """
    from safetensors.torch import save

    with atomic_path(path) as temporary:
        temporary.write_bytes(save({k: v.contiguous() for k, v in tensors.items()}))


def load_tensors(path: Path) -> Tensors:
    """The tensors of a safetensors file, in memory of torch's own alignment.

    In a mapped file they lie crooked, and kernels round differently there: a resumed run would
    not be equal to an unbroken one.
    """
    from safetensors.torch import load_file

    return {name: value.clone() for name, value in load_file(path).items()}


def sha256(path: Path) -> str:
    """The hash of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
