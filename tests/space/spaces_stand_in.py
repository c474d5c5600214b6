"""A stand-in for the module `spaces`: lends a GPU by count, as its interface says, and no more.

Like the original it takes the duration as a number or a function of the call's arguments, pickles
arguments and results, and refuses what is longer than the tier or past the quota.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from types import ModuleType
from typing import Any


class QuotaExceededError(Exception):
    """As `gr.Error`: what the visitor sees is in `message`."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Lender:
    """How many calls are left, and which were made."""

    def __init__(self, calls: int = 1_000_000, longest_s: float = 120.0) -> None:
        self.calls = calls
        self.longest_s = longest_s
        self.durations: list[float] = []

    def gpu(self, duration: Any = 60, size: str = "large") -> Callable[..., Any]:
        """`@spaces.GPU(...)`."""

        def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
            def called(*args: Any, **kwargs: Any) -> Any:
                asked = duration(*args, **kwargs) if callable(duration) else duration
                if asked > self.longest_s:
                    raise QuotaExceededError("The requested GPU duration is larger than allowed")
                if self.calls <= 0:
                    raise QuotaExceededError("You have exceeded your GPU quota. Try again later")
                self.calls -= 1
                self.durations.append(asked)
                args, kwargs = pickle.loads(pickle.dumps((args, kwargs)))
                return pickle.loads(pickle.dumps(function(*args, **kwargs)))

            return called

        return decorate

    def module(self) -> ModuleType:
        """What `import spaces` gives."""
        made = ModuleType("spaces")
        made.GPU = self.gpu  # type: ignore[attr-defined]
        return made
