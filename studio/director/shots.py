"""What the director hands over: shots with seven caption fields and a camera move each."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field

from studio.core.request import Frozen, Join, Shot

DirectorMode = Literal["off", "normal", "director"]
Backend = Literal["none", "rules", "local", "endpoint"]

CameraMove = Literal[
    "zoom in",
    "zoom out",
    "pan up",
    "pan down",
    "pan left",
    "pan right",
    "tilt up",
    "tilt down",
    "tilt left",
    "tilt right",
    "around left",
    "around right",
    "static shot",
    "handheld shot",
]

CAMERA_MOVES: tuple[CameraMove, ...] = get_args(CameraMove)
"""The fourteen camera moves of HunyuanVideo's captions."""


class DirectedShot(Frozen):
    """One card: what is seen, in HunyuanVideo's seven caption fields, and how it is filmed."""

    seconds: float = Field(gt=0, le=600)
    join: Join = "continue"
    short: str = Field(min_length=1, max_length=2000)
    dense: str = Field(default="", max_length=2000)
    background: str = Field(default="", max_length=400)
    style: str = Field(default="", max_length=400)
    shot_type: str = Field(default="", max_length=400)
    lighting: str = Field(default="", max_length=400)
    atmosphere: str = Field(default="", max_length=400)
    camera: CameraMove = "static shot"
    locked: bool = False
    """A locked card is not rewritten again."""
    text: str = Field(default="", max_length=4000)
    """The prompt composed from the fields, in the words that the preset's model wants."""


class Rewrite(Frozen):
    """The result of one rewrite; the idea stays beside it."""

    original: str
    mode: DirectorMode
    shots: tuple[DirectedShot, ...]
    text: str
    """The first shot's prompt for one shot; all prompts, one a line, for several."""
    backend: Backend
    notes: tuple[str, ...] = ()

    def shot_list(self) -> tuple[Shot, ...]:
        """The shots as a request takes them."""
        return tuple(Shot(prompt=s.text, seconds=s.seconds, join=s.join) for s in self.shots)
