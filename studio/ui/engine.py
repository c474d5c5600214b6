"""What the tabs see of the studio: plan, submit, act. It knows no component and no HTML."""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from studio.core.errors import JobError, MediaError, RequestError, StudioError
from studio.core.machine import Machine, read_machine
from studio.core.plan import Estimate, Plan
from studio.core.preset import Preset, find_preset
from studio.core.request import Request, parse_request
from studio.core.settings import Settings
from studio.director.wildcards import expand_request
from studio.jobs.records import Job
from studio.jobs.store import JobStore
from studio.library.clip import Clip
from studio.library.library import Library
from studio.media.audio import load_sound
from studio.media.images import load_image, probe_image
from studio.media.inputs import store_input
from studio.stitching.estimate import estimate, pace_of, within
from studio.stitching.windows import make_plan
from studio.ui.devices import device_free_bytes
from studio.ui.downloads import Downloads
from studio.ui.links import Links
from studio.ui.policy import LOOPBACK, on_space
from studio.ui.texts import Texts, texts

log = logging.getLogger("studio.web")
OWNER = re.compile(r"[0-9a-f]{32}")
PICTURES = ("image", "last_image")
MAX_CLIPS = 100_000
PACE_CLIPS = 60
NOBODY = ("", "api")
"""Owners of clips that the command line and programs made."""
MAX_PICTURE_BYTES = 64 * 2**20


@lru_cache(maxsize=64)
def sound_seconds(path: str, changed: int) -> float:
    """The length of a sound as it is decoded; remembered until the file changes."""
    del changed
    return load_sound(path).seconds


