"""The built-in back end: deterministic, offline, in English and Chinese.

It keeps the user's words, finds what the idea already says about light, camera, style and shot
type, and fills in the rest. A preset whose template is `pocket` gets the pocket world's own words.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from studio.core.preset import Preset
from studio.director.protect import denies, negated, protected, quoted, shorten
from studio.director.shots import DirectedShot, DirectorMode, Rewrite
from studio.director.words import (
    CJK,
    Entry,
    Words,
    count_words,
    find,
    language_of,
    load_words,
    spans,
)

PROMPTS = Path(__file__).with_name("prompts")
_SPLIT = re.compile(
    r"\s*(?:[,;.]?\s*(?:and\s+)?(?:then\s+)?cut to:?\s+"
    r"|[,;.]\s*(?:and\s+)?then\s+|\s+(?:and\s+)?then\s+"
    r"|[;.]\s*(?:after that|next|finally),?\s+"
    r"|[，,。；;]?\s*(?:然后|接着|随后|之后|最后)[，,]?\s*)",
    re.IGNORECASE,
)
_CUT = re.compile(r"cut to", re.IGNORECASE)
_FILL = {
    "en": (
        "the subject stays in focus",
        "balanced composition with clear depth",
        "natural colours and fine detail",
        "smooth and continuous motion",
        "the background stays calm and uncluttered",
        "gentle contrast between subject and surroundings",
        "the movement is easy to follow from beginning to end",
        "textures are crisp and the edges are clean",
        "foreground and background are clearly apart",
        "the scene keeps the same look throughout",
        "every movement follows the laws of nature",
        "nothing distracts from what happens",
    ),
    "zh": (
        "主体始终清晰",
        "构图平衡，层次分明",
        "色彩自然，细节丰富",
        "动作流畅连贯",
        "背景安静简洁",
        "主体与环境对比柔和",
        "运动从头到尾清楚可见",
        "质感细腻，边缘干净",
        "前景与背景层次清楚",
        "整个画面风格始终一致",
        "每个动作符合自然规律",
        "光影过渡自然柔和",
        "画面稳定而富有真实感",
    ),
}
_POCKET_CAMERA = {
    "zoom in": "camera zooms in",
    "zoom out": "camera zooms out",
    "pan left": "camera pans left",
    "pan right": "camera pans right",
}
_TEXTS = ("short", "dense", "background", "style", "shot_type", "lighting", "atmosphere", "camera")


@dataclass(frozen=True)
class Ask:
    """What the rules need to know besides the idea."""

    mode: DirectorMode
    preset: Preset
    words: Words
    seconds: float


def rewrite_by_rules(
    idea: str, mode: DirectorMode, preset: Preset, user_file: Path | None = None
) -> Rewrite:
    """The rewrite of `idea` (cleaned text, not empty) in the words of `preset`'s model."""
    moments, joins = split_moments(idea)
    seconds = preset.defaults.seconds
    ask = Ask(mode, preset, load_words(user_file), seconds)
    shots: list[DirectedShot] = []
    for index, moment in enumerate(moments):
        shots.append(_shot(moment, idea, ask, joins[index], shots[-1] if shots else None))
    text = "\n".join(s.text for s in shots)
    return Rewrite(original=idea, mode=mode, shots=tuple(shots), text=text, backend="rules")


def split_moments(idea: str) -> tuple[list[str], list[str]]:
    """The moments of an idea ("a ball rises, then it falls") and how each joins the one before.

    Quoted text is never split.
    """
    quotes = [r for r in protected(idea) if idea[r[0]] in "\"“‘'「『《"]
    pieces, joins, last = [], ["continue"], 0
    for match in _SPLIT.finditer(idea):
        if any(a <= match.start() < b for a, b in quotes):
            continue
        piece = idea[last : match.start()].strip(" ,;，；。")
        if not piece:
            continue
        pieces.append(piece)
        joins.append("cut" if _CUT.search(match.group()) else "continue")
        last = match.end()
    rest = idea[last:].strip(" ,;，；")
    if rest:
        pieces.append(rest)
    return pieces or [idea], joins[: max(1, len(pieces))]


@lru_cache(maxsize=1)
def _templates() -> dict[str, str]:
    """Templates by name, the longest names first."""
    files = sorted(PROMPTS.glob("*.txt"), key=lambda f: -len(f.stem))
    return {f.stem: f.read_text(encoding="utf-8").strip() for f in files}


