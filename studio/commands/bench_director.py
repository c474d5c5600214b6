"""`bench director`: whether the pocket model follows a directed prompt as well as the bare idea."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from studio.commands.common import AsJson, guarded, show
from studio.core.preset import find_preset, load_presets
from studio.core.settings import ROOT
from studio.director.rewrite import rewrite

COLOURS = ("red", "green", "blue", "yellow", "purple", "orange", "white", "pink")
SHAPES = ("ball", "square", "triangle", "star", "heart")
MOTIONS = {
    "goes up": "rises",
    "falls": "falls",
    "moves left": "moves left",
    "goes to the right": "moves right",
    "bounces": "bounces",
    "gets bigger": "grows",
    "gets smaller": "shrinks",
    "stays still": "stays still",
}
CAMERAS = {
    "static shot": "static",
    "pan left": "pans left",
    "pan right": "pans right",
    "zoom in": "zooms in",
    "zoom out": "zooms out",
}
Generate = Callable[[list[str], list[int]], Iterator[np.ndarray]]
Clips = Annotated[int, typer.Option(min=1, max=400, help="Bare ideas to compare.")]


@dataclass(frozen=True)
class Idea:
    """A bare idea and what a clip of it must show."""

    text: str
    colour: str
    shape: str
    motion: str


def bare_ideas(count: int) -> list[Idea]:
    """Short ideas such as "red ball goes up", all colours, shapes and motions in turn."""
    # Eight colours and eight motions would turn together; each lap shifts one against the other.
    said = list(MOTIONS.items())
    ideas = []
    for index in range(count):
        colour, shape = COLOURS[index % len(COLOURS)], SHAPES[index % len(SHAPES)]
        words, motion = said[(index + index // len(COLOURS)) % len(said)]
        ideas.append(Idea(f"{colour} {shape} {words}", colour, shape, motion))
    return ideas


def follow_director(generate: Generate, ideas: Sequence[Idea]) -> dict[str, object]:
    """Shares of colour, shape and motion that bare and directed clips show, and of camera moves.

    Both clips of an idea begin with the same seed; the camera counts as chosen by the director.
    """
    from studio.pocket.judge import judge

    preset = find_preset(load_presets([ROOT / "presets"]), "pocket")
    shots = [rewrite(idea.text, "director", preset).shots[0] for idea in ideas]
    seeds = list(range(len(ideas)))
    bare = list(map(judge, generate([idea.text for idea in ideas], seeds)))
    directed = list(map(judge, generate([shot.text for shot in shots], seeds)))
    rows = []
    for idea, shot, plain, made in zip(ideas, shots, bare, directed, strict=True):
        rows.append(
            {
                "idea": idea.text,
                "prompt": shot.text,
                "bare": _right(idea, asdict(plain)),
                "directed": _right(idea, asdict(made)),
                "camera": CAMERAS.get(shot.camera, "static"),
                "camera_seen": made.camera,
            }
        )
    asked = 3 * len(rows)
    before = sum(sum(row["bare"].values()) for row in rows) / asked  # type: ignore
    after = sum(sum(row["directed"].values()) for row in rows) / asked  # type: ignore
    camera = sum(row["camera"] == row["camera_seen"] for row in rows) / len(rows)
    return {
        "ideas": len(rows),
        "follow_bare": round(before, 4),
        "follow_directed": round(after, 4),
        "camera": round(camera, 4),
        "passed": after >= before and camera >= 0.8,
        "rows": rows,
    }


def _right(idea: Idea, seen: dict[str, object]) -> dict[str, bool]:
    return {part: seen[part] == getattr(idea, part) for part in ("colour", "shape", "motion")}


@guarded
def director(
    ideas: Clips = 30,
    steps: Annotated[int, typer.Option(min=1, max=200, help="Sampling steps.")] = 20,
    weights: Annotated[Path | None, typer.Option(help="The pocket model's folder.")] = None,
    as_json: AsJson = False,
) -> None:
    """Prompt following of bare ideas and of their directed prompts, and the camera moves seen."""
    from studio.pocket.generate import Generator

    generate = Generator(weights or ROOT / "studio" / "pocket" / "weights", steps)
    value = follow_director(generate, bare_ideas(ideas))
    text = (
        f"followed: bare {value['follow_bare']:.0%}, directed {value['follow_directed']:.0%}; "
        f"camera move seen {value['camera']:.0%} ({'passed' if value['passed'] else 'not passed'})"
    )
    show(value, text, as_json=as_json)