@dataclass(frozen=True)
class Engine:
    """The services of one studio."""

    settings: Settings
    store: JobStore
    library: Library
    presets: dict[str, Preset]
    t: Texts
    links: Links
    wake: Callable[[], None] = lambda: None
    """Called after something was queued."""
    alive: Callable[[], bool] = lambda: True
    """Whether somebody still looks after the queue."""
    drive: Callable[[str], Iterator[str]] | None = None
    """Where jobs run inside the visitor's event (ZeroGPU): makes one, and gives its states."""
    downloads: Downloads = field(default_factory=Downloads)

    @property
    def private(self) -> bool:
        """Whether whoever is here may change the machine: theirs, or its password is known."""
        alone = self.settings.host in LOOPBACK and not self.settings.share and not on_space()
        return alone or bool(self.settings.password)

    def speaking(self, language: str) -> Engine:
        """The same studio in another language."""
        return replace(self, t=texts(language))

    def owner(self, value: object) -> str:
        """The visitor that a browser says it is, or a new one."""
        if isinstance(value, str) and OWNER.fullmatch(value):
            return value
        return secrets.token_hex(16)

    def preset(self, name: object) -> Preset:
        """The preset called `name`."""
        return find_preset(self.presets, str(name))

    def plan(self, request: Request) -> Plan:
        """What `request` would cost; nothing is loaded."""
        names = getattr(request, "audio", ())
        sound = max((self._sound_seconds(name) for name in names), default=None)
        return make_plan(request, self.preset(request.preset), audio_seconds=sound)

    def _sound_seconds(self, name: str) -> float:
        path = self.uploaded(name, "sound")
        return sound_seconds(str(path), path.stat().st_mtime_ns)

    def estimated(self, request: Request) -> Plan:
        """The plan with memory, disk and time as this machine has shown them."""
        plan, preset = self.plan(request), self.preset(request.preset)
        recent = self.library.list(limit=PACE_CLIPS)
        pace = pace_of([clip.summary for clip in recent], plan)
        need = estimate(plan, preset, self.machine(), offload=request.offload, pace=pace)
        return replace(plan, estimate=need)

    def machine(self) -> Machine:
        """What is free now."""
        free = read_machine(self.settings.data_dir, device_free_bytes())
        return within(free, self.settings.budget_bytes)

    def usual_need(self, preset: Preset) -> Estimate | None:
        """What the preset's usual clip needs; None if nothing usual can be planned."""
        mode = preset.modes[0]
        data: dict[str, Any] = {"kind": mode, "preset": preset.id, "prompt": "-"}
        data |= {"image": "-"} if mode != "t2v" else {}
        data |= {"last_image": "-"} if mode == "flf2v" else {}
        data |= {"audio": ["-"], "seconds": preset.defaults.seconds} if mode == "avatar" else {}
        try:
            request = parse_request(data)
            sound = preset.defaults.seconds if mode == "avatar" else None
            plan = make_plan(request, preset, audio_seconds=sound)
        except StudioError:
            return None
        return estimate(plan, preset, self.machine())

    def admit(self, data: Mapping[str, Any]) -> Request:
        """A request from outside: validated, planned, its pictures checked and kept by content.

        Raises:
            StudioError: a sentence; nothing was queued.
        """
        if not isinstance(data, Mapping):
            # What programs send is JSON of any kind.
            raise RequestError(
                f"a request is an object with kind and prompt (got {str(data)[:20]!r}); send one"
            )
        plain = expand_request(data, self.settings.data_dir)
        for name in PICTURES:
            if name in plain:
                plain[name] = str(self.uploaded(plain[name]))
        request = parse_request(plain)
        self._refuse_paths(request)
        self.plan(request)
        kept: dict[str, Any] = {
            name: str(self._keep(Path(plain[name]))) for name in PICTURES if name in plain
        }
        if getattr(request, "audio", ()):
            home = self.settings.inputs_dir
            sounds = [self.uploaded(name, "sound") for name in plain["audio"]]
            kept["audio"] = [str(store_input(path, home, "audio")) for path in sounds]
        return parse_request({**plain, **kept}) if kept else request

    def submit(self, data: Mapping[str, Any], owner: str, key: str | None = None) -> str:
        """Queue the request in `data`; the job's id."""
        request = self.admit(data)
        source = getattr(request, "continue_from", None)
        if source:
            self.clip(source, owner)
        job_id = self.store.submit(request, owner, key)
        log.info("job queued", extra={"job": job_id, "mode": request.kind})
        self.wake()
        return job_id

    def job(self, job_id: str, owner: str) -> Job:
        """The job, if it is the owner's.

        Raises:
            JobError: if there is none or it is somebody else's.
        """
        job = self.store.get(job_id)
        if job.owner != owner:
            raise JobError(self.t("error.owner"))
        return job

    def clips(self, owner: str) -> list[Clip]:
        """The owner's clips, newest first; on this machine alone also those of the command line."""
        local = self.settings.host in LOOPBACK and not self.settings.share
        owners = {owner, *(NOBODY if local else ())}
        return [c for c in self.library.list(limit=MAX_CLIPS) if c.owner in owners]

    def clip(self, clip_id: str, owner: str) -> Clip:
        """The clip, if the owner may see it.

        Raises:
            RequestError: if not.
        """
        found = next((c for c in self.clips(owner) if c.id == clip_id), None)
        if found is None:
            raise RequestError(self.t("error.clip"))
        return found

    def lend(self, kept: Path) -> Path:
        """A copy of an input picture where the page may show it."""
        place = self.settings.cache_dir / "lent" / kept.stem
        place.mkdir(parents=True, exist_ok=True)
        copy = place / kept.name
        if not copy.exists():
            shutil.copyfile(kept, copy)
        return copy

    def uploaded(self, value: object, what: str = "picture") -> Path:
        """The path of an uploaded file; nothing else on this machine can be named.

        Raises:
            RequestError: if it is not an upload, not there or too large.
        """
        try:
            path = Path(str(value)).resolve()
            there = path.is_file()
        except (OSError, ValueError, RuntimeError) as error:
            raise RequestError(self.t("error.input")) from error
        homes = (self.settings.cache_dir.resolve(), self.settings.inputs_dir.resolve())
        if not any(path.is_relative_to(home) for home in homes) or not there:
            raise RequestError(self.t("error.input"))
        if path.stat().st_size > MAX_PICTURE_BYTES:
            raise MediaError(
                f"a {what} has at most {MAX_PICTURE_BYTES // 2**20} MB "
                f"(got {path.stat().st_size // 2**20} MB); choose a smaller one"
            )
        return path

    def _keep(self, path: Path) -> Path:
        suffix = probe_image(path).suffix
        load_image(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        kept = self.settings.inputs_dir / f"{digest}{suffix}"
        if not kept.exists():
            part = kept.with_name(f".{kept.name}.{secrets.token_hex(4)}")
            shutil.copyfile(path, part)
            part.replace(kept)
        return kept

    def _refuse_paths(self, request: Request) -> None:
        home = self.settings.data_dir.resolve() / "loras"
        for lora in request.loras:
            if not Path(lora.path).resolve().is_relative_to(home):
                raise RequestError(
                    f"a LoRA lies in {home} (got {lora.path!r}); put the file there first"
                )
        source = getattr(request, "continue_from", None)
        if source and not re.fullmatch(r"[A-Za-z0-9_-]{1,80}", source):
            raise RequestError(
                "a clip to continue is named by its id in the gallery; choose one there"
            )