def template_of(preset: Preset) -> str:
    """The template's name: the preset's own, else its family's, else `default`."""
    known = _templates()
    named = preset.id.replace("-", "_")
    own = [stem for stem in known if f"{named}_".startswith(f"{stem}_")]
    return next(iter(own), preset.family if preset.family in known else "default")


def compose(shot: DirectedShot, preset: Preset, words: Words | None = None) -> str:
    """The prompt for a card's fields, within the preset's word range where the words allow it."""
    lists = words or load_words(None)
    language = _language(shot.short, preset)
    if template_of(preset) == "pocket":
        return _compose_pocket(shot, preset)
    camera = next(c for c in lists.camera if c.means == shot.camera).text(language)
    low, high = preset.prompt_words
    must = count_words(f"{shot.lighting} {camera}")
    fields = {**shot.model_dump(include=set(_TEXTS)), "camera": camera}
    fields["short"] = shorten(shot.short, max(4, high - must))
    for optional in ("atmosphere", "dense", "shot_type", "style", "background"):
        if count_words(_fill(fields, preset)) > high:
            fields[optional] = ""
    text = _fill(fields, preset)
    for extra in _FILL[language]:
        if extra.lower() in text.lower():
            continue
        if count_words(text) >= low or count_words(f"{text} {extra}") > high:
            break
        text = f"{text.rstrip('.')}. {_sentence(extra)}."
    return _chinese_marks(text) if language == "zh" else text


def _chinese_marks(text: str) -> str:
    """Full-width marks between Chinese characters instead of the template's Latin ones."""
    text = re.sub(rf"(?<=[{CJK}”」》])\s*\.\s*", "。", text)
    return re.sub(rf"(?<=[{CJK}”」》])\s*,\s*", "，", text)


def _language(text: str, preset: Preset) -> str:
    return preset.prompt_language if preset.prompt_language != "any" else language_of(text)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _fill(fields: dict[str, str], preset: Preset) -> str:
    template = _templates()[template_of(preset)]
    text = re.sub(r"\{(\w+)\}", lambda m: fields.get(m[1], "").strip(" .,。，"), template)
    text = re.sub(r"\s*([,.])(?:\s*[,.])*", lambda m: "." if "." in m[0] else ",", text)
    text = re.sub(r"([,.])(?=[^\s\d\"”’])", r"\1 ", re.sub(r"\s+", " ", text)).strip(" ,")
    return re.sub(r"(^|\. )([a-z])", lambda m: m[1] + m[2].upper(), text.lstrip(". "))


def _pick(options: Sequence[str], idea: str, salt: str) -> str:
    """A choice that the same idea always gets again."""
    digest = hashlib.sha256(f"{salt}:{idea}".encode()).digest()
    return options[digest[0] % len(options)]


def _shot(moment: str, idea: str, ask: Ask, join: str, before: DirectedShot | None) -> DirectedShot:
    words, preset = ask.words, ask.preset
    language = _language(moment, preset)
    pocket = template_of(preset) == "pocket"
    camera = _said(moment, words.camera) or _said(idea, words.camera)
    light = _said(_without(moment, words.camera), words.light) or _said(idea, words.light)
    style, kind = _said(idea, words.style), _said(moment, words.shot_type)
    directed = ask.mode == "director"
    move = camera.means if camera else _default_camera(moment, idea, ask, pocket)
    light = light or words.light[2]
    fields = {
        "short": (_pocket_short(moment, words, before) if pocket else "") or moment,
        "lighting": f"at {light.means}" if pocket else light.text(language),
        "background": _pocket_place(moment, idea, words) if pocket else "",
    }
    if directed and not pocket:
        fields["style"] = (style or words.style[-1]).text(language)
        fields["shot_type"] = (kind or words.shot_type[-1]).text(language)
        fields["atmosphere"] = _pick(
            ("平静而专注的氛围", "富有生机的氛围")
            if language == "zh"
            else ("a calm, attentive mood", "a lively, open mood"),
            idea,
            "mood",
        )
        fields["dense"] = _pick(_FILL[language][:4], idea, "dense")
    elif style is not None and not pocket:
        fields["style"] = style.text(language)
    shot = DirectedShot(seconds=ask.seconds, join=join, camera=move, **fields)  # type: ignore[arg-type]
    return shot.model_copy(update={"text": compose(shot, preset, words)})


def _said(text: str, entries: Sequence[Entry]) -> Entry | None:
    """The entry that the text itself states: not inside a quotation, and not denied."""
    chars = list(text)
    kept = [w for e in entries for w in e.words if denies(w)]
    open_to = [s for w in kept for s in _places(text, w)]
    for start, stop in (*quoted(text), *negated(text)):
        if not any(a < stop and start < b for a, b in open_to):
            chars[start:stop] = "\0" * (stop - start)
    return find("".join(chars), entries)


