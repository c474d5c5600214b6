"""Where weights lie, what they are, and whether they are all there. Safetensors only."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from studio.core.errors import WeightsError
from studio.core.preset import Preset

PACKAGE = Path(__file__).resolve().parents[1]
MAX_HEADER_BYTES = 100 * 2**20
LISTED = 8


@dataclass(frozen=True)
class LoadReport:
    """How the keys of a file met the keys of a model."""

    consumed: int
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()

    def require_complete(self, what: str) -> None:
        """Raises WeightsError with the list unless every key met its place."""
        if not self.missing and not self.unexpected:
            return
        raise WeightsError(
            f"the weights of {what} do not fit: {self.consumed} keys match, "
            f"{len(self.missing)} are missing ({_listed(self.missing)}) and "
            f"{len(self.unexpected)} are unknown ({_listed(self.unexpected)}); "
            "download the checkpoint again or pick the preset that it belongs to"
        )


def _listed(keys: tuple[str, ...]) -> str:
    shown = ", ".join(keys[:LISTED]) or "none"
    return shown + (", ..." if len(keys) > LISTED else "")


def find_folder(preset: Preset) -> Path:
    """The folder with the preset's weights in diffusers' layout. Never downloads.

    Raises:
        WeightsError: if it is not on this machine; says what to fetch and where to put it.
    """
    weights = preset.weights
    if weights.source == "embedded":
        folder = PACKAGE / weights.path
        remedy = "reinstall the studio, or train it with `python -m studio pocket train`"
    elif weights.source == "local":
        folder = Path(weights.path).expanduser()
        remedy = "correct the path in the preset, or copy the diffusers folder there"
    else:
        return _hub_folder(preset)
    if not folder.is_dir():
        raise WeightsError(f"the weights of {preset.title} are not at {folder}; {remedy}")
    return folder


def _hub_folder(preset: Preset) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    weights = preset.weights
    try:
        found = snapshot_download(
            weights.path, revision=weights.revision or None, local_files_only=True
        )
    except (LocalEntryNotFoundError, HFValidationError, OSError) as error:
        size = f" ({weights.download_bytes / 1e9:.0f} GB)" if weights.download_bytes else ""
        home = os.environ.get("HF_HOME", "~/.cache/huggingface")
        raise WeightsError(
            f"the weights of {preset.title} are not on this machine; download "
            f"{weights.path}{size} with `python -m studio models pull {preset.id}` "
            f"(licence {weights.licence}), which puts them into {home}, or set source = "
            '"local" and path in a preset of yours to a folder that holds a copy'
        ) from error
    return Path(found)


def read_config(folder: Path, name: str = "config.json") -> dict[str, Any]:
    """The JSON object in a weight folder.

    Raises:
        WeightsError: if the file is absent or is not JSON.
    """
    path = folder / name
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"{path} is missing or damaged ({type(error).__name__}); download the weights again"
        ) from error
    return data


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of one component; all shards of an index must be there.

    Raises:
        WeightsError: if there are none, a shard is missing, or there are only pickles.
    """
    # The index of a variant (model.fp16...) counts only where there is no plain one.
    indexes = sorted(folder.glob("*.safetensors.index.json"), key=lambda p: (p.name.count("."), p))
    if indexes:
        names = set(read_config(folder, indexes[0].name).get("weight_map", {}).values())
        absent = sorted(n for n in names if not (folder / n).is_file())
        if absent:
            raise WeightsError(
                f"{folder} lacks {len(absent)} of {len(names)} weight files "
                f"({_listed(tuple(absent))}); download it again, what is there is kept"
            )
        return sorted(folder / n for n in names)
    main = ("model.safetensors", "diffusion_pytorch_model.safetensors")
    files = [folder / n for n in main if (folder / n).is_file()]
    if files:
        return files
    pickles = [p.name for p in folder.glob("*") if p.suffix in (".bin", ".pt", ".pth", ".ckpt")]
    if pickles:
        raise WeightsError(
            f"{folder} holds only pickles ({_listed(tuple(sorted(pickles)))}), which can run "
            "code; convert them with `python -m studio models convert`"
        )
    raise WeightsError(f"{folder} holds no safetensors weights; download them again")


def read_header(path: Path) -> dict[str, Any]:
    """The header of a safetensors file: name -> {dtype, shape, data_offsets}.

    Raises:
        WeightsError: if it is not such a file or shorter than its header says.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(MAX_HEADER_BYTES, size):
                raise ValueError("header too long")
            header: dict[str, Any] = json.loads(file.read(length))
        header.pop("__metadata__", None)
        end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
        if size != 8 + length + end:
            raise ValueError(f"{size:,} bytes instead of {8 + length + end:,}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise WeightsError(
            f"{path} is not a whole safetensors file ({error}); download it again"
        ) from error
    return header


def count_elements(folder: Path) -> int:
    """Numbers in all weight files of a component, read from the headers."""
    return sum(count_in(path) for path in weight_files(folder))


def count_in(path: Path) -> int:
    """Numbers in one safetensors file."""
    return sum(prod(entry["shape"]) for entry in read_header(path).values())


def fingerprint(paths: Iterable[Path]) -> str:
    """A short name of the contents of `paths`: equal for the same files, changed when one changes.

    Files of the hub's cache are known by their content hash already; of others, the head, the
    tail, the size and the time of change count.
    """
    digest = hashlib.sha256()
    for path in sorted(paths):
        real = path.resolve()
        digest.update(path.name.encode())
        if real.parent.name == "blobs":
            digest.update(real.name.encode())
            continue
        state = real.stat()
        digest.update(f"{state.st_size}".encode())
        with real.open("rb") as file:
            digest.update(file.read(2**20))
            file.seek(max(0, state.st_size - 2**20))
            digest.update(file.read(2**20))
        if state.st_size > 2**21:
            digest.update(f"{state.st_mtime_ns}".encode())
    return digest.hexdigest()[:24]
