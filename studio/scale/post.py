"""An actor as the front end knows it, and which one gets a job."""

from __future__ import annotations

import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from studio.scale.actor import Answer
from studio.scale.cluster import Place
from studio.scale.mail import Mail


@dataclass
class Post:
    """One actor and what it is doing for us."""

    place: Place
    handle: Any
    answer: Answer | None = None
    mail: Mail | None = None
    helps: str | None = None
    """The worker id of the job whose clip it computes parts of."""
    pid: int = 0
    oom_kills: int | None = None
    rests_until: float = 0.0
    stop_since: float | None = None
    seen: bool = False
    """Whether it was heard to have begun our job."""
    begun_at: float = 0.0
    silent_since: float | None = None
    ask: Future[None] | None = None
    asked_at: float = 0.0
    running: list[Any] = field(default_factory=list)
    """References to calls that last; kept so that Ray does not forget them."""

    @property
    def is_free(self) -> bool:
        """Whether it may be given a job."""
        if self.mail is not None or self.helps is not None or self.silent_since is not None:
            return False
        answered = self.answer is not None and self.answer.worker_id is None
        return answered and time.monotonic() >= self.rests_until


def choose(free: list[Post], preset: str) -> Post:
    """The actor that holds the model; else one that holds none; else any."""

    def cost(post: Post) -> tuple[int, str]:
        held = post.answer.preset if post.answer is not None else None
        return (0 if held == preset else 1 if held is None else 2), post.place.name

    return min(free, key=cost)


def holds(post: Post, worker_id: str) -> bool:
    """Whether the actor said that it has this claim's job."""
    return post.answer is not None and post.answer.worker_id == worker_id
