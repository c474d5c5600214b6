"""Rows for training the transformer: rendered clips as latents on disk, with their truth.

One rendering gives four rows: itself, in a mirror, backwards, and both. A shard is a
folder with `latents.npy` float16 [N,48,T',8,8], `ends.npy` float16 [N,E,48,8,8] (the
still-image code of the last frame of each of the last E latents) and `rows.json`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from studio.pocket import latents as code
from studio.pocket import vocabulary as words
from studio.pocket.captions import held_out
from studio.pocket.people import draw_person, talking
from studio.pocket.tracks import mirrored, reversed_in_time, scene_track
from studio.pocket.vocabulary import CAMERAS, CLIP_FRAMES, MOTIONS, Person, Scene
from studio.pocket.world import draw_track

LONG_FRAMES = 49
WINDOW = 1 + (CLIP_FRAMES - 1) // code.STRIDE
PEOPLE_SHARE = 0.15
LONG_SHARE = 0.25
CHANGE_SHARE = 0.5
STATIC_SHARE = 0.45
COMPOSED_SHARE = 0.7


@dataclass(frozen=True)
class Row:
    """What a row of T frames shows; motions and cameras [T] name each frame's (scenes only).

    A composed row's object is where a text alone puts it (tracks.scene_track).
    """

    scene: Scene | None
    people: tuple[Person, ...]
    motions: tuple[int, ...] = ()
    cameras: tuple[int, ...] = ()
    composed: bool = False

    def window(self, start: int, length: int = WINDOW) -> tuple[Scene | tuple[Person, ...], float]:
        """What latents start..start+length show, and the share of frames that agree."""
        if self.scene is None:
            return self.people, 1.0
        first = max(code.STRIDE * (start - 1) + 1, 0)
        last = code.STRIDE * (start + length - 1) + 1
        motion, purity = _most(self.motions[first:last])
        camera, steady = _most(self.cameras[first:last])
        shown = replace(self.scene, motion=MOTIONS[motion], camera=CAMERAS[camera])
        return shown, min(purity, steady)


def random_scene(rng: np.random.Generator) -> Scene:
    """Any scene of the world that is not kept from training."""
    while True:
        scene = Scene(
            size=str(rng.choice(words.SIZES)),
            shape=str(rng.choice(words.SHAPES)),
            colour=str(rng.choice(words.COLOURS)),
            motion=str(rng.choice(MOTIONS)),
            place=str(rng.choice(words.PLACES)),
            light=str(rng.choice(words.LIGHTS)),
            camera="static" if rng.random() < STATIC_SHARE else str(rng.choice(CAMERAS)),
        )
        if words.valid(scene) and not held_out(scene):
            return scene


def random_person(rng: np.random.Generator) -> Person:
    """Any person of the world."""
    return Person(
        skin=str(rng.choice(words.SKINS)),
        hair_style=str(rng.choice(words.HAIR_STYLES)),
        hair_colour=str(rng.choice(words.HAIR_COLOURS)),
        clothes=str(rng.choice(words.CLOTHES)),
        eyes=str(rng.choice(words.EYES)),
        background=str(rng.choice(words.BACKGROUNDS)),
    )


def render(rng: np.random.Generator, frames: int) -> tuple[np.ndarray, Row]:
    """One random clip, uint8 [T,128,128,3], and its row."""
    if rng.random() < PEOPLE_SHARE:
        people = [random_person(rng) for _ in range(int(rng.integers(1, 3)))]
        people = [replace(p, background=people[0].background) for p in people]
        mouths = np.stack([talking(rng, frames) for _ in people])
        return draw_person(people, mouths, rng, frames), Row(None, tuple(people))
    scene = random_scene(rng)
    then = None
    if frames > CLIP_FRAMES and rng.random() < CHANGE_SHARE:
        choices = [m for m in MOTIONS if words.valid(replace(scene, motion=m))]
        then = str(rng.choice(choices))
    composed = frames == CLIP_FRAMES and rng.random() < COMPOSED_SHARE
    track = scene_track(scene, rng, frames, then, composed)
    motions, cameras = tuple(track.motions.tolist()), tuple(track.cameras.tolist())
    row = Row(scene, (), motions, cameras, composed)
    return draw_track(scene, track, rng), row


def mirror(frames: np.ndarray, row: Row) -> tuple[np.ndarray, Row]:
    """The clip in a mirror: left is right, and the first person is the second."""
    motions = tuple(MOTIONS.index(mirrored(MOTIONS[m])) for m in row.motions)
    cameras = tuple(CAMERAS.index(mirrored(CAMERAS[c])) for c in row.cameras)
    shown = replace(row, people=row.people[::-1], motions=motions, cameras=cameras)
    return frames[:, :, ::-1], shown


def backwards(frames: np.ndarray, row: Row) -> tuple[np.ndarray, Row]:
    """The clip played backwards."""
    motions = tuple(MOTIONS.index(reversed_in_time(MOTIONS[m])) for m in row.motions[::-1])
    cameras = tuple(CAMERAS.index(reversed_in_time(CAMERAS[c])) for c in row.cameras[::-1])
    return frames[::-1], replace(row, motions=motions, cameras=cameras)


def four(frames: np.ndarray, row: Row) -> Iterator[tuple[np.ndarray, Row]]:
    """The clip itself, in a mirror, backwards, and both."""
    yield frames, row
    yield mirror(frames, row)
    yield backwards(frames, row)
    yield backwards(*mirror(frames, row))


def write_shard(folder: Path, pixel_code: code.PixelCode, seed: int, renders: int) -> None:
    """Render `renders` clips, all short or (every fourth shard) all long, as a shard."""
    rng = np.random.default_rng(seed)
    long = rng.random() < LONG_SHARE
    frames = LONG_FRAMES if long else CLIP_FRAMES
    latents, ends, rows = [], [], []
    for _ in range(renders):
        for video, row in four(*render(rng, frames)):
            latents.append(pixel_code.encode(video).astype(np.float16))
            last = pixel_code.encode_images(video[CLIP_FRAMES - 1 :: code.STRIDE])
            ends.append(np.moveaxis(last, 1, 0).astype(np.float16))
            rows.append(asdict(row))
    draft = folder.with_name(f".{folder.name}")
    draft.mkdir(parents=True, exist_ok=True)
    np.save(draft / "latents.npy", np.stack(latents))
    np.save(draft / "ends.npy", np.stack(ends))
    (draft / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    draft.rename(folder)


class Rows:
    """All shards under a folder; `refresh` picks up new ones. `row(i)` gives one row.

    `composed` lists the numbers of the composed rows.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._seen: set[str] = set()
        self._index: list[tuple[np.ndarray, np.ndarray, Row, int]] = []
        self.composed: list[int] = []
        self.refresh()

    def __len__(self) -> int:
        return len(self._index)

    def refresh(self) -> None:
        for folder in sorted(self._root.glob("[0-9]*")):
            if folder.name in self._seen:
                continue
            self._seen.add(folder.name)
            latents = np.load(folder / "latents.npy", mmap_mode="r")
            ends = np.load(folder / "ends.npy", mmap_mode="r")
            rows = json.loads((folder / "rows.json").read_text(encoding="utf-8"))
            for at, row in enumerate(map(_row, rows)):
                if row.composed:
                    self.composed.append(len(self._index))
                self._index.append((latents, ends, row, at))

    def row(self, index: int) -> tuple[np.ndarray, np.ndarray, Row]:
        """Latents [48,T',8,8], ends [E,48,8,8] (of latents WINDOW-1 onwards) and the truth."""
        latents, ends, row, at = self._index[index]
        return latents[at], ends[at], row


def _row(fields: dict) -> Row:
    scene = Scene(**fields["scene"]) if fields["scene"] else None
    people = tuple(Person(**p) for p in fields["people"])
    motions, cameras = tuple(fields["motions"]), tuple(fields["cameras"])
    return Row(scene, people, motions, cameras, fields.get("composed", False))


def _most(values: tuple[int, ...]) -> tuple[int, float]:
    """The commonest value and its share."""
    counts = np.bincount(values)
    return int(counts.argmax()), float(counts.max() / len(values))
