"""What a runner is given: folders, models, presets, and how to speak and listen."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from studio.core.errors import PresetError, StudioError
from studio.core.events import Done, Event
from studio.core.preset import Preset, load_presets, parse_preset
from studio.core.request import Request
from studio.core.settings import Settings

log = logging.getLogger("studio.worker")

if TYPE_CHECKING:
    from studio.models.family import Conditions, Family
    from studio.models.manager import ModelManager
    from studio.sampling.loop import Denoise


@dataclass(frozen=True)
class RunContext:
    """Everything around one run of one job."""

    job_id: str
    work_dir: Path
    """This job's own folder; windows that were finished before are still in it."""
    outputs_dir: Path
    cache_dir: Path
    models: ModelManager
    presets: dict[str, Preset]
    emit: Callable[[Event], None]
    should_stop: Callable[[], bool]
    save_latents: Path | None = None
    out: Path | None = None
    owner: str = ""
    """Whose clip it will be."""
    spread: Spread | None = None
    """Other devices that compute parts of the clip, if there are any."""
    deaths: int = 0
    """How many workers were lost to this job's memory; it begins lower on the ladder."""


class Spread(Protocol):
    """Devices that share the forwards of one clip."""

    def open_denoiser(
        self, family: Family, models: ModelManager, conditions: Conditions
    ) -> AbstractContextManager[Denoise]:
        """The family's denoiser, computed on all devices; one scheduler step follows it here."""
        ...


Runner = Callable[[Request, RunContext], Done]

DEFAULT_RUNNER = "studio.jobs.runner:run"


def load_runner(name: str = DEFAULT_RUNNER) -> Runner:
    """The function that "module:function" names.

    Raises:
        StudioError: if there is none.
    """
    module, _, function = name.partition(":")
    try:
        runner: Runner = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise StudioError(
            f"the runner {name} cannot be loaded ({error}); install requirements.txt again"
        ) from error
    return runner


def make_models(settings: Settings) -> ModelManager:
    """An empty model manager for this machine; imports torch only where there is an accelerator."""
    from studio.models.manager import ModelManager

    return ModelManager(
        settings.budget_bytes,
        pick_device(settings.device),
        cache_dir=settings.cache_dir,
        threads=settings.threads,
    )


def all_presets(settings: Settings) -> dict[str, Preset]:
    """The studio's presets and the user's own."""
    return load_presets([settings.presets_dir, settings.user_presets_dir])


def presets_for(settings: Settings, wanted: str) -> dict[str, Preset]:
    """All presets that can be used; a broken file of another one does not stop the job.

    Raises:
        PresetError: for the broken file, if `wanted` is in none of the others.
    """
    try:
        return all_presets(settings)
    except PresetError as broken:
        found = _whole_presets(settings)
        if wanted not in found:
            raise
        log.warning("a preset is left out: %s", broken)
        return found


def _whole_presets(settings: Settings) -> dict[str, Preset]:
    found: dict[str, Preset] = {}
    for folder in (settings.presets_dir, settings.user_presets_dir):
        for path in sorted(folder.glob("*.toml")):
            with suppress(PresetError, OSError, UnicodeDecodeError):
                preset = parse_preset(path.read_text(encoding="utf-8"), path.name)
                found.setdefault(preset.id, preset)
    return found


def pick_device(wish: str) -> str:
    """`wish`, or with "auto" the accelerator if there is one."""
    if wish != "auto":
        return wish
    if not any(Path("/dev").glob("nvidia[0-9]*")):
        # Torch takes seconds to import; without a device file there is nothing to ask it.
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
