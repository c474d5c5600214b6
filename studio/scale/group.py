"""Several devices make one clip: torch.distributed carries a step's windows and predictions.

The first of the group runs the job and steps the scheduler; the others keep the transformer ready
and compute what they are sent. They hold no state, so any method and any family works, and a job
that loses them goes on without.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Self

import torch
import torch.distributed as dist
from torch import Tensor

from studio.core.errors import StudioError
from studio.core.plan import Plan
from studio.core.preset import Preset
from studio.models.family import Conditions, Family, Pins, PromptEmbeds, family_for
from studio.models.manager import ModelManager
from studio.sampling.guidance import cfg
from studio.sampling.loop import Denoise
from studio.sampling.stepper import Step
from studio.scale.shares import Share, View, share_out
from studio.scale.views import can_split, opened

JOIN_S = 120.0
"""All of a group come within this time, and wait for one another no longer."""
Part = tuple[Tensor, list[int]]
"""A window's x [B, C, W, h, w] and its absolute latent frames."""


class GroupLost(StudioError):  # noqa: N818  # reads as what happened, like Cancelled
    """A device of the group is gone; the job goes on at its last saved step."""


@dataclass(frozen=True)
class Stretch:
    """What a follower needs to compute parts of one stretch of the clip."""

    preset: Preset
    plan: Plan
    pins: Pins
    first_frame: int
    by: str


@dataclass(frozen=True)
class Batch:
    """One step's pieces."""

    step: Step
    shares: tuple[Share, ...]
    frames: tuple[tuple[int, ...], ...]
    prompts: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...]
    dtype: torch.dtype
    fresh: dict[int, PromptEmbeds] = field(default_factory=dict)
    """Prompts that were not sent before."""


class Group:
    """The first device of a group, which has the job."""

    def __init__(self, address: str, world: int, by: str = "windows") -> None:
        self.address = address
        self.world = world
        self.by = by
        self.received = 0
        """Predictions that other devices computed."""
        self._held = ExitStack()

    def __enter__(self) -> Self:
        self._held.enter_context(joined(self.address, 0, self.world))
        self._held.callback(_say_end)
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    @contextmanager
    def open_denoiser(
        self, family: Family, models: ModelManager, conditions: Conditions
    ) -> Iterator[Denoise]:
        """The family's denoiser, computed on all devices of the group."""
        pins = replace(conditions.pins, extras=_on_host(conditions.pins.extras))
        pins = replace(pins, clean=pins.clean.cpu(), mask=pins.mask.cpu())
        say(Stretch(family.preset, conditions.plan, pins, conditions.first_frame, self.by))
        with opened(family, models, conditions, self.by, self.world) as views:
            try:
                yield SharedDenoise(self, views, conditions, can_split(family, conditions.plan))
            finally:
                _say_close()


class SharedDenoise:
    """A `Denoise` whose forwards are computed by a group; `many` takes a step's windows at once."""

    def __init__(
        self, group: Group, views: Mapping[View, Denoise], conditions: Conditions, splits: bool
    ) -> None:
        self._group = group
        self._views = views
        self._conditions = conditions
        self._splits = splits
        self._sent: list[PromptEmbeds] = []

    def __call__(self, x: Tensor, step: Step, frames: Sequence[int]) -> Tensor:
        """The guided prediction for x [B, C, T, h, w]."""
        return self.many([(x, list(frames))], step)[0]

    def many(self, parts: Sequence[Part], step: Step) -> list[Tensor]:
        """The guided predictions for windows of one step, in their order."""
        with lost_as_error():
            if self._group.by != "windows":
                return [self._together(part, step) for part in parts]
            return self._apart(parts, step)

    def _together(self, part: Part, step: Step) -> Tensor:
        """One window, its tokens shared by all."""
        batch = self._batch([part], step, (Share(0, "guided", 0),))
        say(batch)
        x = part[0].cpu().contiguous()
        dist.broadcast(x, 0)
        return self._views["guided"](part[0], step, part[1])

    def _apart(self, parts: Sequence[Part], step: Step) -> list[Tensor]:
        branches = 2 if self._splits else 1
        shares = share_out(len(parts), branches=branches, world=self._group.world)
        say(self._batch(parts, step, shares))
        waiting = [
            dist.isend(parts[share.window][0].cpu().contiguous(), share.rank, tag=k)
            for k, share in enumerate(shares)
            if share.rank
        ]
        made: dict[int, Tensor] = {}
        for k, share in enumerate(shares):
            if not share.rank:
                x, frames = parts[share.window]
                made[k] = self._views[share.view](x, step, frames)
        for k, share in enumerate(shares):
            if share.rank:
                made[k] = self._received(parts[share.window][0], k, share)
        for sent in waiting:
            if sent is not None:
                sent.wait()
        return [self._joined(w, shares, made) for w in range(len(parts))]

    def _received(self, x: Tensor, tag: int, share: Share) -> Tensor:
        prediction = torch.empty(x.shape, dtype=torch.float32)
        dist.recv(prediction, share.rank, tag=tag)
        self._group.received += 1
        guided = share.view == "guided"
        self._conditions.on_forward(self._conditions.plan.branches if guided else 1)
        return prediction.to(x.device)

    def _joined(self, window: int, shares: Sequence[Share], made: Mapping[int, Tensor]) -> Tensor:
        """The guided prediction of a window from its pieces."""
        pieces = {s.view: made[k] for k, s in enumerate(shares) if s.window == window}
        if "guided" in pieces:
            return pieces["guided"]
        scale = self._conditions.plan.guidance_scale
        return cfg(pieces["positive"], pieces["negative"], scale)

    def _batch(self, parts: Sequence[Part], step: Step, shares: tuple[Share, ...]) -> Batch:
        fresh: dict[int, PromptEmbeds] = {}
        numbers = []
        for _, frames in parts:
            embeds = self._conditions.prompts(frames)
            number = next((i for i, e in enumerate(self._sent) if e is embeds), None)
            if number is None:
                number = len(self._sent)
                self._sent.append(embeds)
                fresh[number] = embeds
            numbers.append(number)
        return Batch(
            step=step,
            shares=shares,
            frames=tuple(tuple(frames) for _, frames in parts),
            prompts=tuple(numbers),
            shapes=tuple(tuple(x.shape) for x, _ in parts),
            dtype=parts[0][0].dtype,
            fresh=fresh,
        )


