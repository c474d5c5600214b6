"""Golden files as tensors, and key lists as tensors without storage."""

from __future__ import annotations

import ast
import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor


def golden_files(stem: str) -> list[str]:
    """Paths for `shared`: every golden file of that kind, whatever its sizes and lengths.

    STUDIO_GOLDEN names a folder with more of them.
    """
    more = Path(os.environ.get("STUDIO_GOLDEN") or "/nonexistent")
    return [f"golden/{stem}_tiny.safetensors", *map(str, sorted(more.glob(f"{stem}*.safetensors")))]


def read_golden(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """All tensors in float32 (integers as they are), factors multiplied out, and the metadata."""
    tensors: dict[str, Tensor] = {}
    with safe_open(path, framework="pt") as file:
        metadata = {key: json.loads(text) for key, text in file.metadata().items()}
        for name in file.keys():  # noqa: SIM118  # not a mapping
            value = file.get_tensor(name)
            tensors[name] = value.float() if value.is_floating_point() else value
    for name in [n for n in tensors if n.endswith("@A")]:
        whole = name.removesuffix("@A")
        tensors[whole] = tensors.pop(name) @ tensors.pop(f"{whole}@B")
    return tensors, metadata


def part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors below `prefix`, without it."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def read_keys(path: Path) -> dict[str, Tensor]:
    """The published names with empty tensors of the published shapes on the meta device."""
    lines = (line.removeprefix("(new) ") for line in path.read_text().splitlines())
    rows = [line.split("\t") for line in lines if line.strip()]
    return {name: torch.empty(ast.literal_eval(shape), device="meta") for name, shape in rows}
