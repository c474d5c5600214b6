"""Layer-major execution: each block runs for many calls before the next one is read.

With streamed blocks the bytes read per step then no longer grow with the number of windows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from studio.models.offload import BlockStream, stream_of


class _ReachedError(Exception):
    """The blocks begin; carries what they are called with."""

    def __init__(self, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        super().__init__("the blocks begin")
        self.args_given, self.named = args, named


class _Stop(nn.Module):
    def forward(self, *args: Any, **named: Any) -> Any:
        raise _ReachedError(args, named)


class _Answer(nn.Module):
    def __init__(self, hidden: torch.Tensor) -> None:
        super().__init__()
        self._hidden = [hidden]

    def forward(self, *_args: Any, **_named: Any) -> torch.Tensor:
        return self._hidden.pop()


def layer_major(
    transformer: nn.Module, calls: Sequence[Mapping[str, Any]], name: str = "blocks"
) -> list[torch.Tensor]:
    """First outputs of `transformer(**call)` for every call, each block read once for all.

    For transformers with one list of blocks, each of which turns hidden states (its first
    argument) into hidden states. What stands before the blocks is computed twice a call; the
    numbers are those of calls made one after the other.
    """
    blocks = list(transformer.get_submodule(name).children())
    stream = stream_of(transformer)
    reached = [_before(transformer, call, name) for call in calls]
    hidden = [state.args_given[0] for state in reached]
    rest = [(state.args_given[1:], state.named) for state in reached]
    reached.clear()
    for block in blocks:
        with _held(stream, block):
            hidden = [
                block(h, *args, **named) for h, (args, named) in zip(hidden, rest, strict=True)
            ]
    rest.clear()
    made = []
    for index, call in enumerate(calls):
        with _instead(transformer, name, _Answer(hidden[index])):
            made.append(transformer(**call)[0])
        hidden[index] = hidden[index].new_empty(0)
    return made


@contextmanager
def _held(stream: BlockStream | None, block: nn.Module) -> Iterator[None]:
    if stream is None:
        yield
        return
    with stream.hold(block):
        yield


def _before(transformer: nn.Module, call: Mapping[str, Any], name: str) -> _ReachedError:
    with _instead(transformer, name, _Stop()):
        try:
            transformer(**call)
        except _ReachedError as reached:
            return reached.with_traceback(None)
    raise AssertionError(f"{type(transformer).__name__} called none of its {name}")


@contextmanager
def _instead(transformer: nn.Module, name: str, block: nn.Module) -> Iterator[None]:
    """The module's list of blocks is `[block]` inside the `with`."""
    real = transformer._modules[name]
    transformer._modules[name] = nn.ModuleList([block])
    try:
        yield
    finally:
        transformer._modules[name] = real
