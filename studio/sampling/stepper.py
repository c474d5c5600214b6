"""One face for diffusers' schedulers: their step signatures, noise levels and saved state.

`x` and predictions are [B, C, T, H, W]. Index i counts the timesteps of the run; level i is the
noise before step i, and level `len(stepper)` is the clean end.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class Step:
    """Where the run is: step `index` of `count`, at `timestep` (0-dim) and noise level `sigma`."""

    index: int
    count: int
    timestep: Tensor
    sigma: float


class Stateful(Protocol):
    """Something else that a resumed run must find as it was."""

    def state(self) -> dict[str, Tensor]: ...

    def restore(self, state: dict[str, Tensor]) -> None: ...


_SCALARS = ("lower_order_nums", "this_order", "_step_index", "_begin_index")
_LISTS = ("model_outputs", "timestep_list")


def scheduler_state(scheduler: Any) -> dict[str, Tensor]:
    """What a scheduler has gathered during a run, as tensors that safetensors can keep."""
    state: dict[str, Tensor] = {}
    for name in _SCALARS:
        value = getattr(scheduler, name, None)
        if value is not None:
            state[name] = torch.tensor(int(value))
    for name in _LISTS:
        for i, value in enumerate(getattr(scheduler, name, [])):
            if value is not None:
                state[f"{name}.{i}"] = torch.as_tensor(value).detach().clone()
    last = getattr(scheduler, "last_sample", None)
    if last is not None:
        state["last_sample"] = last.detach().clone()
    return state


def restore_scheduler(scheduler: Any, state: dict[str, Tensor]) -> None:
    """Put `scheduler_state` back into a scheduler that had the same `set_timesteps`."""
    for name in _SCALARS:
        if hasattr(scheduler, name) or name in state:
            setattr(scheduler, name, int(state[name]) if name in state else None)
    for name in _LISTS:
        if hasattr(scheduler, name):
            size = len(getattr(scheduler, name))
            setattr(scheduler, name, [state.get(f"{name}.{i}") for i in range(size)])
    if hasattr(scheduler, "last_sample"):
        scheduler.last_sample = state.get("last_sample")


class Stepper:
    """Steps a whole clip with a diffusers scheduler on which `set_timesteps` was called.

    Knows FlowMatchEuler, UniPC and DPM++ (flow or not) and CogVideoX' DDIM and DPM. `generator` is
    for schedulers that draw noise; it is part of the saved state.
    """

    def __init__(
        self, scheduler: Any, timesteps: Tensor, generator: torch.Generator | None = None
    ) -> None:
        self.scheduler = scheduler
        self.timesteps = timesteps
        self.generator = generator
        names = inspect.signature(scheduler.step).parameters
        self._cog_dpm = "old_pred_original_sample" in names
        self._draws = generator is not None and "generator" in names
        self._sigma_offset = len(scheduler.timesteps) - len(timesteps)
        self._old_clean: Tensor | None = None
        self._attached: dict[str, Stateful] = {}

    def attach(self, name: str, part: Stateful) -> None:
        """Save and restore `part` with this stepper; attach before `restore`."""
        self._attached[name] = part

    def __len__(self) -> int:
        return len(self.timesteps)

    def at(self, index: int) -> Step:
        """The step at `index`."""
        return Step(index, len(self), self.timesteps[index], self.level(index)[1])

    def level(self, index: int) -> tuple[float, float]:
        """(alpha, sigma) of level `index`: x = alpha * clean + sigma * noise."""
        if index >= len(self):
            return 1.0, 0.0
        sigmas = getattr(self.scheduler, "sigmas", None)
        if sigmas is None:
            kept = float(self.scheduler.alphas_cumprod[int(self.timesteps[index])])
            return kept**0.5, (1 - kept) ** 0.5
        sigma = float(sigmas[index + self._sigma_offset])
        if self._is_flow:
            return 1.0 - sigma, sigma
        alpha = 1.0 / (sigma**2 + 1) ** 0.5
        return alpha, sigma * alpha

    def scaled(self, x: Tensor, index: int) -> Tensor:
        """`x` as the model wants to see it."""
        scale = getattr(self.scheduler, "scale_model_input", None)
        return x if scale is None else scale(x, self.timesteps[index])

    def step(self, prediction: Tensor, index: int, x: Tensor) -> Tensor:
        """`x` one step on. Call it once for every index, in order, with the whole clip."""
        options: dict[str, Any] = {"generator": self.generator} if self._draws else {}
        t = self.timesteps[index]
        if not self._cog_dpm:
            stepped: Tensor = self.scheduler.step(prediction, t, x, **options, return_dict=False)[0]
            return stepped.to(x.dtype)
        # CogVideoX keeps latents as [B, T, C, H, W] and draws its noise in that order.
        back = self.timesteps[index - 1] if index > 0 else None
        stepped, self._old_clean = self.scheduler.step(
            prediction.transpose(1, 2),
            self._old_clean,
            t,
            back,
            x.transpose(1, 2),
            **options,
            return_dict=False,
        )
        return stepped.transpose(1, 2).to(x.dtype)

    def clean(self, prediction: Tensor, index: int, x: Tensor) -> Tensor:
        """The clean latents that `prediction` at `x` means (float32; for previews)."""
        alpha, sigma = self.level(index)
        sample, pred = x.float(), prediction.float()
        kind = self.scheduler.config.get("prediction_type", "flow_prediction")
        if kind == "sample":
            return pred
        if kind == "epsilon":
            return (sample - sigma * pred) / alpha
        if kind == "v_prediction":
            return alpha * sample - sigma * pred
        return sample - sigma * pred

    def noised(self, clean: Tensor, noise: Tensor, index: int) -> Tensor:
        """`clean` at level `index` with this noise; exactly `clean` at the end."""
        if index >= len(self):
            return clean
        alpha, sigma = self.level(index)
        return alpha * clean + sigma * noise

    def state(self) -> dict[str, Tensor]:
        """Everything that a resumed run needs besides the latents, as tensors."""
        state = scheduler_state(self.scheduler)
        if self._old_clean is not None:
            state["old_clean"] = self._old_clean.detach().clone().contiguous()
        if self.generator is not None:
            state["generator"] = self.generator.get_state()
        for name, part in self._attached.items():
            state |= {f"{name}/{key}": value for key, value in part.state().items()}
        return state

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on where `state` was taken; pass `start` = index of the next step to `sample`."""
        restore_scheduler(self.scheduler, state)
        self._old_clean = state.get("old_clean")
        if self.generator is not None and "generator" in state:
            self.generator.set_state(state["generator"])
        for name, part in self._attached.items():
            own = f"{name}/"
            part.restore({k.removeprefix(own): v for k, v in state.items() if k.startswith(own)})

    @property
    def _is_flow(self) -> bool:
        config = self.scheduler.config
        return bool(config.get("use_flow_sigmas", "prediction_type" not in config))
