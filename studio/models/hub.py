"""Weights from the hub: fetched only when asked for, safetensors and settings only, resumable."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.core.errors import PresetError, WeightsError
from studio.core.preset import Preset
from studio.models.weights import find_folder, read_header, weight_files

WANTED = ("*.json", "*.safetensors", "*.txt", "*.model")
"""Never code, never pickles."""


@dataclass(frozen=True)
class PartReport:
    """One component's weights on this machine."""

    part: str
    files: int
    bytes: int
    problem: str = ""


def is_plain(pattern: str) -> bool:
    """Whether a pattern names settings or safetensors only."""
    return pattern.endswith(tuple(wanted.removeprefix("*") for wanted in WANTED))


def pull(preset: Preset) -> Path:
    """Fetch the preset's weights; what is there already is kept. The folder they are in.

    Raises:
        PresetError: if its weights do not come from the hub.
        WeightsError: without a network, or if the repository refuses.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    weights = preset.weights
    if weights.source != "hub":
        raise PresetError(f"{preset.title} has its weights here already; nothing is to be fetched")
    options: dict[str, Any] = {"allow_patterns": list(WANTED)}
    try:
        found = snapshot_download(
            weights.path,
            revision=weights.revision or None,
            **{**options, "allow_patterns": [p for p in weights.files or WANTED if is_plain(p)]},
        )
        for more in weights.adapters:
            if more.count("/") == 1 and not Path(more).expanduser().exists():
                snapshot_download(more, **options)
    except (OfflineModeIsEnabled, LocalEntryNotFoundError, ConnectionError) as error:
        raise WeightsError(
            f"{weights.path} cannot be reached; check the network (and that HF_HUB_OFFLINE is "
            "not set), then pull again: what was fetched is kept"
        ) from error
    except (HfHubHTTPError, OSError) as error:
        raise WeightsError(
            f"{weights.path} cannot be fetched ({str(error).splitlines()[0][:160]}); if it is "
            "gated, accept its licence on the hub and log in with `hf auth login`"
        ) from error
    return Path(found)


def verify(preset: Preset) -> list[PartReport]:
    """Every component's files, read to their headers; a problem is a sentence, not an error.

    Raises:
        WeightsError: if the weights are not on this machine at all.
    """
    folder = find_folder(preset)
    reports = []
    for part in sorted(p for p in folder.iterdir() if p.is_dir()):
        if not (part / "config.json").is_file():
            continue
        try:
            files = weight_files(part)
            for file in files:
                read_header(file)
        except WeightsError as error:
            reports.append(PartReport(part.name, 0, 0, str(error)))
            continue
        size = sum(file.stat().st_size for file in files)
        reports.append(PartReport(part.name, len(files), size))
    return reports
