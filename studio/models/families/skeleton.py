"""A network without its weights: what can be asked before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from studio.core.request import Lora
from studio.models.lora import check_fit
from studio.models.weights import read_config


def skeleton(folder: Path) -> Any:
    """The component's class with its settings and no memory behind its weights.

    Raises:
        WeightsError: if its class is not known here.
    """
    from accelerate import init_empty_weights

    from studio.models.families.diffusers_parts import module_class

    kind, is_diffusers = module_class(folder)
    with init_empty_weights():
        if is_diffusers:
            return kind.from_config(read_config(folder))
        return kind(kind.config_class.from_pretrained(str(folder)))


def check_loras(folder: Path, loras: Sequence[Lora]) -> None:
    """Raises WeightsError unless every LoRA is made for the component in `folder`."""
    if not loras:
        return
    bones = skeleton(folder)
    for lora in loras:
        check_fit(bones, lora)
