"""Tensors that look into safetensors files: nothing is copied, the kernel brings the pages."""

from __future__ import annotations

import mmap
import os
import warnings
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch

from studio.core.errors import WeightsError
from studio.models.weights import read_header

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


@dataclass(frozen=True)
class Place:
    """Where a tensor lies: bytes [start, stop) of a file."""

    file: MappedFile
    start: int
    stop: int
    dtype: torch.dtype
    shape: tuple[int, ...]


class MappedFile:
    """A safetensors file that is open for mapping, and noticed when it changes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._descriptor)
        self._state = self._look()

    def _look(self) -> tuple[int, int]:
        state = os.fstat(self._descriptor)
        return state.st_size, state.st_mtime_ns

    def map(self, start: int, stop: int, *, now: bool) -> tuple[mmap.mmap, int]:
        """A mapping that holds bytes [start, stop), and where in it `start` is.

        With `now` all pages are there at once; else each comes when it is touched.

        Raises:
            WeightsError: if the file was written to since it was opened.
        """
        if self._look() != self._state:
            raise WeightsError(
                f"{self.path} changed while its blocks were in use; start the clip again"
            )
        begin = start - start % mmap.ALLOCATIONGRANULARITY
        flags = mmap.MAP_SHARED | (getattr(mmap, "MAP_POPULATE", 0) if now else 0)
        mapped = mmap.mmap(
            self._descriptor, stop - begin, flags=flags, prot=mmap.PROT_READ, offset=begin
        )
        if not now and hasattr(mmap, "MADV_RANDOM"):
            mapped.madvise(mmap.MADV_RANDOM)
        return mapped, start - begin

    def expect(self, start: int, stop: int) -> None:
        """Tell the kernel that these bytes come next."""
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._descriptor, start, stop - start, os.POSIX_FADV_WILLNEED)


def places_in(paths: Sequence[Path]) -> dict[str, Place]:
    """Where every tensor of these files lies, by name."""
    found: dict[str, Place] = {}
    for path in paths:
        header = read_header(path)
        end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
        begin, file = path.stat().st_size - end, MappedFile(path)
        for name, entry in header.items():
            start, stop = (begin + offset for offset in entry["data_offsets"])
            dtype = DTYPES.get(entry["dtype"])
            if dtype is None:
                raise WeightsError(
                    f"{path} holds {name} as {entry['dtype']}, which cannot be read block by "
                    "block; choose another offload than disk"
                )
            found[name] = Place(file, start, stop, dtype, tuple(entry["shape"]))
    return found


def runs_of(places: Sequence[Place]) -> list[tuple[int, int, MappedFile, list[int]]]:
    """(start, stop, file, indices of its places) of each stretch that lies in one piece."""
    order = sorted(range(len(places)), key=lambda i: (id(places[i].file), places[i].start))
    runs: list[tuple[int, int, MappedFile, list[int]]] = []
    for index in order:
        place = places[index]
        if runs and runs[-1][2] is place.file and runs[-1][1] == place.start:
            start, _, file, members = runs[-1]
            runs[-1] = (start, place.stop, file, [*members, index])
        else:
            runs.append((place.start, place.stop, place.file, [index]))
    return runs


def mapped(places: Sequence[Place], *, now: bool = True) -> list[torch.Tensor]:
    """Tensors that look into the files, in the order of `places`; not to be written to."""
    found: dict[int, torch.Tensor] = {}
    for start, stop, file, members in runs_of(places):
        memory, shift = file.map(start, stop, now=now) if stop > start else (None, 0)
        for index in members:
            place = places[index]
            if memory is None or place.stop == place.start:
                found[index] = torch.empty(place.shape, dtype=place.dtype)
                continue
            found[index] = _view(memory, shift + place.start - start, place)
    return [found[index] for index in range(len(places))]


def _view(memory: mmap.mmap, offset: int, place: Place) -> torch.Tensor:
    with warnings.catch_warnings():
        # The mapping is read-only, which torch warns about; nothing here writes to weights.
        warnings.simplefilter("ignore", UserWarning)
        flat = torch.frombuffer(memory, dtype=place.dtype, count=prod(place.shape), offset=offset)
    return flat.view(place.shape)
