"""Rows for training the pocket avatar: people who say what a recorded piece says.

A shard is a folder with `latents.npy` float16 [N,48,T,8,8], `portraits.npy` float16 [N,48,8,8]
(the person at rest, mouth closed) and `rows.json`: who is seen, which pieces each one speaks from
which frame on, and where the portrait's faces are.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from studio.pocket import latents as code
from studio.pocket.dataset import LONG_FRAMES, random_person
from studio.pocket.people import draw_figures
from studio.pocket.speech import PIECE_S, openings
from studio.pocket.train_hearing import load_piece
from studio.pocket.vocabulary import FPS, SIZE_PX, Person

PAIR_SHARE = 0.45
QUIET_SHARE = 0.12
PIECE_FRAMES = int(PIECE_S * FPS)


@dataclass(frozen=True)
class Spoken:
    """A row's truth: `tracks` are (piece, first frame), piece -1 for silence, one a person.

    `faces` are the portrait's boxes as left, top, width, height in pixels.
    """

    people: tuple[Person, ...]
    tracks: tuple[tuple[int, int], ...]
    faces: tuple[tuple[float, float, float, float], ...]


def portrait(people: tuple[Person, ...], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A picture uint8 [128,128,3] of people at rest, and their faces [n,4] (x0, y0, x1, y1)."""
    figures = draw_figures(people, np.zeros((len(people), 2)), rng, 2)
    return figures.frames[0], figures.faces[:, 0]


def write_shard(
    folder: Path, pixel_code: code.PixelCode, pieces: Path, seed: int, renders: int
) -> None:
    """Render `renders` clips, each also in a mirror."""
    rng = np.random.default_rng(seed)
    files = sorted(pieces.glob("piece-*.npy"))
    mouths = {}
    latents, portraits, rows = [], [], []
    for _ in range(renders):
        people = _people(rng)
        tracks = tuple(_track(rng, len(files)) for _ in people)
        for number, _ in tracks:
            if number >= 0 and number not in mouths:
                mouths[number] = openings(load_piece(files[number]), PIECE_FRAMES)
        opened = np.stack([_opened(mouths, track) for track in tracks])
        clip = draw_figures(people, opened, rng, LONG_FRAMES).frames
        picture, faces = portrait(people, rng)
        row = Spoken(people, tracks, tuple(_box(face) for face in faces))
        for frames, still, truth in (
            (clip, picture, row),
            (clip[:, :, ::-1], picture[:, ::-1], _mirrored(row)),
        ):
            latents.append(pixel_code.encode(frames).astype(np.float16))
            portraits.append(pixel_code.encode_images(still[None])[:, 0].astype(np.float16))
            rows.append(asdict(truth))
    draft = folder.with_name(f".{folder.name}")
    draft.mkdir(parents=True, exist_ok=True)
    np.save(draft / "latents.npy", np.stack(latents))
    np.save(draft / "portraits.npy", np.stack(portraits))
    (draft / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    draft.rename(folder)


def render_avatar_rows(cache: Path, renders: int, per_shard: int = 40) -> None:
    """Render shards until `renders` clips lie on disk; a stopped run goes on where it was."""
    pixel_code = code.PixelCode.load(cache / "pca.safetensors")
    home = cache / "avatar_training"
    for number in range(renders // per_shard):
        folder = home / "rows" / f"{number:04d}"
        if not folder.exists():
            write_shard(folder, pixel_code, home / "pieces", 5000 + number, per_shard)


class SpokenRows:
    """All shards under a folder. `row(i)` gives latents, portrait and truth."""

    def __init__(self, root: Path) -> None:
        self._index: list[tuple[np.ndarray, np.ndarray, Spoken, int]] = []
        for folder in sorted(root.glob("[0-9]*")):
            latents = np.load(folder / "latents.npy", mmap_mode="r")
            portraits = np.load(folder / "portraits.npy", mmap_mode="r")
            rows = json.loads((folder / "rows.json").read_text(encoding="utf-8"))
            self._index += [(latents, portraits, _row(r), at) for at, r in enumerate(rows)]

    def __len__(self) -> int:
        return len(self._index)

    def row(self, index: int) -> tuple[np.ndarray, np.ndarray, Spoken]:
        """Latents [48,T,8,8], the portrait's [48,8,8], and what they show."""
        latents, portraits, row, at = self._index[index]
        return latents[at], portraits[at], row

    def by_people(self, count: int) -> list[int]:
        """Numbers of the rows with that many people."""
        return [i for i, entry in enumerate(self._index) if len(entry[2].people) == count]


def _people(rng: np.random.Generator) -> tuple[Person, ...]:
    count = 2 if rng.random() < PAIR_SHARE else 1
    people = [random_person(rng) for _ in range(count)]
    return tuple(replace(p, background=people[0].background) for p in people)


def _track(rng: np.random.Generator, pieces: int) -> tuple[int, int]:
    if rng.random() < QUIET_SHARE:
        return -1, 0
    return int(rng.integers(pieces)), int(rng.integers(PIECE_FRAMES - LONG_FRAMES))


def _opened(mouths: dict[int, np.ndarray], track: tuple[int, int]) -> np.ndarray:
    number, first = track
    if number < 0:
        return np.zeros(LONG_FRAMES, np.float32)
    return mouths[number][first : first + LONG_FRAMES]


def _box(face: np.ndarray) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = (float(v) for v in face)
    return x0, y0, x1 - x0, y1 - y0


def _mirrored(row: Spoken) -> Spoken:
    faces = tuple((SIZE_PX - x - w, y, w, h) for x, y, w, h in row.faces[::-1])
    return Spoken(row.people[::-1], row.tracks[::-1], faces)


def _row(fields: dict) -> Spoken:
    return Spoken(
        tuple(Person(**p) for p in fields["people"]),
        tuple((int(a), int(b)) for a, b in fields["tracks"]),
        tuple((float(a), float(b), float(c), float(d)) for a, b, c, d in fields["faces"]),
    )
