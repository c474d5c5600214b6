"""Memory, disk and time of a plan: arithmetic that can be checked by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from studio.core.machine import Machine, free_memory, read_machine
from studio.stitching.estimate import PROCESS_BYTES, Pace, estimate, pace_of, within
from tests.stitching.plans import plan, preset

GB = 2**30
BIG = preset(
    memory={
        "transformer_bytes": 8 * GB,
        "text_encoder_bytes": 4 * GB,
        "vae_bytes": 1 * GB,
        "activation_bytes": 2 * GB,
    }
)
LATENT = 4 * 48 * 8 * 8  # float32, 48 channels, 8 x 8


def machine(host: float = 64, disk: float = 64, device: float | None = None) -> Machine:
    return Machine(int(host * GB), int(disk * GB), None if device is None else int(device * GB))


def test_on_the_host_one_part_at_a_time_is_loaded() -> None:
    need = estimate(plan(BIG), BIG, machine())
    assert need.device_bytes == 0
    assert need.host_bytes == PROCESS_BYTES + 8 * GB + 2 * GB + 4 * 7 * LATENT
    assert need.fits
    assert need.advice == ""
    assert need.seconds is None


@pytest.mark.parametrize(
    ("offload", "weights"), [("none", 13 * GB), ("auto", 8 * GB), ("model", 8 * GB), ("block", GB)]
)
def test_the_device_holds_what_offload_leaves_there(offload: str, weights: int) -> None:
    need = estimate(plan(BIG), BIG, machine(device=80), offload=offload)
    assert need.device_bytes == weights + 2 * GB + 4 * 7 * LATENT


def test_what_does_not_fit_gets_the_next_step_down_as_advice() -> None:
    said = {
        offload: estimate(plan(BIG), BIG, machine(device=1), offload=offload).advice
        for offload in ("none", "auto", "block", "disk")
    }
    assert "choose offload: auto" in said["none"]
    assert "choose offload: block" in said["auto"]
    assert "choose offload: disk" in said["block"]
    assert "choose 128x96" in said["disk"]
    assert "GiB of device memory are missing" in said["none"]
    assert "data directory" in estimate(plan(BIG), BIG, machine(disk=0)).advice


def test_memory_of_a_longer_clip_grows_by_its_latents_only() -> None:
    short, long = plan(BIG, seconds=10), plan(BIG, seconds=100)
    grown = estimate(long, BIG, machine()).host_bytes - estimate(short, BIG, machine()).host_bytes
    assert grown == 4 * LATENT * (long.latent_frames - short.latent_frames)


def test_time_follows_the_pace_of_clips_like_it() -> None:
    made = plan(BIG)
    like = {"model": "pocket", "width": 128, "height": 128, "frames": 10, "forwards": 40}
    rows = [{**like, "timings": {"sampling_s": s, "decoding_s": 1.0}} for s in (4.0, 8.0, 80.0)]
    other = {**like, "width": 64, "timings": {"sampling_s": 1.0}}
    pace = pace_of([*rows, other], made)
    assert pace == Pace(0.2, 0.1)
    # 1 window x 20 steps x 2 branches, 25 frames.
    assert estimate(made, BIG, machine(), pace=pace).seconds == 40 * 0.2 + 25 * 0.1
    assert pace_of([other], made) is None


def test_free_memory_minds_the_container(tmp_path: Path) -> None:
    info = tmp_path / "meminfo"
    info.write_text("MemTotal: 100 kB\nMemAvailable:   64 kB\n", encoding="ascii")
    assert free_memory(info, tmp_path) == 64 * 1024
    (tmp_path / "memory.current").write_text("1000\n", encoding="ascii")
    (tmp_path / "memory.max").write_text("max\n", encoding="ascii")
    assert free_memory(info, tmp_path) == 64 * 1024
    (tmp_path / "memory.max").write_text("3000\n", encoding="ascii")
    assert free_memory(info, tmp_path) == 2000


def test_read_machine_of_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    found = read_machine(tmp_path / "not" / "yet")
    assert found.disk_free_bytes > 0
    assert found.host_free_bytes > 0
    assert found.device_free_bytes is None


@pytest.mark.parametrize(
    ("device", "offload", "said"),
    [
        (9, "none", "choose offload: block"),
        (10.5, "none", "choose offload: auto"),
        (3.5, "none", "choose offload: block"),
        (2.6, "auto", "choose 128x96 and offload: block"),
    ],
)
def test_the_change_that_is_named_fits(device: float, offload: str, said: str) -> None:
    need = estimate(plan(BIG), BIG, machine(device=device), offload=offload)
    assert not need.fits
    assert said in need.advice
    words = need.advice.replace(".", "").split()
    stronger = words[-1]
    size = {"width": 128, "height": 96} if "128x96" in words else {}
    assert estimate(plan(BIG, **size), BIG, machine(device=device), offload=stronger).fits


def test_a_budget_is_all_that_models_may_take() -> None:
    assert within(machine(), 0) == machine()
    assert within(machine(), GB).host_free_bytes == GB + PROCESS_BYTES
    assert within(machine(device=80), GB) == machine(device=1)


def test_on_a_host_block_is_not_named_since_it_would_not_help() -> None:
    tight = Machine(PROCESS_BYTES + 4 * GB, 64 * GB)
    assert "choose offload: disk" in estimate(plan(BIG), BIG, tight, offload="auto").advice
    assert estimate(plan(BIG), BIG, tight, offload="disk").fits
    assert not estimate(plan(BIG), BIG, tight, offload="block").fits
    assert "choose offload: disk" in estimate(plan(BIG), BIG, tight, offload="block").advice
