"""Diffusers' other video pipelines as they are: one call a window.

Longer clips go on from the last frame where a pipeline takes a picture.

Which classes make which mode, and what else they are told, is in the preset's options.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from studio.core.errors import NumericError, PresetError, RequestError, StudioError, WeightsError
from studio.core.plan import Plan
from studio.core.preset import Preset
from studio.core.request import Lora
from studio.models.families.pipeline_call import call_arguments, to_frames, with_guidance
from studio.models.families.pipeline_parts import (
    Late,
    Layout,
    Stage,
    animated_skeleton,
    animated_spec,
    check_classes,
    has_weights,
    network_spec,
    skeleton,
)

if TYPE_CHECKING:
    from studio.models.component import ComponentSpec
    from studio.models.family import Frames
    from studio.models.manager import ModelManager

OPTIONS = {
    "pipelines",
    "call",
    "parts",
    "scheduler",
    "dtype",
    "full_precision",
    "section_frames",
    "vae_tiling",
}
DENOISERS = ("transformer", "unet")


@dataclass(frozen=True)
class Order:
    """One window of a clip: how many frames, from which pictures."""

    plan: Plan
    prompt: str
    seed: int
    frames: int
    image: Frames | None = None
    last_image: Frames | None = None

    @property
    def mode(self) -> str:
        """Which pipeline makes it."""
        if self.last_image is not None:
            return "flf2v"
        return "t2v" if self.image is None else "i2v"


@dataclass(frozen=True)
class Watch:
    """Who hears how far a window is; both may raise to end it."""

    on_step: Callable[[int, int], None]
    """(steps done, steps in all)"""
    on_part: Callable[[str], None]
    """The kind of component that is loaded next."""


def create(preset: Preset, loras: Sequence[Lora] = ()) -> PipelineFamily:
    """The family for `preset`; finds the weights, loads nothing."""
    return PipelineFamily(preset, loras)


class PipelineFamily:
    """One checkpoint that a pipeline of diffusers runs."""

    def __init__(self, preset: Preset, loras: Sequence[Lora] = ()) -> None:
        _check_options(preset)
        self.preset = preset
        self._loras = tuple(loras)
        self.layout = Layout(preset)
        self._dtype = str(preset.options.get("dtype", ""))
        self._full = tuple(preset.options.get("full_precision", ()))

    def components(self) -> dict[str, ComponentSpec]:
        """The networks by kind; nothing is loaded."""
        return self._components

    @cached_property
    def _components(self) -> dict[str, ComponentSpec]:
        found = {
            part: network_spec(
                self.layout,
                part,
                self._dtype_of(part),
                self._loras if part in DENOISERS else (),
                self._finish_of(part),
            )
            for part, folder in self.layout.parts().items()
            if has_weights(folder)
        }
        if "motion_adapter" in found:
            found["unet"] = animated_spec(found["unet"], found.pop("motion_adapter"))
        return found

    def _dtype_of(self, part: str) -> str:
        return "float32" if part in self._full else self._dtype

    def make_frames(self, models: ModelManager, order: Order, watch: Watch) -> Frames:
        """The window's frames [n, H, W, 3], n >= order.frames, given picture first.

        Raises:
            RequestError: if the pipeline refuses what it is asked for.
            WeightsError: if the weights are not this pipeline's.
            NumericError: if what comes out is no picture.
        """
        import torch

        kind = self._pipeline(order.mode)
        stage = Stage(models, watch.on_part)
        try:
            pipe = self._build(kind, stage, order.plan.guidance_scale)
            arguments = call_arguments(kind, self.preset, order)
            self._listen(pipe, kind, arguments, order, watch)
            with torch.no_grad():
                made = _called(pipe, arguments, self.preset.title)
        finally:
            stage.release()
        frames = to_frames(made, (order.plan.width, order.plan.height))
        if len(frames) < order.frames:
            raise NumericError(
                f"{self.preset.title} gave {len(frames)} frames instead of {order.frames}; "
                "correct frame_rule in the preset"
            )
        return frames

    def _pipeline(self, mode: str) -> Any:
        """The pipeline class for a mode."""
        import diffusers

        names: Mapping[str, str] = self.preset.options["pipelines"]
        if mode not in names:
            raise RequestError(
                f"{self.preset.title} has no pipeline for {mode} (it has: {', '.join(names)}); "
                "choose another preset"
            )
        kind = getattr(diffusers, names[mode], None)
        if not inspect.isclass(kind) or not issubclass(kind, diffusers.DiffusionPipeline):
            raise PresetError(
                f"preset {self.preset.id!r} names the pipeline {names[mode]!r}, which diffusers "
                "does not have; correct options.pipelines"
            )
        return kind

    def _build(self, kind: Any, stage: Stage, guidance: float) -> Any:
        """The pipeline on stand-ins; nothing large is loaded yet."""
        wanted = dict(inspect.signature(kind.__init__).parameters)
        del wanted["self"]
        check_classes(self.layout, wanted, self.preset.title)
        specs, places, index = self.components(), self.layout.parts(), self.layout.index()
        given: dict[str, Any] = {}
        absent = []
        for name, parameter in wanted.items():
            if name in specs:
                given[name] = Late(self._bones(name), specs[name], stage, self._dtype_of(name))
            elif name == "scheduler":
                given[name] = self._scheduler()
            elif name in places and name != "motion_adapter":
                given[name] = self.layout.small(name)
            elif name in index and not isinstance(index[name], list):
                given[name] = index[name]
            elif parameter.default is inspect.Parameter.empty:
                given[name] = None
                is_optional = name in index or name in kind._optional_components
                absent += [] if is_optional or name == "motion_adapter" else [name]
        if absent:
            raise WeightsError(
                f"{self.layout.folder} lacks {', '.join(absent)}, which {kind.__name__} needs; "
                "download the weights again or pick the preset that they belong to"
            )
        pipe = kind(**with_guidance(given, guidance))
        # It would wake every stand-in to look for caches to empty.
        pipe.maybe_free_model_hooks = lambda: None
        return pipe

    def _bones(self, part: str) -> Any:
        places = self.layout.parts()
        if part == "unet" and "motion_adapter" in places:
            return animated_skeleton(places["unet"], places["motion_adapter"])
        bones = skeleton(places[part])
        self._finish_of(part)(bones)
        return bones

    def _finish_of(self, part: str) -> Callable[[Any], None]:
        """What is done to a component once it is there."""
        if part == "vae" and self.preset.options.get("vae_tiling"):
            return _tile
        return _leave

    def _scheduler(self) -> Any:
        import diffusers

        changes = dict(self.preset.options.get("scheduler", {}))
        shift = self.preset.defaults.flow_shift
        found = self.layout.small("scheduler")
        if shift is not None:
            changes["flow_shift" if "flow_shift" in found.config else "shift"] = shift
        name = changes.pop("class", type(found).__name__)
        kind = getattr(diffusers, str(name), None)
        if kind is None or not hasattr(kind, "from_config"):
            raise PresetError(
                f"preset {self.preset.id!r} names the scheduler {name!r}, which diffusers does "
                "not have; correct options.scheduler"
            )
        return kind.from_config(found.config, **changes)

    def _listen(
        self, pipe: Any, kind: Any, arguments: dict[str, Any], order: Order, watch: Watch
    ) -> None:
        """Have `watch` told of every step: by the callback, or by the progress bar without one."""
        sections = -(-order.frames // int(self.preset.options.get("section_frames", order.frames)))
        total = sections * order.plan.num_inference_steps
        counted = Counter(watch.on_step, total)
        pipe.set_progress_bar_config(disable=True)
        if "callback_on_step_end" in inspect.signature(kind.__call__).parameters:
            arguments["callback_on_step_end"] = counted.called
        else:
            pipe.progress_bar = lambda *_args, **_kwargs: counted


class Counter:
    """Counts a pipeline's steps, as its callback or in place of its progress bar."""

    def __init__(self, on_step: Callable[[int, int], None], total: int) -> None:
        self._on_step = on_step
        self._total = total
        self._done = 0

    def called(self, _pipe: Any, _step: int, _time: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
        """A step is done; nothing is changed."""
        self.update()
        return kwargs

    def update(self, _count: int = 1) -> None:
        """A step is done."""
        self._done += 1
        self._on_step(min(self._done, self._total), self._total)

    def __enter__(self) -> Counter:
        return self

    def __exit__(self, *_error: object) -> None:
        return None


def _tile(vae: Any) -> None:
    vae.enable_tiling()


def _leave(_module: Any) -> None:
    """Nothing is done."""


def _check_options(preset: Preset) -> None:
    unknown = sorted(set(preset.options) - OPTIONS)
    if unknown:
        raise PresetError(
            f"preset {preset.id!r}: options {', '.join(unknown)} are not known; "
            f"choose among {', '.join(sorted(OPTIONS))}"
        )
    lacking = [m for m in preset.modes if m not in preset.options.get("pipelines", {})]
    if lacking:
        raise PresetError(
            f"preset {preset.id!r} names no pipeline for {', '.join(lacking)}; "
            'add e.g. t2v = "LTXPipeline" to options.pipelines'
        )


def _called(pipe: Any, arguments: Mapping[str, Any], title: str) -> Any:
    """What the pipeline gives; its own complaints as a sentence."""
    try:
        return pipe(**arguments)
    except StudioError:
        raise
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" in str(error):
            raise  # the runner tries again with less
        first = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise RequestError(
            f"{title} cannot make this ({type(error).__name__}: {first}); change the size, the "
            "length or the preset's options"
        ) from error
