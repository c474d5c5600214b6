"""Components of a local folder in diffusers' layout, shared by the families that read it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from studio.core.errors import WeightsError
from studio.core.request import Lora
from studio.models.component import ComponentSpec
from studio.models.families.skeleton import check_loras
from studio.models.lora import lora_key, lora_patch, merge_lora
from studio.models.single_file import check_file, load_single_file
from studio.models.weights import (
    LoadReport,
    count_elements,
    count_in,
    fingerprint,
    read_config,
    weight_files,
)

if TYPE_CHECKING:
    import torch

    from studio.models.prior import TokenPrior

ALIGN_BYTES = 64
ALIGN_LIMIT_BYTES = 2 * 2**30
LTX2_PARTS = ("LTX2TextConnectors", "LTX2Vocoder", "LTX2VocoderWithBWE")
PRIOR = "prior.safetensors"
ITEM_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class PartsFolder:
    """A folder as `save_pretrained` writes it: one folder a component, model_index.json beside."""

    folder: Path
    dtype: str = ""
    """Of transformers and text encoders: float32, bfloat16, float16; "" fits the device."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """Single files that stand in for a component's weights; its config.json stays in the folder."""

    def has(self, part: str) -> bool:
        """Whether the folder holds that component."""
        return (self.folder / part).is_dir()

    def index(self) -> dict[str, Any]:
        """The pipeline's own settings (model_index.json), empty without one."""
        path = self.folder / "model_index.json"
        return read_config(self.folder, path.name) if path.is_file() else {}

    def config(self, part: str) -> dict[str, Any]:
        """A component's config.json."""
        return read_config(self.folder / part)

    def fingerprint(self, part: str) -> str:
        """Changes when the component's configuration or weights change."""
        folder = self.folder / part
        configs = sorted(folder.glob("*.json"))
        if part in self.files:
            return fingerprint([*configs, check_file(self.files[part])])
        has_weights = any(folder.glob("*.safetensors"))
        return fingerprint([*configs, *(weight_files(folder) if has_weights else [])])

    def spec(
        self,
        part: str,
        *,
        dtype: str | None = None,
        loras: Sequence[Lora] = (),
        finish: Callable[[Any], None] = lambda _module: None,
    ) -> ComponentSpec:
        """The component as the manager takes it; nothing is loaded.

        `loras` are merged in, then `finish` may prepare the module for its work.
        """
        folder = self.folder / part
        if part.startswith(("tokenizer", "image_processor")):
            loader = _load_tokenizer if part.startswith("tokenizer") else _load_image_processor
            return ComponentSpec(
                key=f"{part}:{self.fingerprint(part)}",
                kind=part,
                load=lambda _device: loader(folder),
            )
        wanted = self.dtype if dtype is None else dtype
        merged = tuple(loras)
        check_loras(folder, merged)
        file = self.files.get(part)

        def load(device: torch.device) -> Any:
            module = _load_module(folder, wanted, device, file)
            for lora in merged:
                merge_lora(module, lora)
            finish(module)
            return module

        def stream(device: torch.device) -> Any:
            module = _open_streamed(folder, wanted, device, merged)
            finish(module)
            return module

        streams = file is None and part.startswith(("transformer", "text_encoder"))
        added = f":{lora_key(merged)}" if merged else ""
        return ComponentSpec(
            key=f"{part.removesuffix('_2')}:{self.fingerprint(part)}:{wanted}{added}",
            kind=part,
            load=load,
            bytes=(count_elements(folder) if file is None else count_in(check_file(file)))
            * ITEM_BYTES.get(wanted, 4),
            stream=stream if streams else None,
        )

    def prior_spec(self) -> ComponentSpec:
        """The linear denoiser around the pocket model's transformer."""
        folder = self.folder / "transformer"
        return ComponentSpec(
            key=f"prior:{fingerprint([folder / PRIOR])}",
            kind="prior",
            load=lambda device: _load_prior(folder, device),
            bytes=(folder / PRIOR).stat().st_size,
        )

    def scheduler(self, **changes: Any) -> Any:
        """A fresh scheduler of the folder's kind with `changes` to its settings.

        Raises:
            WeightsError: if the folder names no scheduler of diffusers.
        """
        import diffusers

        config = read_config(self.folder / "scheduler", "scheduler_config.json")
        name = str(config.get("_class_name", ""))
        kind = getattr(diffusers, name, None) if name.endswith("Scheduler") else None
        if kind is None:
            raise WeightsError(
                f"{self.folder}/scheduler names {name!r}, which diffusers does not have; "
                "download the weights again"
            )
        plain = {k: v for k, v in config.items() if not k.startswith("_")}
        return kind.from_config({**plain, **changes})