def follow(
    address: str,
    rank: int,
    world: int,
    models: ModelManager,
) -> None:
    """Compute what the first of the group sends, until it says that the job has ended.

    Raises:
        GroupLost: if it ends without saying so.
    """
    with joined(address, rank, world), lost_as_error():
        while (order := hear()) is not None:
            if isinstance(order, Stretch):
                _follow_stretch(order, rank, world, models)


def _follow_stretch(stretch: Stretch, rank: int, world: int, models: ModelManager) -> None:
    prompts: dict[int, PromptEmbeds] = {}
    chosen: dict[tuple[int, ...], PromptEmbeds] = {}
    conditions = Conditions(
        stretch.plan,
        lambda frames: chosen[tuple(frames)],
        stretch.pins,
        stretch.first_frame,
    )
    family = family_for(stretch.preset)
    with opened(family, models, conditions, stretch.by, world) as views:
        while isinstance(order := hear(), Batch):
            prompts.update(order.fresh)
            chosen.clear()
            chosen.update(zip(order.frames, (prompts[n] for n in order.prompts), strict=True))
            if stretch.by == "windows":
                _answer(order, rank, views)
            else:
                x = torch.empty(order.shapes[0], dtype=order.dtype)
                dist.broadcast(x, 0)
                views["guided"](x, order.step, order.frames[0])


def _answer(batch: Batch, rank: int, views: Mapping[View, Denoise]) -> None:
    """Receive this rank's pieces, compute them, send the predictions."""
    mine = [(k, share) for k, share in enumerate(batch.shares) if share.rank == rank]
    received: dict[int, Tensor] = {}
    for k, share in mine:
        received[k] = torch.empty(batch.shapes[share.window], dtype=batch.dtype)
        dist.recv(received[k], 0, tag=k)
    for k, share in mine:
        made = views[share.view](received[k], batch.step, list(batch.frames[share.window]))
        dist.send(made.float().cpu().contiguous(), 0, tag=k)


@contextmanager
def joined(address: str, rank: int, world: int) -> Iterator[None]:
    """Membership in a group that meets at `address`.

    Raises:
        GroupLost: if not all come.
    """
    if "127.0.0.1" in address:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    wait = datetime.timedelta(seconds=JOIN_S)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    with lost_as_error():
        dist.init_process_group(
            backend, init_method=address, rank=rank, world_size=world, timeout=wait
        )
    try:
        yield
    finally:
        dist.destroy_process_group()


@contextmanager
def lost_as_error() -> Iterator[None]:
    """torch's complaints about a lost peer, as ours; all others pass."""
    try:
        yield
    except dist.DistError as error:
        raise GroupLost(_lost(error)) from error
    except RuntimeError as error:
        text = str(error)
        if not any(word in text for word in ("gloo", "Connection", "connection", "NCCL", "peer")):
            raise
        raise GroupLost(_lost(error)) from error


def say(order: Any) -> None:
    """Tell all followers something."""
    dist.broadcast_object_list([order], 0)


def hear() -> Any:
    """What the first of the group says; None at the end."""
    heard: list[Any] = [None]
    dist.broadcast_object_list(heard, 0)
    return heard[0]


def _say_end() -> None:
    _say_softly(None)


def _say_close() -> None:
    _say_softly("close")


def _say_softly(order: Any) -> None:
    """Say it to those who are still there."""
    try:
        with lost_as_error():
            say(order)
    except GroupLost:
        # They notice the end of the connection by themselves.
        return


def _on_host(extras: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v.cpu() if isinstance(v, Tensor) else v for k, v in extras.items()}


def _lost(error: BaseException) -> str:
    line = str(error).strip().splitlines()[0][:160]
    return f"a device of the group is gone ({line}); the job goes on at its last saved step"
