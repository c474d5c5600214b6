"""What both published avatars need: frames of latents, the noise schedule, counted loading."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from studio.core.errors import WeightsError
from studio.core.preset import Preset
from studio.models.weights import LoadReport, find_folder, read_header

STRIDE = 4
Convert = Callable[[str, Tensor], dict[str, Tensor]]


def video_frames(frames: Sequence[int]) -> list[int]:
    """The video frames that a window's latent frames stand for: 4T-3 of them.

    Latent frame p stands for 4p-3 to 4p, but a window's first one for a single frame, the last of
    those: so it was encoded, and so it is heard.
    """
    first, *others = frames
    inside = [STRIDE * p - back for p in others for back in range(STRIDE - 1, -1, -1)]
    return [STRIDE * first, *inside]


def read_waveform(path: Path) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The sound of a file: mono at 16 kHz, float32 [samples]."""
    from studio.media.audio import load_sound

    waveform: np.ndarray[Any, np.dtype[np.float32]] = load_sound(path).mono
    return waveform


def flow_schedule(steps: int, shift: float) -> tuple[Any, Tensor]:
    """An Euler scheduler on shift*s / (1 + (shift-1)*s) for s = 1 down to 0, and its timesteps.

    The stock spacing of the same scheduler differs by up to 0.07 in sigma.
    """
    import diffusers

    kind: Any = diffusers.FlowMatchEulerDiscreteScheduler
    scheduler = kind(shift=shift)
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 0.0, steps + 1)[:-1])
    return scheduler, scheduler.timesteps


def set_tensor(model: nn.Module, name: str, tensor: Tensor) -> None:
    """Put `tensor` in the place of the parameter `name`, whatever device that was on."""
    parent, _, leaf = name.rpartition(".")
    module = model.get_submodule(parent)
    module._parameters[leaf] = nn.Parameter(tensor, requires_grad=False)


def load_checked(
    model: nn.Module,
    tensors: Iterable[tuple[str, Tensor]],
    convert: Convert,
    expected: set[str] | None = None,
) -> LoadReport:
    """Fill `model` from published tensors, one at a time, and count how they met.

    `convert` names our tensors in a published one; `expected` are the parameters that must come
    (default: all). A name that gives nothing is unexpected, so is one that fills a place twice.

    Raises:
        WeightsError: if a tensor has another shape than its place.
    """
    places = {name: p.shape for name, p in model.named_parameters()}
    left = set(places) if expected is None else set(expected)
    consumed, unexpected = 0, []
    for name, tensor in tensors:
        pieces = convert(name, tensor)
        if not pieces or any(target not in left for target in pieces):
            unexpected.append(name)
            continue
        for target, piece in pieces.items():
            if piece.shape != places[target]:
                raise WeightsError(
                    f"{name} has the shape {tuple(piece.shape)} where the model has "
                    f"{tuple(places[target])}; pick the preset that these weights belong to"
                )
            set_tensor(model, target, piece)
            left.discard(target)
        consumed += 1
    return LoadReport(consumed, tuple(sorted(left)), tuple(unexpected))


def read_tensors(
    paths: Iterable[Path], dtype: torch.dtype | None = None
) -> Iterator[tuple[str, Tensor]]:
    """Names and tensors of safetensors files, in `dtype` if given, one in memory at a time."""
    from safetensors import safe_open

    for path in paths:
        read_header(path)
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118  # not a mapping
                tensor = file.get_tensor(name)
                yield name, tensor if dtype is None else tensor.to(dtype)


def converted(folder: Path, published: str, title: str) -> list[Path]:
    """The safetensors files of a folder whose weights are published as the pickle `published`.

    Raises:
        WeightsError: if there are none; says how to make them.
    """
    found = sorted(folder.glob("*.safetensors"))
    if not found:
        target = folder / Path(published).with_suffix(".safetensors").name
        raise WeightsError(
            f"{title} is published as a pickle, {published}, which can run code; fetch that file "
            f"and run `python -m studio models convert {Path(published).name} {target}`"
        )
    return found


def adapter_folder(preset: Preset, index: int) -> Path:
    """The folder of the preset's further weights number `index`.

    Raises:
        WeightsError: if the preset names too few or it is not on this machine.
    """
    weights = preset.weights
    if index >= len(weights.adapters):
        raise WeightsError(
            f"preset {preset.id!r} needs {index + 1} entries in weights.adapters "
            f"(has {len(weights.adapters)}); copy them from the preset that ships with the studio"
        )
    path = weights.adapters[index]
    local = Path(path).expanduser().is_dir()
    update = {"path": path, "adapters": (), "revision": "", "download_bytes": 0}
    update["source"] = "local" if local or weights.source == "local" else "hub"
    return find_folder(preset.model_copy(update={"weights": weights.model_copy(update=update)}))
