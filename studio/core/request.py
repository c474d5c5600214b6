"""What a person asks for: frozen, complete, JSON both ways; an unknown key is an error."""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from studio.core.errors import RequestError

MAX_PROMPT_CHARS = 4000
MAX_SECONDS = 600.0
MAX_SEED = 2**63 - 1

Mode = Literal["t2v", "i2v", "flf2v", "avatar"]
Method = Literal["auto", "overlap-prefix", "position-shift"]
Carry = Literal["auto", "latent", "reencode", "reencode-warm"]
Ends = Literal["clamped", "ring"]
Join = Literal["cut", "continue"]
Offload = Literal["auto", "none", "model", "block", "disk"]
Cache = Literal["none", "fast", "faster"]
Director = Literal["off", "normal", "director"]
Fit = Literal["crop", "pad", "stretch"]


class Frozen(BaseModel):
    """Plain data: cannot change, refuses keys it does not know and numbers that are not finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def clean_prompt(text: str, what: str = "prompt") -> str:
    """`text` normalised (NFC, newlines and tabs to spaces, trimmed).

    Raises:
        ValueError: if it has control characters or more than MAX_PROMPT_CHARS characters.
    """
    if len(text) > MAX_PROMPT_CHARS:
        raise ValueError(
            f"a {what} has at most {MAX_PROMPT_CHARS} characters (got {len(text)}); shorten it"
        )
    flat = " ".join(unicodedata.normalize("NFC", text).split())
    bad = next((c for c in flat if unicodedata.category(c) in ("Cc", "Cs", "Co", "Cn")), None)
    if bad is not None:
        raise ValueError(
            f"a {what} has no control characters (got U+{ord(bad):04X}); remove it and try again"
        )
    return flat


class Shot(Frozen):
    """One entry of a shot list: what is seen, for how long, and how it follows the one before."""

    prompt: str
    seconds: float = Field(gt=0, le=MAX_SECONDS)
    join: Join = "continue"

    @field_validator("prompt")
    @classmethod
    def _prompt(cls, value: str) -> str:
        flat = clean_prompt(value, "shot's prompt")
        if not flat:
            raise ValueError("a shot needs a prompt; write what is seen in it")
        return flat


class Lora(Frozen):
    """A LoRA file and how strongly it counts."""

    path: str
    weight: float = Field(default=1.0, ge=-4, le=4)


class Retake(Frozen):
    """One window of a finished clip made anew; everything else of the request is that clip's."""

    clip: str
    """Path or library id."""
    window: int = Field(ge=0)
    seed: int = Field(default=0, ge=0, le=MAX_SEED)
    prompt: str | None = None
    """What the window shows instead; None keeps its prompt."""

    @field_validator("prompt")
    @classmethod
    def _prompt(cls, value: str | None) -> str | None:
        return None if value is None else clean_prompt(value)


class FaceBox(Frozen):
    """A face in pixels of the given portrait: left, top, width, height."""

    x: int = Field(ge=0)
    y: int = Field(ge=0)
    width: int = Field(gt=0)
    height: int = Field(gt=0)


class BaseRequest(Frozen):
    """What every mode has in common. `None` means: as the preset says."""

    preset: str = Field(default="pocket", min_length=1, max_length=100)
    prompt: str = ""
    negative_prompt: str = ""
    shots: tuple[Shot, ...] = ()
    seconds: float | None = Field(default=None, gt=0, le=MAX_SECONDS)
    frames: int | None = Field(default=None, ge=1, le=20_000)
    fps: float | None = Field(default=None, gt=0, le=120)
    width: int | None = Field(default=None, ge=16, le=4096)
    height: int | None = Field(default=None, ge=16, le=4096)
    num_inference_steps: int | None = Field(default=None, ge=1, le=200)
    guidance_scale: float | None = Field(default=None, ge=0, le=30)
    seed: int = Field(default=0, ge=0, le=MAX_SEED)
    method: Method = "auto"
    overlap_frames: int | None = Field(default=None, ge=1, le=400)
    carry: Carry = "auto"
    shift_frames: int | None = Field(default=None, ge=1, le=400)
    ends: Ends = "clamped"
    loras: tuple[Lora, ...] = ()
    offload: Offload = "auto"
    cache: Cache = "none"
    director: Director = "off"
    idea: str = ""
    """What the person wrote before the director rewrote it; kept for the record."""
    retake: Retake | None = None

    @field_validator("prompt", "negative_prompt", "idea")
    @classmethod
    def _text(cls, value: str) -> str:
        return clean_prompt(value)

    @model_validator(mode="after")
    def _length(self) -> BaseRequest:
        if self.seconds is not None and self.frames is not None:
            raise ValueError("a length is given in seconds or in frames, not both; drop one")
        if self.shots and (self.seconds is not None or self.frames is not None):
            raise ValueError("a shot list sets the length itself; drop --seconds and --frames")
        if not self.prompt and not self.shots and self.mode in ("t2v",):
            raise ValueError(
                "a prompt is needed; write what should be seen, e.g. 'a red ball rises'"
            )
        return self

    @property
    def mode(self) -> Mode:
        """Which of the four tabs this request belongs to."""
        return getattr(self, "kind")  # noqa: B009  # declared by every subclass


class TextToVideo(BaseRequest):
    """Text to video."""

    kind: Literal["t2v"] = "t2v"
    continue_from: str | None = None
    """A clip (path or library id) whose last frames are the first prefix."""


