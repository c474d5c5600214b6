"""Where a diffusers pipeline's components lie, and stand-ins that load them at their first use.

A pipeline is built on stand-ins: they know their class and settings, and ask the model manager for
the weights when they are called. One large component is held at a time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.core.errors import PresetError, WeightsError
from studio.core.preset import Preset
from studio.core.request import Lora
from studio.models.component import ComponentSpec
from studio.models.families.diffusers_parts import PartsFolder, torch_dtype
from studio.models.families.skeleton import skeleton
from studio.models.weights import find_folder, read_config

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from studio.models.manager import ModelManager

UNUSED = ("safety_checker", "prompt_enhancer", "duration_head")
"""What some repositories hold beside the model and no run here asks for."""

STRUCTURE = ("modules", "named_modules", "children", "named_children")
"""What pipelines ask a component while they look for hooks: its shape answers, not its weights."""

OnHold = Callable[[str], None]


class Layout:
    """The preset's folder, and others that `options.parts` takes components from."""

    def __init__(self, preset: Preset) -> None:
        self.preset = preset
        self.folder = find_folder(preset)
        self._elsewhere = {
            str(part): _adapter(preset, str(where))
            for part, where in dict(preset.options.get("parts", {})).items()
        }

    def index(self) -> dict[str, Any]:
        """model_index.json: which components there are and of which classes."""
        return read_config(self.folder, "model_index.json")

    def place(self, part: str) -> Path:
        """The folder of a component. A repository that is one component has it at its root."""
        folder = self._elsewhere.get(part)
        if folder is None:
            return self.folder / part
        return folder / part if (folder / part).is_dir() else folder

    def parts(self) -> dict[str, Path]:
        """The components that are there, small ones included, by name."""
        index = self.index()
        names = [k for k, v in index.items() if isinstance(v, list) and v[:1] != [None]]
        names += [name for name in self._elsewhere if name not in names]
        return {name: self.place(name) for name in names if name not in UNUSED}

    def small(self, part: str) -> Any:
        """A component without weights, loaded: scheduler, tokenizer, image processor, guider.

        Raises:
            WeightsError: if it is absent, damaged, or of a class that is not known here.
        """
        folder = self.place(part)
        entry = self.index().get(part)
        name = str(entry[1]) if isinstance(entry, list) and len(entry) > 1 else ""
        try:
            return _load_small(part, folder, name)
        except (OSError, ValueError, KeyError, AttributeError, json.JSONDecodeError) as error:
            first = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
            raise WeightsError(
                f"{folder} cannot be read ({first}); download the weights again"
            ) from error


def has_weights(folder: Path) -> bool:
    """Whether a component is a network: it has a config.json (tokenizers have other files)."""
    return (folder / "config.json").is_file() and not (folder / "tokenizer_config.json").is_file()


def _adapter(preset: Preset, where: str) -> Path:
    """The folder or repository `where`, which the preset must list so that it is fetched too."""
    weights = preset.weights
    if where not in weights.adapters:
        raise PresetError(
            f"preset {preset.id!r} takes parts from {where!r}, which weights.adapters does not "
            "list; add it there"
        )
    is_folder = Path(where).expanduser().is_dir()
    changes = {"path": where, "revision": "", "adapters": (), "download_bytes": 0}
    source = "local" if is_folder or where.count("/") != 1 else "hub"
    other = weights.model_copy(update={**changes, "source": source})
    return find_folder(preset.model_copy(update={"weights": other}))


def _load_small(part: str, folder: Path, name: str) -> Any:
    import diffusers
    import transformers

    if not folder.is_dir():
        raise OSError(f"there is no folder {folder.name}")
    if part.startswith("tokenizer"):
        return transformers.AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    kind = getattr(diffusers, name, None) or getattr(transformers, name, None)
    if kind is None and part in ("feature_extractor", "image_processor"):
        kind = transformers.AutoImageProcessor
    if kind is None or not hasattr(kind, "from_pretrained"):
        raise ValueError(f"the class {name!r} is not known")
    return kind.from_pretrained(str(folder), local_files_only=True)


