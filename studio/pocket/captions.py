"""Captions for scenes and people, with what each caption mentions.

`describe` returns a text and its slots: for every attribute the value that the text names, or
`absent`. `held_out` says which combinations of attributes are never trained on.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from hashlib import sha256

from studio.pocket import paraphrases as words
from studio.pocket import vocabulary as world
from studio.pocket.paraphrases_people import one_person, two_people
from studio.pocket.paraphrases_scene import SceneWords
from studio.pocket.vocabulary import Person, Scene

ABSENT = "absent"
SCENE_PARTS = ("size", "shape", "colour", "motion", "place", "light", "camera")
PERSON_PARTS = ("skin", "hair_style", "hair_colour", "clothes", "eyes")
KINDS = ("scene", "one person", "two people")
SLOTS: dict[str, tuple[str, ...]] = {
    "kind": (ABSENT, *KINDS),
    "size": (ABSENT, *world.SIZES),
    "shape": (ABSENT, *world.SHAPES),
    "colour": (ABSENT, *world.COLOURS),
    "motion": (ABSENT, *world.MOTIONS),
    "place": (ABSENT, *world.PLACES),
    "light": (ABSENT, *world.LIGHTS),
    "camera": (ABSENT, *world.CAMERAS),
    "background": (ABSENT, *world.BACKGROUNDS),
} | {
    f"{side}.{part}": (ABSENT, *values)
    for side in ("first", "second")
    for part, values in (
        ("skin", world.SKINS),
        ("hair_style", world.HAIR_STYLES),
        ("hair_colour", world.HAIR_COLOURS),
        ("clothes", world.CLOTHES),
        ("eyes", world.EYES),
    )
}
_HELD_OUT_SHARE = 12

Slots = dict[str, str]


def held_out(scene: Scene) -> bool:
    """Whether the combination of colour, shape and place is kept from training."""
    digest = sha256(f"{scene.colour} {scene.shape} {scene.place}".encode()).digest()
    return int.from_bytes(digest[:4], "big") % _HELD_OUT_SHARE == 0


def canonical(thing: Scene | Sequence[Person]) -> str:
    """The plain caption that names every attribute once."""
    if isinstance(thing, Scene):
        return (
            f"a {thing.size} {thing.colour} {thing.shape} {thing.motion} over the {thing.place} "
            f"at {thing.light}, {_canonical_camera(thing.camera)}"
        )
    people = [
        f"a person with {_hair(p.hair_style, p.hair_colour)}, {p.skin} skin, "
        f"{p.eyes} eyes and {p.clothes} clothes"
        for p in thing
    ]
    behind = f"before a {thing[0].background} background"
    if len(people) == 1:
        return f"{people[0]}, {behind}, talking"
    return f"{people[0]} on the left and {people[1]} on the right, {behind}, talking"


def caption(
    thing: Scene | Sequence[Person], rng: random.Random, held_out_wording: bool = False
) -> str:
    """One of the many wordings of `thing`; the reserved ones with `held_out_wording`."""
    return describe(thing, rng, held_out_wording)[0]


def describe(
    thing: Scene | Sequence[Person],
    rng: random.Random,
    held_out_wording: bool = False,
    complete: float = 0.45,
) -> tuple[str, Slots]:
    """A wording of `thing` and the slots it fills; `complete` is the share naming everything."""
    drop = 0.0 if rng.random() < complete else rng.choice((0.15, 0.3, 0.6))
    if isinstance(thing, Scene):
        kept = {part for part in SCENE_PARTS if rng.random() >= drop}
        if rng.random() < 0.35:
            kept.discard("size")
        if not kept & {"shape", "colour", "motion", "place"}:
            kept |= {"shape", "colour"}
        text = _dress(SceneWords(thing, kept, rng, held_out_wording).text(), rng)
        filled = scene_slots(thing, kept)
    else:
        every = [(i, part) for i in range(len(thing)) for part in PERSON_PARTS]
        seen = {item for item in every if rng.random() >= max(drop, 0.1)}
        behind = rng.random() >= max(drop, 0.15)
        text = _people_text(thing, seen, behind, rng, held_out_wording)
        filled = _people_slots(thing, seen, behind)
    return _roughen(text, rng), filled


def nothing(rng: random.Random) -> tuple[str, Slots]:
    """A text that says nothing about the world, with its (absent) slots."""
    return _roughen(rng.choice(words.NONSENSE), rng), dict.fromkeys(SLOTS, ABSENT)


def scene_slots(scene: Scene, mentioned: set[str]) -> Slots:
    """The slots of a caption for `scene` that names the parts in `mentioned`."""
    filled = dict.fromkeys(SLOTS, ABSENT) | {"kind": "scene"}
    return filled | {part: getattr(scene, part) for part in SCENE_PARTS if part in mentioned}


def _people_slots(people: Sequence[Person], kept: set[tuple[int, str]], behind: bool) -> Slots:
    filled = dict.fromkeys(SLOTS, ABSENT) | {"kind": KINDS[len(people)]}
    if behind:
        filled["background"] = people[0].background
    sides = ("first", "second")
    return filled | {f"{sides[i]}.{part}": getattr(people[i], part) for i, part in kept}


def _canonical_camera(camera: str) -> str:
    return "static camera" if camera == "static" else f"camera {camera}"


def _dress(text: str, rng: random.Random) -> str:
    """Filler words before and after."""
    if rng.random() < 0.15:
        text = f"{rng.choice(words.FILLERS_BEFORE)} {text}"
    if rng.random() < 0.15:
        text = ", ".join([text.rstrip("."), *rng.sample(words.FILLERS_AFTER, rng.randint(1, 3))])
    return text


def _roughen(text: str, rng: random.Random) -> str:
    """Letter case, an end point, and a typing error now and then."""
    if rng.random() < 0.06 and len(text) > 20:
        at = rng.randrange(1, len(text) - 2)
        if text[at : at + 2].isalpha():
            swap = text[at + 1] + text[at] if rng.random() < 0.5 else text[at]
            text = text[:at] + swap + text[at + 2 :]
    case = rng.random()
    if case < 0.3:
        text = text[:1].upper() + text[1:]
    elif case < 0.33:
        text = text.upper()
    if rng.random() < 0.25 and not text.endswith("."):
        text += "."
    return text


def _hair(style: str, colour: str) -> str:
    return words.HAIR_STYLE[style][0].format(colour)


def _people_text(
    people: Sequence[Person],
    kept: set[tuple[int, str]],
    behind: bool,
    rng: random.Random,
    reserved: bool,
) -> str:
    parts = [{part for i, part in kept if i == index} for index in range(len(people))]
    background = people[0].background if behind else ""
    if len(people) == 1:
        text = one_person(people[0], parts[0], background, rng, reserved)
    else:
        text = two_people(people, parts, background, rng, reserved)
    return _dress(text, rng)
