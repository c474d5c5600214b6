"""What a model is made of: parts with a key, a size and a way to load them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

Load = Callable[["torch.device"], Any]


@dataclass(frozen=True)
class ComponentSpec:
    """One part of a model. Equal keys mean equal weights: such a part is loaded once."""

    key: str
    kind: str
    """transformer, transformer_2, vae, text_encoder, tokenizer, image_encoder, audio_encoder ..."""
    load: Load = field(compare=False, repr=False)
    """Gives the finished part on the device it is handed."""
    bytes: int = 0
    """What it is expected to take; measured once it is there."""
    stream: Load | None = field(default=None, compare=False, repr=False)
    """Gives the part with its blocks left in their file, where that can be done."""


@dataclass
class Resident:
    """A part that is in memory now."""

    spec: ComponentSpec
    module: Any
    total_bytes: int
    locks: int = 0
    last_used: int = 0


def module_bytes(module: Any) -> int:
    """Bytes of the parameters and buffers of `module`, shared storage counted once; else 0."""
    if not hasattr(module, "parameters"):
        return 0
    stream = getattr(module, "_studio_stream", None)
    if stream is not None:
        # What stays in memory, and room for the block that is in use.
        return int(stream.resident_bytes)
    tensors = [*module.parameters(), *module.buffers()]
    seen = {t.untyped_storage().data_ptr(): t.numel() * t.element_size() for t in tensors}
    return sum(seen.values())