def network_spec(
    layout: Layout, part: str, dtype: str, loras: Sequence[Lora], finish: Callable[[Any], None]
) -> ComponentSpec:
    """A network as the manager takes it; nothing is loaded."""
    folder = layout.place(part)
    spec = PartsFolder(folder.parent).spec(folder.name, dtype=dtype, loras=loras, finish=finish)
    return replace(spec, kind=part, key=f"{part}:{spec.key}:{finish.__name__}")


class Stage:
    """Holds the one component that is at work; the one before may then leave memory."""

    def __init__(self, models: ModelManager, on_hold: OnHold) -> None:
        self.models = models
        self._on_hold = on_hold
        self._spec: ComponentSpec | None = None
        self._held: AbstractContextManager[Any] | None = None
        self._module: Any = None

    def hold(self, spec: ComponentSpec) -> Any:
        """The component, loaded, until another one is asked for."""
        if self._spec is None or self._spec.key != spec.key:
            self.release()
            self._on_hold(spec.kind)
            held = self.models.use(spec)
            self._module = held.__enter__()
            self._held, self._spec = held, spec
        return self._module

    def release(self) -> None:
        """Let go of what is held."""
        held, self._held, self._spec, self._module = self._held, None, None, None
        if held is not None:
            held.__exit__(None, None, None)


class Late:
    """A component that is loaded when it is called or when one of its methods is asked for.

    It passes for an instance of its class, since pipelines ask.
    """

    def __init__(self, bones: Any, spec: ComponentSpec, stage: Stage, dtype: str) -> None:
        self.__dict__.update(_bones=bones, _spec=spec, _stage=stage, _dtype=dtype)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self._bones)

    @property
    def device(self) -> Any:
        """Where it computes."""
        return self._stage.models.device

    @property
    def dtype(self) -> Any:
        """In what it computes."""
        return torch_dtype(self._dtype, self.device)

    def __getattr__(self, name: str) -> Any:
        import torch

        value = getattr(self._bones, name)
        if name in STRUCTURE:
            return value
        if callable(value) or isinstance(value, torch.Tensor):
            return getattr(self._stage.hold(self._spec), name)
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._stage.hold(self._spec), name, value)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._stage.hold(self._spec)(*args, **kwargs)


def animated_spec(unet: ComponentSpec, adapter: ComponentSpec) -> ComponentSpec:
    """AnimateDiff's network: an image model's U-Net with a motion adapter put in."""

    def load(device: Any) -> Any:
        from diffusers import UNetMotionModel

        made: Any = UNetMotionModel.from_unet2d(unet.load(device), adapter.load(device))
        return made.eval().requires_grad_(False).to(device)

    return ComponentSpec(
        key=f"{unet.key}+{adapter.key}", kind="unet", load=load, bytes=unet.bytes + adapter.bytes
    )


def animated_skeleton(unet: Path, adapter: Path) -> Any:
    """The same without memory behind its weights."""
    from accelerate import init_empty_weights
    from diffusers import UNetMotionModel

    with init_empty_weights():
        return UNetMotionModel.from_unet2d(skeleton(unet), skeleton(adapter), load_weights=False)


def check_classes(layout: Layout, wanted: Mapping[str, Any], title: str) -> None:
    """Raises WeightsError if the folder holds another model than the pipeline is made for."""
    for part in ("transformer", "unet", "vae"):
        note = str(getattr(wanted.get(part), "annotation", ""))
        folder = layout.place(part)
        if part not in wanted or not has_weights(folder):
            continue
        name = str(read_config(folder).get("_class_name", ""))
        if name not in note and "UNetMotionModel" not in note:
            raise WeightsError(
                f"{folder} holds {name or 'no diffusers model'}, which is not what {title} is "
                "made of; pick the preset that these weights belong to"
            )
