"""Weights that stay in their file: a block is mapped when it is called and let go afterwards.

Only the parts around the blocks are in memory, and one block at a time. Nothing is written; the
file's pages are the kernel's to keep or to drop. Results are equal bit for bit to those of the
loaded model.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from studio.models.mapped import Place, mapped, places_in, runs_of
from studio.models.weights import LoadReport, weight_files

ALIGN_BYTES = 64
TABLE_BYTES = 32 * 2**20
"""Embedding tables from this size on stay in the file: a prompt reads a few of their rows."""

Patch = Callable[[str, torch.Tensor], torch.Tensor]
"""patch(name, weight): the weight with a LoRA in it, or the same."""


class BlockStream:
    """The blocks of one module, in their file until they are called."""

    def __init__(
        self,
        module: nn.Module,
        places: Mapping[str, Place],
        device: torch.device,
        *,
        align: bool,
        patch: Patch | None = None,
    ) -> None:
        """Make the module's blocks come and go; `places` has all its parameters by name.

        `align`: copy to memory of torch's own alignment, as the loaded model has it.
        """
        self.bytes_read = 0
        """Bytes of blocks that were brought in so far."""
        self.loads = 0
        self.table_bytes = 0
        """Bytes of tables that stay in the file, of which a few rows are read."""
        self._module = weakref.ref(module)
        self._device, self._align, self._patch = device, align, patch
        self._places = places
        self.blocks = [block for _, block in block_names(module)]
        self._slots = [_slots(name, block) for name, block in block_names(module)]
        self._holds = [0] * len(self.blocks)
        self._index = {id(block): index for index, block in enumerate(self.blocks)}
        for index, block in enumerate(self.blocks):
            block.register_forward_pre_hook(self._enter(index))
            block.register_forward_hook(self._leave(index), always_call=True)
        module.__dict__["_studio_stream"] = self

    @property
    def largest_block_bytes(self) -> int:
        """Bytes of the largest block, as it lies in memory."""
        return max(
            (sum(slot.bytes for slot in slots) for slots in self._slots),
            default=0,
        )

    @property
    def resident_bytes(self) -> int:
        """Bytes in memory at most: what is no block's, and the largest block."""
        module = self._module()
        if module is None:
            return 0
        stays = {id(p): p for p in module.parameters() if not p.is_meta}
        inside = {id(p) for block in self.blocks for p in block.parameters()}
        rest = sum(p.numel() * p.element_size() for i, p in stays.items() if i not in inside)
        return rest - self.table_bytes + self.largest_block_bytes

    @property
    def file_bytes(self) -> int:
        """Bytes of all blocks in their files: what one pass over them reads."""
        names = (slot.full for slots in self._slots for slot in slots)
        return sum(self._places[n].stop - self._places[n].start for n in names)

    @contextmanager
    def hold(self, block: nn.Module) -> Iterator[None]:
        """The block stays in memory inside the `with`."""
        index = self._index[id(block)]
        self._take(index)
        try:
            yield
        finally:
            self._give(index)

    def _enter(self, index: int) -> Callable[..., None]:
        return lambda _module, _args: self._take(index)

    def _leave(self, index: int) -> Callable[..., None]:
        return lambda _module, _args, _output: self._give(index)

    def _take(self, index: int) -> None:
        if not self._holds[index]:
            self._bring(index)
        self._holds[index] += 1

    def _give(self, index: int) -> None:
        # A forward hook is called too when the hook before it raised: then nothing is held.
        if self._holds[index]:
            self._holds[index] -= 1
            if not self._holds[index]:
                for slot in self._slots[index]:
                    slot.empty()

    def _bring(self, index: int) -> None:
        slots = self._slots[index]
        found = mapped([self._places[slot.full] for slot in slots])
        for slot, tensor in zip(slots, found, strict=True):
            slot.fill(self._placed(slot, tensor))
        self.loads += 1
        self.bytes_read += sum(t.numel() * t.element_size() for t in found)
        if index + 1 < len(self._slots):
            for start, stop, file, _ in runs_of(
                [self._places[s.full] for s in self._slots[index + 1]]
            ):
                file.expect(start, stop)

    def _placed(self, slot: Slot, tensor: torch.Tensor) -> torch.Tensor:
        kind = slot.empty_parameter.dtype
        made = placed(tensor, kind, self._device, align=self._align)
        return made if self._patch is None else self._patch(slot.full, made)


