"""A published .pt or .bin file as safetensors, in a process of its own: pickles are not trusted.

`python -m studio.models.convert SOURCE TARGET` prints a JSON object; exit status 1 with a sentence
on stderr.
"""

from __future__ import annotations

import json
import pickle
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from studio.core.errors import StudioError, WeightsError
from studio.media.publish import atomic_path

WRAPPERS = ("state_dict", "module", "model", "generator", "ema")
"""Keys under which training code puts the weights beside other things."""

BROKEN = (
    pickle.UnpicklingError,
    RuntimeError,
    OSError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
)
"""What torch's restricted unpickler raises for files that are none, or are no plain data."""


def convert(source: Path, target: Path) -> dict[str, Any]:
    """Write the tensors of `source` to `target`; {tensors, bytes, dropped}.

    Raises:
        WeightsError: if `source` holds anything but plain data, or no tensors.
    """
    try:
        # Files of the older format cannot be mapped and are read whole.
        mmap = zipfile.is_zipfile(source)
        data = torch.load(source, map_location="cpu", weights_only=True, mmap=mmap)
    except BROKEN as error:
        first = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        raise WeightsError(
            f"{source.name} is not a plain weights file ({first}); "
            "take the publisher's safetensors file instead"
        ) from error
    tensors, dropped = tensors_in(data)
    if not tensors:
        raise WeightsError(f"{source.name} holds no tensors; choose the file with the weights")
    with atomic_path(target) as temporary:
        # Tensors that share memory would be refused, and views would save what they view.
        save_file({name: t.contiguous().clone() for name, t in tensors.items()}, temporary)
    return {"tensors": len(tensors), "bytes": target.stat().st_size, "dropped": dropped}


def tensors_in(data: Any) -> tuple[dict[str, torch.Tensor], list[str]]:
    """(tensors by name, names of what is none), looked for inside the usual wrappings."""
    while isinstance(data, Mapping):
        inner = next((data[k] for k in WRAPPERS if isinstance(data.get(k), Mapping)), None)
        if inner is None:
            break
        data = inner
    if not isinstance(data, Mapping):
        return {}, []
    tensors = {str(k): v for k, v in data.items() if isinstance(v, torch.Tensor)}
    return tensors, sorted(str(k) for k in data if str(k) not in tensors)


def main() -> int:
    """Convert what sys.argv names."""
    source, target = (Path(name) for name in sys.argv[1:3])
    try:
        sys.stdout.write(json.dumps(convert(source, target)))
    except StudioError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
