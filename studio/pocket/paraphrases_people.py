"""Wordings for one person and for two, as `captions` puts them together."""

from __future__ import annotations

import random
from collections.abc import Sequence

from studio.pocket import paraphrases as words
from studio.pocket.vocabulary import Person

_NOUNS = ("woman", "man", "person", "girl", "boy", "lady", "young man", "young woman", "speaker")
_RESERVED_NOUNS = ("young girl", "young person", "young lady")
_DOING = (
    "talking",
    "speaking",
    "who talks",
    "talking to the camera",
    "saying something",
    "singing",
    "looking at the camera",
    "telling a story",
    "giving a speech",
    "smiling",
    "",
)
_CLOTHES = (
    "in {} clothes",
    "in {}",
    "wearing {}",
    "wearing a {} shirt",
    "in a {} pullover",
    "dressed in {}",
    "with a {} sweater",
    "in a {} t-shirt",
    "with {} clothes",
)
_RESERVED_CLOTHES = ("dressed in {} clothes", "wearing {} clothes", "with a {} shirt")
_BEHIND = (
    "before a {} background",
    "in front of a {} background",
    "{} background",
    "against a {} wall",
    "on a {} background",
    "the background is {}",
    "with {} behind",
    "before a {} wall",
)
_RESERVED_BEHIND = ("against a {} background", "in front of a {} wall")
_SIDES = (
    ("on the left", "on the right"),
    ("left", "right"),
    ("on the left side", "on the right side"),
    ("at left", "at right"),
    ("to the left", "to the right"),
)


def _noun_phrase(person: Person, parts: set[str], rng: random.Random, reserved: bool) -> str:
    """`a woman with long brown hair, pale skin, in red clothes`, naming only `parts`."""
    features = []
    if "skin" in parts:
        features.append(rng.choice(words.SKIN[person.skin]))
    if "eyes" in parts:
        features.append(rng.choice(words.EYES[person.eyes]))
    hair = _hair(person, parts, rng)
    if hair:
        features.append(hair)
    rng.shuffle(features)
    clothes = ""
    if "clothes" in parts:
        clothes = rng.choice(_RESERVED_CLOTHES if reserved else _CLOTHES)
        clothes = clothes.format(rng.choice(words.CLOTHES[person.clothes]))
    noun = rng.choice(("a ", "a ", "the ", "")) + rng.choice(
        _RESERVED_NOUNS if reserved else _NOUNS
    )
    link = rng.choice((", ", ", ", " and "))
    having = f"{rng.choice(('with', 'with', 'having'))} {link.join(features)}" if features else ""
    order = [having, clothes]
    if rng.random() < 0.35:
        order.reverse()
    comma = rng.choice((", ", " "))
    return f"{noun} {comma.join(item for item in order if item)}".strip()


def _hair(person: Person, parts: set[str], rng: random.Random) -> str:
    style, colour = "hair_style" in parts, "hair_colour" in parts
    tint = rng.choice(words.HAIR_COLOUR[person.hair_colour]) if colour else ""
    if style:
        text = rng.choice(words.HAIR_STYLE[person.hair_style]).format(tint)
    elif colour:
        text = f"{tint} hair"
    else:
        text = ""
    return " ".join(text.replace(", hair", " hair").split())


def _behind(background: str, rng: random.Random, reserved: bool) -> str:
    if not background:
        return ""
    form = rng.choice(_RESERVED_BEHIND if reserved else _BEHIND)
    return form.format(rng.choice(words.BACKGROUND[background]))


def _compose(body: str, doing: str, behind: str, rng: random.Random) -> str:
    items = [item for item in (body, doing, behind) if item]
    order = rng.random()
    if order < 0.15:
        items = [item for item in (behind, body, doing) if item]
    text = (". " if rng.random() < 0.15 else ", ").join(items)
    if rng.random() < 0.2:
        fluff = rng.sample(words.FLUFF, rng.randint(1, 3))
        text = f"{text}. {' '.join(fluff)}" if rng.random() < 0.6 else f"{' '.join(fluff)} {text}"
    return text


def one_person(
    person: Person, parts: set[str], background: str, rng: random.Random, reserved: bool
) -> str:
    """A wording for one person that names `parts` and, unless empty, the background."""
    body = _noun_phrase(person, parts, rng, reserved)
    return _compose(body, rng.choice(_DOING), _behind(background, rng, reserved), rng)


def two_people(
    people: Sequence[Person],
    parts: Sequence[set[str]],
    background: str,
    rng: random.Random,
    reserved: bool,
) -> str:
    """A wording for two people, the first of them on the left."""
    left, right = rng.choice(_SIDES)
    bodies = [
        _noun_phrase(person, named, rng, reserved)
        for person, named in zip(people, parts, strict=True)
    ]
    form = rng.random()
    if reserved or form < 0.55:
        placed = [f"{bodies[0]} {left}", f"{bodies[1]} {right}"]
    elif form < 0.8:
        placed = [f"{left}, {bodies[0]}", f"{right}, {bodies[1]}"]
    else:
        placed = [f"{left}: {bodies[0]}", f"{right}: {bodies[1]}"]
    if rng.random() < (0.5 if reserved else 0.3):
        placed.reverse()
    start = rng.choice(("", "", "two people: ", "two people, ", "a conversation between "))
    body = start + rng.choice((" and ", "; ", ", ")).join(placed)
    return _compose(body, rng.choice(_DOING), _behind(background, rng, reserved), rng)
