"""Wordings for a scene: the phrases of its parts in many orders, as `captions` uses them."""

from __future__ import annotations

import random
from collections.abc import Callable

from studio.pocket import paraphrases as words
from studio.pocket.vocabulary import Scene

_Form = Callable[[tuple[str, str, str, str, str, str], random.Random], str]
_DOUBLED = ("spin", "drop", "hop", "get", "bob")
_GERUNDS = {"goes": "going", "flies": "flying", "is": "", "does": "", "crosses": "crossing"}


def gerund(phrase: str) -> str:
    """`moves left` -> `moving left`; `is still` -> `still`."""
    if not phrase:
        return ""
    verb, _, rest = phrase.partition(" ")
    if phrase == "does not move":
        return "not moving"
    base = verb[:-1]
    if verb in _GERUNDS:
        form = _GERUNDS[verb]
    elif base in _DOUBLED:
        form = base + base[-1] + "ing"
    else:
        form = base.removesuffix("e") + "ing"
    return f"{form} {rest}".strip()


class SceneWords:
    """Chooses a phrase for each mentioned part and puts them in some order."""

    def __init__(self, scene: Scene, kept: set[str], rng: random.Random, reserved: bool) -> None:
        self.scene, self.kept, self.rng, self.reserved = scene, kept, rng, reserved

    def _pick(self, part: str, table: words.Phrases, name: str = "") -> str:
        if part not in self.kept:
            return ""
        value = getattr(self.scene, part)
        if self.reserved and self.rng.random() < 0.5:
            return self.rng.choice(words.RESERVED[name or part][value])
        if self.rng.random() < 0.3:
            return table[value][0]
        return self.rng.choice(table[value])

    def _subject(self) -> str:
        rng = self.rng
        size = self._pick("size", words.SIZE)
        colour = self._pick("colour", words.COLOUR)
        shape = self._pick("shape", words.SHAPE) or rng.choice(("object", "shape", "thing"))
        start = rng.choice(("a", "a", "a", "one", "the", "a single", ""))
        form = rng.random()
        if colour and form < 0.08:
            text = f"{start} {size} {shape} coloured {colour}"
        elif colour and form < 0.14:
            text = f"{start} {size} {shape} in {colour}"
        elif colour and size and form < 0.2:
            text = f"{start} {colour} {size} {shape}"
        elif colour and form < 0.24:
            text = f"{start} {shape}, {size} {colour},"
        else:
            text = f"{start} {size} {colour} {shape}"
        return " ".join(text.split())

    def _where(self) -> str:
        place = self._pick("place", words.PLACE)
        if not place:
            return ""
        link = self.rng.choice(
            (
                "over the",
                "over the",
                "above the",
                "over",
                "above",
                "in front of the",
                "at the",
                "in the",
                "across the",
                "near the",
            )
        )
        return f"{link} {place}"

    def text(self) -> str:
        """The wording, without filler words."""
        rng = self.rng
        subject, where = self._subject(), self._where()
        light = self._pick("light", words.LIGHT)
        motion = self._pick("motion", words.MOTION)
        forms: tuple[_Form, ...] = (_labelled, _poster) if self.reserved else _SCENE_FORMS
        if self.reserved and rng.random() < 0.6:
            forms = (_camera_last_sentence, _where_first_then_camera)
        form = rng.choice(forms)
        clause = self._pick("camera", words.CAMERA)
        tag = self._pick("camera", words.CAMERA_TAG, "tag")
        if form in _TAG_ONLY:
            clause = tag
        return form((subject, motion, where, light, clause, tag), rng)


Parts = tuple[str, str, str, str, str, str]


def _join(*parts: str, by: str = " ") -> str:
    return by.join(part for part in parts if part)


def _plain(p: Parts, rng: random.Random) -> str:
    return _join(_join(*p[:4]), rng.choice(p[4:]), by=", ")


def _participle(p: Parts, rng: random.Random) -> str:
    return _join(_join(p[0], gerund(p[1]), p[2], p[3]), rng.choice(p[4:]), by=", ")


def _camera_first(p: Parts, rng: random.Random) -> str:
    link = rng.choice((" while ", " as ", ", ", ", and ", ". "))
    return _join(p[4], _join(p[0], p[1], p[2], p[3]), by=link)


