"""What a planned clip needs on this machine, for the command line."""

from __future__ import annotations

from dataclasses import replace

from studio.commands.wishes import Ready
from studio.core.machine import read_machine
from studio.core.plan import Plan
from studio.core.settings import Settings
from studio.library.library import Library
from studio.stitching.estimate import estimate, pace_of, within
from studio.ui.devices import device_free_bytes

PACE_CLIPS = 60


def estimated(ready: Ready, settings: Settings) -> Plan:
    """The plan with memory, disk and time as this machine has shown them."""
    device = None if settings.device == "cpu" else device_free_bytes()
    machine = within(read_machine(settings.data_dir, device), settings.budget_bytes)
    made = Library(settings.outputs_dir).list(limit=PACE_CLIPS)
    need = estimate(
        ready.plan,
        ready.preset,
        machine,
        offload=ready.request.offload,
        pace=pace_of([clip.summary for clip in made], ready.plan),
    )
    return replace(ready.plan, estimate=need)
