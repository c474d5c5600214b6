"""One safetensors file in a model's original layout, in diffusers' class: all or nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.core.errors import WeightsError
from studio.models.weights import LoadReport, read_header

if TYPE_CHECKING:
    import torch


def check_file(path: Path) -> Path:
    """The file.

    Raises:
        WeightsError: unless it is a whole safetensors file.
    """
    if path.suffix != ".safetensors":
        raise WeightsError(
            f"weights are .safetensors files (got {path.name}), since pickles can run code; "
            "convert it with `python -m studio models convert`"
        )
    read_header(path)
    return path


def load_single_file(kind: Any, config: dict[str, Any], path: Path, dtype: torch.dtype) -> Any:
    """A module of diffusers' class `kind` with the weights of `path`.

    The file may have the original names or diffusers' own.

    Raises:
        WeightsError: if a key is missing or left over; the message has the list.
    """
    from accelerate import init_empty_weights
    from safetensors.torch import load_file

    # Buffers that no file holds (rotary tables) must be real.
    with init_empty_weights(include_buffers=False):
        module = kind.from_config(config)
    wanted = module.state_dict()
    tensors = load_file(check_file(path))
    if not set(tensors) <= set(wanted):
        tensors = _converted(kind, config, tensors, path)
    wrong = {k for k in tensors if k in wanted and tensors[k].shape != wanted[k].shape}
    LoadReport(
        consumed=len(set(tensors) & set(wanted)) - len(wrong),
        missing=tuple(sorted((set(wanted) - set(tensors)) | wrong)),
        unexpected=tuple(sorted(set(tensors) - set(wanted))),
    ).require_complete(path.name)
    single = tuple(getattr(kind, "_keep_in_fp32_modules", None) or ())
    cast = {k: v.to(_dtype_of(k, single, dtype)) for k, v in tensors.items()}
    module.load_state_dict(cast, strict=True, assign=True)
    return module


def _dtype_of(key: str, single: tuple[str, ...], dtype: torch.dtype) -> torch.dtype:
    import torch

    return torch.float32 if any(name in key.split(".") for name in single) else dtype


def _converted(
    kind: Any, config: dict[str, Any], tensors: dict[str, torch.Tensor], path: Path
) -> dict[str, torch.Tensor]:
    """`tensors` under diffusers' names."""
    from diffusers.loaders.single_file_model import SINGLE_FILE_LOADABLE_CLASSES

    classes: dict[str, Any] = SINGLE_FILE_LOADABLE_CLASSES
    known = classes.get(kind.__name__)
    if known is None:
        raise WeightsError(
            f"{path.name}: {kind.__name__} cannot be read from one file; use its diffusers folder"
        )
    try:
        converted: dict[str, torch.Tensor] = known["checkpoint_mapping_fn"](
            config=config, checkpoint=dict(tensors)
        )
    except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
        raise WeightsError(
            f"{path.name} is not a {kind.__name__} checkpoint ({type(error).__name__}: "
            f"{str(error)[:80]}); pick the preset that it belongs to"
        ) from error
    return converted