@dataclass(frozen=True)
class Slot:
    """One parameter of a block: where it hangs, and what hangs there while it is away."""

    full: str
    owner: nn.Module
    name: str
    empty_parameter: nn.Parameter

    @property
    def bytes(self) -> int:
        """Its bytes in memory."""
        return self.empty_parameter.numel() * self.empty_parameter.element_size()

    def fill(self, tensor: torch.Tensor) -> None:
        """Hang `tensor` there."""
        self.owner._parameters[self.name] = nn.Parameter(tensor, requires_grad=False)

    def empty(self) -> None:
        """Let it go."""
        self.owner._parameters[self.name] = self.empty_parameter


def block_names(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """The entries of the module's outermost lists of modules, in order, with their full names."""
    found: list[tuple[str, nn.Module]] = []
    for name, child in module.named_children():
        if isinstance(child, nn.ModuleList):
            found += [(f"{name}.{i}", block) for i, block in enumerate(child)]
        else:
            found += [(f"{name}.{inner}", block) for inner, block in block_names(child)]
    return [(name, block) for name, block in found if any(True for _ in block.parameters())]


def stream_of(module: Any) -> BlockStream | None:
    """The module's stream, or None if its blocks are in memory."""
    found: BlockStream | None = getattr(module, "_studio_stream", None)
    return found


def _slots(prefix: str, block: nn.Module) -> list[Slot]:
    found = []
    for path, owner in block.named_modules():
        for name, parameter in owner._parameters.items():
            if parameter is not None:
                full = ".".join(part for part in (prefix, path, name) if part)
                found.append(Slot(full, owner, name, parameter))
    return found


def placed(
    tensor: torch.Tensor, dtype: torch.dtype, device: torch.device, *, align: bool
) -> torch.Tensor:
    """`tensor` as the loaded model would have it; the same one where nothing is to be done."""
    moved = tensor.to(device=device, dtype=dtype)
    if align and moved is tensor and moved.data_ptr() % ALIGN_BYTES:
        return moved.clone()
    return moved


def open_streamed(
    kind: Any,
    config: Any,
    folder: Path,
    dtype: torch.dtype,
    device: torch.device,
    *,
    align_limit_bytes: int = 2 * 2**30,
    patcher: Callable[[nn.Module], Patch] | None = None,
) -> Any:
    """A module of class `kind` whose blocks stay in the files of `folder`.

    `config` is what the class is built from; parameters get `dtype` as a plain load gives it to
    them. Models of more than `align_limit_bytes` are not aligned, as a plain load leaves them.

    Raises:
        WeightsError: if a key is missing or left over; the message has the list.
    """
    from accelerate import init_empty_weights

    # Buffers that no file holds (rotary tables) must be real.
    with init_empty_weights(include_buffers=False):
        module = (
            kind._from_config(config) if hasattr(kind, "_from_config") else kind.from_config(config)
        )
    if hasattr(module, "tie_weights"):
        module.tie_weights()
    places = places_in(weight_files(folder))
    names = _checked(module, kind, places, folder)
    for name, parameter in list(module.named_parameters(remove_duplicate=False)):
        wanted = _dtype_of(kind, name, dtype)
        if parameter.dtype != wanted:
            owner, _, leaf = name.rpartition(".")
            held = nn.Parameter(torch.empty_like(parameter, dtype=wanted), requires_grad=False)
            module.get_submodule(owner)._parameters[leaf] = held
    total = sum(p.numel() * p.element_size() for p in module.parameters())
    align = total <= align_limit_bytes
    patch = None if patcher is None else patcher(module)
    inside = {slot.full for name, block in block_names(module) for slot in _slots(name, block)}
    table_bytes = _load_rest(module, names, inside, device, align=align, patch=patch)
    for name, buffer in module.named_buffers():
        owner, _, leaf = name.rpartition(".")
        module.get_submodule(owner)._buffers[leaf] = buffer.to(device)
    module = module.eval().requires_grad_(False)
    stream = BlockStream(module, names, device, align=align, patch=patch)
    stream.table_bytes = table_bytes
    return module


def _checked(
    module: nn.Module, kind: Any, places: Mapping[str, Place], folder: Path
) -> dict[str, Place]:
    """The place of every parameter; tied ones share it."""
    groups: dict[int, list[str]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        groups.setdefault(id(parameter), []).append(name)
    found: dict[str, Place] = {}
    wrong: set[str] = set()
    for names in groups.values():
        source = next((name for name in names if name in places), None)
        for name in names if source is not None else ():
            found[name] = places[str(source)]
            if found[name].shape != tuple(module.get_parameter(name).shape):
                wrong.add(name)
    wanted = {name for names in groups.values() for name in names}
    buffers = {name for name, _ in module.named_buffers()}
    ignored = getattr(kind, "_keys_to_ignore_on_load_unexpected", None) or ()
    left = set(places) - wanted - buffers
    LoadReport(
        consumed=len(found) - len(wrong),
        missing=tuple(sorted((wanted - set(found)) | wrong)),
        unexpected=tuple(sorted(k for k in left if not any(re.search(p, k) for p in ignored))),
    ).require_complete(str(folder))
    return found


def _dtype_of(kind: Any, name: str, dtype: torch.dtype) -> torch.dtype:
    """What a plain load gives this parameter: some classes keep some of theirs in float32."""
    kept = tuple(getattr(kind, "_keep_in_fp32_modules", None) or ())
    if hasattr(kind, "_from_config") and dtype != torch.float16:
        # transformers' classes do so for float16 only.
        kept = ()
    strict = tuple(getattr(kind, "_keep_in_fp32_modules_strict", None) or ())
    parts = name.split(".")
    if dtype in (torch.float16, torch.bfloat16) and any(k in parts for k in (*kept, *strict)):
        return torch.float32
    return dtype


def _load_rest(
    module: nn.Module,
    places: Mapping[str, Place],
    inside: set[str],
    device: torch.device,
    *,
    align: bool,
    patch: Patch | None,
) -> int:
    """Load what is no block's; large tables stay in the file: how many bytes of them."""
    table_bytes = 0
    done: dict[tuple[int, int], nn.Parameter] = {}
    for name, parameter in list(module.named_parameters(remove_duplicate=False)):
        if name in inside:
            continue
        path, _, leaf = name.rpartition(".")
        owner, place = module.get_submodule(path), places[name]
        key = (id(place.file), place.start)
        is_table = isinstance(owner, nn.Embedding) and place.stop - place.start >= TABLE_BYTES
        if key not in done:
            [tensor] = mapped([place], now=not is_table)
            if not is_table:
                tensor = placed(tensor, parameter.dtype, device, align=align).clone()
                tensor = tensor if patch is None else patch(name, tensor)
            else:
                table_bytes += place.stop - place.start
            done[key] = nn.Parameter(tensor, requires_grad=False)
        owner._parameters[leaf] = done[key]
        if is_table:
            _look_up_in_file(owner, parameter.dtype, device)
    return table_bytes


def _look_up_in_file(table: nn.Module, dtype: torch.dtype, device: torch.device) -> None:
    """Rows are read on the host, then cast and moved: the same numbers as of a moved table."""
    table.register_forward_pre_hook(lambda _table, args: (args[0].cpu(), *args[1:]))
    table.register_forward_hook(lambda _table, _args, rows: rows.to(device=device, dtype=dtype))