class ImageToVideo(BaseRequest):
    """Image to video: the clip begins with `image`."""

    kind: Literal["i2v"] = "i2v"
    image: str
    fit: Fit = "crop"


class FirstLastFrame(BaseRequest):
    """First and last frame to video."""

    kind: Literal["flf2v"] = "flf2v"
    image: str
    last_image: str
    fit: Fit = "crop"


class AudioAvatar(BaseRequest):
    """A portrait that speaks: one audio track a speaker."""

    kind: Literal["avatar"] = "avatar"
    image: str
    fit: Fit = "crop"
    audio: tuple[str, ...] = Field(min_length=1, max_length=4)
    faces: tuple[FaceBox, ...] = ()
    audio_guidance_scale: float | None = Field(default=None, ge=0, le=30)

    @model_validator(mode="after")
    def _speakers(self) -> AudioAvatar:
        if self.faces and len(self.faces) != len(self.audio):
            raise ValueError(
                f"each sound needs the face that speaks it (got {len(self.audio)} sounds and "
                f"{len(self.faces)} faces); give one face for each sound, or none"
            )
        return self


Request = TextToVideo | ImageToVideo | FirstLastFrame | AudioAvatar
_KINDS: tuple[type[BaseRequest], ...] = (TextToVideo, ImageToVideo, FirstLastFrame, AudioAvatar)
_ADAPTER: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="kind")])


def sentence(error: ValidationError) -> str:
    """The first finding of pydantic's as one sentence with the field, the rule and the value."""
    first = error.errors()[0]
    where = ".".join(str(x) for x in first["loc"] if x not in ("t2v", "i2v", "flf2v", "avatar"))
    rule = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error":
        return rule
    if first["type"] == "extra_forbidden":
        return f"{where} is not a known option; remove it or check its spelling"
    value = first.get("input")
    shown = "" if isinstance(value, dict | list) else f" (got {str(value)[:60]!r})"
    return f"{where or 'a request'}: {rule[:1].lower()}{rule[1:]}{shown}; {_remedy(first)}"


_LOW = {"ge": "at least", "gt": "more than", "min_length": "at least"}
_HIGH = {"le": "at most", "lt": "less than", "max_length": "at most"}


def _remedy(found: Mapping[str, Any]) -> str:
    """What to do about a finding: the range or the choices that are allowed, if there are any."""
    rules = _rules_of(found["loc"]) | dict(found.get("ctx") or {})
    if "expected" in rules:
        return f"choose {rules['expected']}"
    ends = [
        f"{words[name]} {_shown(rules[name])}"
        for words in (_LOW, _HIGH)
        for name in words
        if isinstance(rules.get(name), int | float)
    ]
    counted = {"min_length", "max_length"} & set(rules)
    unit = "" if not counted else " characters" if "string" in found["type"] else " items"
    return f"take {' and '.join(ends)}{unit}" if ends else _TYPES.get(found["type"], "correct it")


def _shown(bound: float) -> str:
    return str(bound) if isinstance(bound, int) else f"{bound:g}"


_TYPES = {
    "missing": "give it",
    "union_tag_not_found": "set kind to t2v, i2v, flf2v or avatar",
    "union_tag_invalid": "set kind to t2v, i2v, flf2v or avatar",
    "model_attributes_type": "send a JSON object",
    "string_type": "write it as text",
    "bool_type": "take true or false",
    "int_type": "take a whole number",
    "int_parsing": "take a whole number",
    "int_from_float": "take a whole number",
    "float_type": "take a number",
    "float_parsing": "take a number",
    "finite_number": "take an ordinary number",
}


def _rules_of(loc: tuple[int | str, ...]) -> dict[str, Any]:
    """The bounds of the field at `loc`, both of them: an error names only the one it broke."""
    kinds = {m.model_fields["kind"].default: m for m in _KINDS}
    model = kinds.get(str(loc[0])) if loc else None
    if model is None or len(loc) != 2 or str(loc[1]) not in model.model_fields:
        return {}
    names = (*_LOW, *_HIGH)
    found: dict[str, Any] = {}
    for rule in model.model_fields[str(loc[1])].metadata:
        found |= {n: getattr(rule, n) for n in names if getattr(rule, n, None) is not None}
    return found


def parse_request(data: dict[str, Any] | str | bytes) -> Request:
    """A validated request from a dict or JSON text with `kind` in it.

    Raises:
        RequestError: one sentence with the rule, the value and the remedy.
    """
    try:
        plain = json.loads(data) if isinstance(data, str | bytes) else data
        return _ADAPTER.validate_python(plain)
    except ValidationError as error:
        raise RequestError(sentence(error)) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"a request is JSON (got something else: {error}); send JSON") from error


def dump_request(request: Request) -> dict[str, Any]:
    """Plain JSON data that `parse_request` takes back unchanged."""
    return request.model_dump(mode="json")


def input_files(request: Request) -> list[Path]:
    """The media files the request reads, in the order of its fields."""
    names = [getattr(request, "image", None), getattr(request, "last_image", None)]
    names += list(getattr(request, "audio", ()))
    names.append(getattr(request, "continue_from", None))
    return [Path(name) for name in names if name]


def is_finite(value: float) -> bool:
    """Whether `value` is an ordinary number."""
    return math.isfinite(value)