def torch_dtype(name: str, device: torch.device) -> torch.dtype:
    """The dtype called `name`; "" is float32 on a CPU and bfloat16 elsewhere."""
    import torch

    if not name:
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    found: torch.dtype = getattr(torch, name)
    return found


def _load_module(folder: Path, dtype: str, device: torch.device, file: Path | None = None) -> Any:
    """The module of `folder`, in evaluation mode, on `device`; refused unless every key fits."""
    kind, is_diffusers = module_class(folder)
    wanted = torch_dtype(dtype, device)
    if file is not None:
        module = load_single_file(kind, read_config(folder), file, wanted)
    else:
        module = _load_folder(folder, kind, is_diffusers, wanted)
    module = module.eval().requires_grad_(False).to(device)
    _align(module)
    return module


def _open_streamed(folder: Path, dtype: str, device: torch.device, loras: Sequence[Lora]) -> Any:
    """The module of `folder` with its blocks left in their file."""
    from functools import partial

    from studio.models.offload import open_streamed

    kind, is_diffusers = module_class(folder)
    config = read_config(folder) if is_diffusers else kind.config_class.from_pretrained(folder)
    return open_streamed(
        kind,
        config,
        folder,
        torch_dtype(dtype, device),
        device,
        align_limit_bytes=ALIGN_LIMIT_BYTES,
        patcher=partial(lora_patch, loras=tuple(loras)) if loras else None,
    )


def _load_folder(folder: Path, kind: Any, is_diffusers: bool, wanted: torch.dtype) -> Any:
    weight_files(folder)
    options = {"torch_dtype": wanted} if is_diffusers else {"dtype": wanted}
    try:
        module, info = kind.from_pretrained(
            str(folder),
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
            **options,
        )
    except (OSError, ValueError, RuntimeError, KeyError, json.JSONDecodeError) as error:
        raise WeightsError(
            f"{folder} cannot be loaded ({str(error).splitlines()[0][:200]}); "
            "download the weights again or pick the preset that they belong to"
        ) from error
    wrong = tuple(str(k[0] if isinstance(k, tuple) else k) for k in info["mismatched_keys"])
    LoadReport(
        consumed=len(module.state_dict()) - len(info["missing_keys"]),
        missing=tuple(sorted({*info["missing_keys"], *wrong})),
        unexpected=tuple(sorted(info["unexpected_keys"])),
    ).require_complete(str(folder))
    return module


def _align(module: Any) -> None:
    """Copy weights that lie crooked in a mapped file to memory of torch's own alignment.

    Matrix kernels round differently on crooked data (3e-6 after four steps of a tiny Wan), so
    without this a result would depend on where a tensor happens to lie in its file. Large models
    stay mapped: they need the memory more.
    """
    tensors = [*module.parameters(), *module.buffers()]
    if sum(t.numel() * t.element_size() for t in tensors) > ALIGN_LIMIT_BYTES:
        return
    for tensor in tensors:
        if tensor.device.type == "cpu" and tensor.data_ptr() % ALIGN_BYTES:
            tensor.data = tensor.data.clone()


def module_class(folder: Path) -> tuple[Any, bool]:
    """The class that config.json names, and whether it is diffusers' (else transformers')."""
    config = read_config(folder)
    name = config.get("_class_name")
    if name:
        import diffusers

        kind = getattr(diffusers, str(name), None) or _kept_apart(str(name))
    else:
        import transformers

        name = next(iter(config.get("architectures") or []), "")
        kind = getattr(transformers, str(name), None)
    if kind is None or not hasattr(kind, "from_pretrained"):
        raise WeightsError(
            f"{folder} names the model class {name!r}, which is not known here; "
            "download the weights again or pick another preset"
        )
    return kind, bool(config.get("_class_name"))


def _kept_apart(name: str) -> Any:
    """A class that diffusers has, but not under its own name."""
    from diffusers.pipelines import ltx2

    return getattr(ltx2, name, None) if name in LTX2_PARTS else None


def _load_prior(folder: Path, device: torch.device) -> TokenPrior:
    from studio.models.prior import TokenPrior

    prior = TokenPrior.load(folder)
    # Copies: see _align.
    prior.mean, prior.rotation = prior.mean.clone(), prior.rotation.clone()
    prior.variances = prior.variances.clone()
    return prior.to(device)


def _load_tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(folder), local_files_only=True)


def _load_image_processor(folder: Path) -> Any:
    from transformers import AutoImageProcessor

    processors = cast(Any, AutoImageProcessor)
    return processors.from_pretrained(str(folder), local_files_only=True, use_fast=False)
