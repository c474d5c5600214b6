"""What `generate`, `plan` and `compare` are asked for, and the requests it makes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from studio.commands.common import say
from studio.core.errors import RequestError
from studio.core.plan import Plan
from studio.core.preset import Preset, find_preset
from studio.core.request import (
    Cache,
    Carry,
    Director,
    Ends,
    Fit,
    Method,
    Mode,
    Offload,
    Request,
    input_files,
    parse_request,
)
from studio.core.settings import Settings
from studio.director.wildcards import expand_request
from studio.jobs.context import all_presets

MAX_PROMPTS = 10_000
MAX_FILE_BYTES = 32 * 2**20


@dataclass(frozen=True, kw_only=True)
class Wish:
    """The arguments that say what a clip shall be."""

    mode: Annotated[Mode, typer.Argument(help="What the clip is made from.")]
    preset: Annotated[str, typer.Option(help="The model; see `presets`.")] = "pocket"
    prompt: Annotated[str | None, typer.Option(help="What is seen.")] = None
    prompts_file: Annotated[
        Path | None, typer.Option(help="A text file, one prompt a line; needs --out-dir.")
    ] = None
    shots: Annotated[Path | None, typer.Option(help="A JSON list of {prompt, seconds, join}.")] = (
        None
    )
    negative_prompt: Annotated[str | None, typer.Option(help="What shall not be seen.")] = None
    image: Annotated[Path | None, typer.Option(help="The first frame, or the portrait.")] = None
    last_image: Annotated[Path | None, typer.Option(help="The last frame.")] = None
    audio: Annotated[
        list[Path] | None, typer.Option(help="A sound file; again for every speaker.")
    ] = None
    face: Annotated[
        list[str] | None, typer.Option(metavar="X,Y,W,H", help="A speaker's face in the portrait.")
    ] = None
    fit: Annotated[Fit | None, typer.Option(help="How pictures are fitted.")] = None
    seconds: Annotated[float | None, typer.Option(help="Length of the clip.")] = None
    frames: Annotated[int | None, typer.Option(help="Length in frames instead.")] = None
    fps: Annotated[float | None, typer.Option(help="Frames a second.")] = None
    steps: Annotated[int | None, typer.Option(help="Denoising steps.")] = None
    guidance: Annotated[float | None, typer.Option(help="How strongly the prompt counts.")] = None
    audio_guidance: Annotated[float | None, typer.Option(help="How strongly the sound counts.")] = (
        None
    )
    seed: Annotated[int, typer.Option(help="Same seed, same clip.")] = 0
    width: Annotated[int | None, typer.Option(help="Pixels.")] = None
    height: Annotated[int | None, typer.Option(help="Pixels.")] = None
    method: Annotated[Method, typer.Option(help="How long clips are made.")] = "auto"
    overlap_frames: Annotated[
        int | None, typer.Option(help="Latent frames that windows share.")
    ] = None
    carry: Annotated[Carry, typer.Option(help="What one window hands to the next.")] = "auto"
    shift: Annotated[int | None, typer.Option(help="Latent frames windows move a step.")] = None
    ends: Annotated[Ends, typer.Option(help="Whether the end meets the start.")] = "clamped"
    lora: Annotated[
        list[str] | None, typer.Option(metavar="FILE[:WEIGHT]", help="A LoRA; may be repeated.")
    ] = None
    offload: Annotated[Offload, typer.Option(help="What leaves memory when.")] = "auto"
    cache: Annotated[Cache, typer.Option(help="Skip steps that change little.")] = "none"
    director: Annotated[Director, typer.Option(help="Let the prompt be rewritten.")] = "off"
    data_dir: Annotated[Path | None, typer.Option(help="Where clips and caches are kept.")] = None
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")] = False


@dataclass(frozen=True)
class Ready:
    """A request that was checked: its preset exists and it can be planned."""

    request: Request
    preset: Preset
    plan: Plan


def make_ready(wish: Wish, settings: Settings) -> list[Ready]:
    """The requests of a wish, in order, all checked before anything is loaded.

    Raises:
        StudioError: one sentence about the first that breaks a rule.
    """
    presets = all_presets(settings)
    preset = find_preset(presets, wish.preset)
    plain = _plain(wish)
    if wish.prompts_file is None:
        return [_ready(plain | _prompt(wish), preset, settings)]
    if wish.prompt or wish.shots:
        raise RequestError("--prompts-file replaces --prompt and --shots; give one of them")
    found = []
    for number, prompt in read_prompts(wish.prompts_file):
        try:
            found.append(_ready(plain | {"prompt": prompt}, preset, settings))
        except RequestError as error:
            raise RequestError(f"{wish.prompts_file.name} line {number}: {error}") from error
    return found


def read_prompts(path: Path) -> list[tuple[int, str]]:
    """The lines of a prompts file that are not blank, with their numbers.

    Raises:
        RequestError: if it cannot be read or has no prompt.
    """
    lines = _read_text(path).splitlines()
    prompts = [(n, line.strip()) for n, line in enumerate(lines, 1) if line.strip()]
    if not prompts:
        raise RequestError(f"{path.name} has no prompt; write one a line")
    if len(prompts) > MAX_PROMPTS:
        raise RequestError(
            f"a prompts file has at most {MAX_PROMPTS} lines (got {len(prompts)}); split it"
        )
    return prompts


def plan_for(request: Request, preset: Preset) -> Plan:
    """The plan; the length of a sound is read from its file."""
    from studio.jobs.inputs import audio_seconds
    from studio.stitching.windows import make_plan

    return make_plan(request, preset, audio_seconds=audio_seconds(request))


def _ready(data: dict[str, Any], preset: Preset, settings: Settings) -> Ready:
    data = expand_request(data, settings.data_dir)
    request = parse_request(_directed(data, preset, settings))
    loras = [Path(lora.path) for lora in request.loras]
    for path in [*input_files(request), *loras]:
        if not path.is_file():
            raise RequestError(f"there is no file {path}; check its path")
    return Ready(request, preset, plan_for(request, preset))


def _plain(wish: Wish) -> dict[str, Any]:
    """The fields that do not depend on the prompt; what was not given is left out."""
    given = {
        "kind": wish.mode,
        "preset": wish.preset,
        "negative_prompt": wish.negative_prompt,
        "image": wish.image and str(wish.image.absolute()),
        "last_image": wish.last_image and str(wish.last_image.absolute()),
        "audio": [str(path.absolute()) for path in wish.audio or ()] or None,
        "faces": [_face(text) for text in wish.face or ()] or None,
        "fit": wish.fit,
        "seconds": wish.seconds,
        "frames": wish.frames,
        "fps": wish.fps,
        "num_inference_steps": wish.steps,
        "guidance_scale": wish.guidance,
        "audio_guidance_scale": wish.audio_guidance,
        "seed": wish.seed,
        "width": wish.width,
        "height": wish.height,
        "method": wish.method,
        "overlap_frames": wish.overlap_frames,
        "carry": wish.carry,
        "shift_frames": wish.shift,
        "ends": wish.ends,
        "loras": [_lora(text) for text in wish.lora or ()] or None,
        "offload": wish.offload,
        "cache": wish.cache,
        "director": wish.director,
    }
    plain = {key: value for key, value in given.items() if value is not None}
    _check_media(wish.mode, plain)
    return plain


_NEEDED = {
    "t2v": (),
    "i2v": ("image",),
    "flf2v": ("image", "last_image"),
    "avatar": ("image", "audio"),
}
_MEDIA = ("image", "last_image", "audio", "faces", "fit", "audio_guidance_scale")
_ALLOWED = {
    "t2v": (),
    "i2v": ("image", "fit"),
    "flf2v": ("image", "last_image", "fit"),
    "avatar": ("image", "audio", "faces", "fit", "audio_guidance_scale"),
}


def _check_media(mode: Mode, plain: dict[str, Any]) -> None:
    for name in _NEEDED[mode]:
        if name not in plain:
            raise RequestError(f"{mode} needs --{name.replace('_', '-')}; give a file")
    for name in _MEDIA:
        if name in plain and name not in _ALLOWED[mode]:
            option = {"faces": "face", "audio_guidance_scale": "audio-guidance"}.get(name, name)
            raise RequestError(
                f"{mode} takes no --{option.replace('_', '-')}; drop it or choose another mode"
            )


def _prompt(wish: Wish) -> dict[str, Any]:
    found: dict[str, Any] = {} if wish.prompt is None else {"prompt": wish.prompt}
    if wish.shots is not None:
        try:
            shots = json.loads(_read_text(wish.shots))
        except ValueError as error:
            raise RequestError(f"{wish.shots.name} is not JSON ({error}); correct it") from error
        found["shots"] = shots["shots"] if isinstance(shots, dict) and "shots" in shots else shots
        if not isinstance(found["shots"], list):
            raise RequestError(f"{wish.shots.name} holds no list of shots; write [{{...}}, ...]")
    return found


def _directed(data: dict[str, Any], preset: Preset, settings: Settings) -> dict[str, Any]:
    """The request with its prompt rewritten, if that was wished; the idea stays beside it."""
    idea = data.get("prompt", "")
    if data["director"] == "off" or not idea or data.get("shots"):
        return data
    from studio.jobs.rewriter import rewritten

    # What was written before its wildcards were replaced, if there were any.
    said = data.get("idea") or idea

    result = rewritten(settings, idea, data["director"], preset)
    for note in result.notes:
        say(note)
    if data["director"] == "director" and len(result.shots) > 1:
        shots = [shot.model_dump() for shot in result.shot_list()]
        return {**data, "idea": said, "prompt": "", "shots": shots}
    return {**data, "idea": said, "prompt": result.shots[0].text or result.text}


def _face(text: str) -> dict[str, int]:
    parts = text.split(",")
    try:
        x, y, width, height = (int(part) for part in parts)
    except ValueError as error:
        raise RequestError(
            f"a face is X,Y,W,H in pixels (got {text[:60]!r}); e.g. --face 40,30,64,64"
        ) from error
    return {"x": x, "y": y, "width": width, "height": height}


def _lora(text: str) -> dict[str, Any]:
    """FILE or FILE:WEIGHT; a colon that no number follows belongs to the name."""
    name, colon, weight = text.rpartition(":")
    if colon:
        try:
            return {"path": name, "weight": float(weight)}
        except ValueError:
            return {"path": text}
    return {"path": text}


def _read_text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise RequestError(f"{path.name} is larger than {MAX_FILE_BYTES >> 20} MB; split it")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise RequestError(f"{path} cannot be read ({error.strerror}); check its path") from error
    except UnicodeDecodeError as error:
        raise RequestError(f"{path.name} is not UTF-8 text; save it as UTF-8") from error