def _places(text: str, word: str) -> list[tuple[int, int]]:
    return [m.span() for m in re.finditer(re.escape(word), text, re.IGNORECASE)]


def _without(text: str, entries: Sequence[Entry]) -> str:
    chars = list(text)
    kept = protected(text)
    for start, stop in spans(text, entries):
        # "Baker Street" is no street and "OPEN" in quotes is not said: they stay.
        if not any(a < stop and start < b for a, b in kept if stop - start < b - a):
            chars[start:stop] = " " * (stop - start)
    return "".join(chars)


def _default_camera(moment: str, idea: str, ask: Ask, pocket: bool) -> str:
    if ask.mode != "director":
        return "static shot"
    if not pocket:
        return _pick(("zoom in", "pan right", "pan left", "static shot", "around right"), idea, "c")
    # A pan beside a sideways motion, or a zoom beside a change of size, would hide one another.
    motion = _said(_without(moment, ask.words.camera), ask.words.pocket["motion"])
    if motion is not None and motion.means in ("grows", "shrinks"):
        return _pick(("static shot", "pan left", "pan right"), idea, "camera")
    if motion is not None and motion.means in ("moves left", "moves right"):
        return _pick(("static shot", "zoom in", "zoom out"), idea, "camera")
    return _pick(("static shot", "zoom in", "zoom out", "pan left", "pan right"), idea, "camera")


def _pocket_short(moment: str, words: Words, before: DirectedShot | None) -> str:
    """Who does what, in the pocket world's words where the moment is not simple English."""
    clean = _without(moment, words.camera)
    motion = _said(clean, words.pocket["motion"])
    # "变大" (grows) contains "大" (large): a motion's words are not a size.
    still = _without(clean, words.pocket["motion"])
    parts = {s: _said(still, words.pocket[s]) for s in ("size", "colour", "shape")}
    if before is not None and parts["shape"] is None:
        parts = {s: e or find(before.short, words.pocket[s]) for s, e in parts.items()}
    elif language_of(moment) == "en" and clean == moment:
        return _trim_pocket(moment, words)
    if parts["shape"] is None:
        return _trim_pocket(re.sub(r"\b(?:the\s+)?camera\s+(?=\s)", "", clean), words)
    named = [e.means for e in (*parts.values(), motion) if e is not None]
    kept = [moment[a:b] for a, b in protected(moment) if not _plain_start(moment, a, b)]
    kept = [k for k in kept if find(k, words.camera) is None]
    return " ".join(["a", *named, *kept])


def _plain_start(text: str, start: int, stop: int) -> bool:
    """Whether the range is only the capital letter of a sentence's first word."""
    word = text[start:stop]
    return start == 0 and " " not in word and word.isalpha() and language_of(word) == "en"


def _trim_pocket(text: str, words: Words) -> str:
    """The idea without its own place and light, which the template states again."""
    text = re.sub(r"\s+", " ", text)
    for slot in (words.pocket["place"], words.light):
        found = _said(text, slot)
        if found is None:
            continue
        for word in sorted(found.words, key=len, reverse=True):
            text = _dropped(text, word)
    return re.sub(r"\s+([,.])", r"\1", re.sub(r"(?:\s*,)+", ",", text)).strip(" ,.，。")


def _dropped(text: str, word: str) -> str:
    """`text` without the first `word` and its preposition, unless that must be kept."""
    kept = protected(text)
    match = re.search(
        rf"\s*,?\s*(?:over|on|above|at|in|by|across|before|under)?\s*(?:the|a)?\s*"
        rf"((?<![\w-]){re.escape(word)}(?![\w-]))",
        text,
        re.IGNORECASE,
    )
    if match is None or any(a < match.end() and match.start() < b for a, b in kept):
        return text
    return text[: match.start()] + text[match.end() :]


def _pocket_place(moment: str, idea: str, words: Words) -> str:
    place = _said(moment, words.pocket["place"]) or _said(idea, words.pocket["place"])
    name = place.means if place else _pick(("meadow", "sea", "desert", "city"), idea, "place")
    return f"over the {name}"


def _compose_pocket(shot: DirectedShot, preset: Preset) -> str:
    camera = _POCKET_CAMERA.get(shot.camera, "static camera")
    tail = f"{shot.background} {shot.lighting}, {camera}".strip()
    room = preset.prompt_words[1] - count_words(tail)
    return f"{shorten(shot.short, max(4, room))} {tail}"
