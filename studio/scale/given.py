"""What a request reads from files, put where a worker far away finds it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from studio.core.errors import StudioError
from studio.core.settings import Settings
from studio.jobs.inputs import find_clip
from studio.jobs.parts import find_parts
from studio.scale.depot import Depot, Stored

FIELDS = ("image", "last_image", "continue_from")


class Sender:
    """Sends the files of a request to the depot."""

    def __init__(self, depot: Depot, settings: Settings, job_id: str) -> None:
        self.depot = depot
        self.settings = settings
        self.job_id = job_id
        self.given: dict[str, Stored] = {}
        self.library: dict[str, Stored] = {}

    def pack(self, request: dict[str, Any]) -> dict[str, Any]:
        """The request with files named "depot:name"; they are in `given` and `library`.

        Raises:
            StudioError: if one cannot be read or sent.
        """
        packed = dict(request)
        for field in FIELDS:
            if packed.get(field):
                packed[field] = self._send(self._resolved(field, str(packed[field])))
        if packed.get("audio"):
            packed["audio"] = [self._send(Path(name)) for name in packed["audio"]]
        if packed.get("loras"):
            packed["loras"] = [self._lora(lora) for lora in packed["loras"]]
        if packed.get("retake"):
            packed["retake"] = self._retake(dict(packed["retake"]))
        return packed

    def _resolved(self, field: str, name: str) -> Path:
        if field == "continue_from":
            return find_clip(name, self.settings.outputs_dir)
        return Path(name)

    def _lora(self, lora: dict[str, Any]) -> dict[str, Any]:
        path = Path(lora["path"])
        # A name on the hub is no file: every machine finds it in its own cache.
        return {**lora, "path": self._send(path)} if path.is_file() else lora

    def _retake(self, retake: dict[str, Any]) -> dict[str, Any]:
        clip = find_clip(str(retake["clip"]), self.settings.outputs_dir)
        parts = find_parts(clip, self.settings.outputs_dir)
        for path in sorted(parts.folder.iterdir()):
            name = path.relative_to(self.settings.outputs_dir).as_posix()
            self.library[name] = self.depot.put(self.job_id, path)
        return {**retake, "clip": self._send(clip)}

    def _send(self, path: Path) -> str:
        if not path.is_file():
            raise StudioError(f"{path.name} is not there any more; give the file again")
        stored = self.depot.put(self.job_id, path)
        # Named by content, so that the same file has one name in every attempt and on every node.
        name = f"{stored.sha256[:16]}-{path.name}"
        self.given[name] = stored
        return f"depot:{name}"


def user_presets(settings: Settings) -> dict[str, str]:
    """The user's own presets, text by file name."""
    folder = settings.user_presets_dir
    read: Callable[[Path], str] = lambda path: path.read_text(encoding="utf-8")
    return {path.name: read(path) for path in sorted(folder.glob("*.toml"))}