def _camera_tag_first(p: Parts, rng: random.Random) -> str:
    return _join(p[5], _join(p[0], rng.choice((p[1], gerund(p[1]))), p[3], p[2]), by=", ")


def _camera_while(p: Parts, rng: random.Random) -> str:
    link = rng.choice((" while ", " as ", ", but ", " and "))
    return _join(_join(p[0], p[1], p[3], p[2]), p[4], by=link)


def _place_first(p: Parts, rng: random.Random) -> str:
    return _join(_join(p[2], p[3]), _join(p[0], p[1]), rng.choice(p[4:]), by=", ")


def _light_first(p: Parts, rng: random.Random) -> str:
    return _join(p[3], _join(p[0], p[1], p[2]), rng.choice(p[4:]), by=", ")


def _keywords(p: Parts, rng: random.Random) -> str:
    items = [p[0], rng.choice((p[1], gerund(p[1]))), p[2], p[3], p[5]]
    rng.shuffle(items)
    return _join(*items, by=rng.choice((", ", ", ", "; ", " - ")))


def _two_sentences(p: Parts, rng: random.Random) -> str:
    it = rng.choice(("it", "the object", "the shape", "slowly it"))
    second = _join(it, p[1]) if p[1] else ""
    items = [_join(p[0], p[2], p[3]), *_shuffled([second, p[4]], rng)]
    return _join(*items, by=". ") + "."


def _there_is(p: Parts, rng: random.Random) -> str:
    that = _join("that", p[1]) if p[1] else ""
    scene = _join("there is", p[0], p[2], that)
    return _join(scene, p[3], rng.choice(p[4:]), by=", ")


def _director(p: Parts, rng: random.Random) -> str:
    """A long text as a prompt rewriter writes it."""
    first = _join(p[0], p[1], p[2]) if rng.random() < 0.5 else _join(p[2], p[0], p[1])
    sentences = [_join(first, p[3]) if rng.random() < 0.6 else first]
    if p[3] and p[3] not in sentences[0]:
        sentences.append(_join(rng.choice(("it all happens", "the scene plays", "shot")), p[3]))
    sentences.append(p[4])
    fluff = [part.rstrip(".") for part in rng.sample(words.FLUFF, rng.randint(1, 4))]
    for part in fluff:
        sentences.insert(rng.randint(0, len(sentences)), part)
    return _join(*(s[:1].upper() + s[1:] for s in sentences), by=". ") + "."


def _motion_of(p: Parts, rng: random.Random) -> str:
    """Motion and camera side by side, in both orders: the pair most easily confused."""
    pair = _shuffled([_join(p[0], p[1]), p[4]], rng)
    return _join(_join(*pair, by=rng.choice((", ", " while ", ", "))), _join(p[2], p[3]), by=", ")


def _labelled(p: Parts, rng: random.Random) -> str:
    names = ("object", "action", "place", "light", "camera")
    items = [f"{n}: {v}" for n, v in zip(names, p[:5], strict=True) if v]
    return _join(*_shuffled(items, rng), by=". ")


def _poster(p: Parts, rng: random.Random) -> str:
    return _join(p[3], p[5], p[2], _join(p[0], gerund(p[1])), by=rng.choice((", ", ": ")))


def _camera_last_sentence(p: Parts, _: random.Random) -> str:
    return _join(_join(p[0], gerund(p[1]), p[3], p[2]), p[4], by=". ")


def _where_first_then_camera(p: Parts, _: random.Random) -> str:
    return _join(_join(p[2], p[4], by=", "), _join(p[0], p[1], p[3]), by=", and ")


def _shuffled(items: list[str], rng: random.Random) -> list[str]:
    rng.shuffle(items)
    return items


_SCENE_FORMS = (
    _plain,
    _plain,
    _participle,
    _camera_first,
    _camera_first,
    _camera_tag_first,
    _camera_while,
    _place_first,
    _light_first,
    _keywords,
    _two_sentences,
    _there_is,
    _director,
    _director,
    _motion_of,
    _motion_of,
)
_TAG_ONLY = (_labelled,)
