"""`presets`, `inspect`, `quality` and `rewrite`: look without making anything."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from studio.commands.common import AsJson, DataDir, guarded, open_settings, say, show
from studio.core.errors import MediaError, PresetError
from studio.core.preset import Preset, find_preset
from studio.core.request import dump_request
from studio.jobs.context import all_presets

if TYPE_CHECKING:
    from studio.quality.measure import Layout

ClipFile = Annotated[Path, typer.Argument(help="A clip (.mp4), or the JSON file beside it.")]


@guarded
def presets(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """The models that can be asked for."""
    found = all_presets(open_settings(data_dir))
    text = "\n".join(f"{p.id:<24} {', '.join(p.modes):<24} {p.title}" for p in found.values())
    show([described(p) for p in found.values()], text, as_json=as_json)


def described(preset: Preset) -> dict[str, Any]:
    """A preset as JSON, with its licence and the memory it needs where they are easily found."""
    memory = preset.memory
    parts = (memory.transformer_bytes, memory.text_encoder_bytes, memory.vae_bytes)
    return {
        **preset.model_dump(mode="json"),
        "licence": preset.weights.licence,
        "needed_bytes": {
            "everything": memory.weights_bytes + memory.activation_bytes,
            "one_part_at_a_time": max(*parts, memory.other_bytes) + memory.activation_bytes,
        },
    }


@guarded
def inspect(clip: ClipFile, as_json: AsJson = False) -> None:
    """The request and the seeds that a clip was made with."""
    from studio.media.metadata import read_metadata

    found = read_metadata(clip)
    request = dump_request(found.request)
    for notice in found.notices:
        say(notice)
    value = {"source": found.source, "request": request, "summary": found.summary}
    usual = found.request.model_dump(mode="json", exclude_defaults=True)
    lines = [f"{k}: {v}" for k, v in request.items() if k in ("kind", "seed") or k in usual]
    show(value, "\n".join(lines), as_json=as_json)


@guarded
def quality(
    clip: ClipFile,
    first_image: Annotated[
        Path | None, typer.Option(help="The picture that the clip should begin with.")
    ] = None,
    last_image: Annotated[
        Path | None, typer.Option(help="The picture that the clip should end with.")
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """How well a clip's windows join, whether colours drift, how near its ends are."""
    from studio.media.decode import probe, read_frames
    from studio.media.images import fit_image, load_image
    from studio.quality.measure import measure

    about = probe(clip)
    layout = _layout(clip, about.frames, data_dir)

    def fitted(path: Path | None) -> Any:
        return None if path is None else fit_image(load_image(path), about.width, about.height)

    found = measure(
        read_frames(clip),
        layout,
        first_image=fitted(first_image),
        last_image=fitted(last_image),
    )
    lines = [f"{k}: {v}" for k, v in found.items() if v is not None and k not in ("motion",)]
    show(found, "\n".join(lines), as_json=as_json)


def _layout(clip: Path, frames: int, data_dir: Path | None) -> Layout:
    """Where the clip's joins are, from its own settings; none are known without them."""
    from studio.media.metadata import read_metadata
    from studio.quality.measure import Layout, layout_of_summary

    try:
        found = read_metadata(clip)
        preset = find_preset(all_presets(open_settings(data_dir)), found.request.preset)
        windows = found.summary["windows"]
        source = max(0, frames - sum(window["frames"] for window in windows))
        ring = found.request.ends == "ring"
        return layout_of_summary(found.summary, preset.rule, ring=ring, source_frames=source)
    except (MediaError, PresetError, KeyError, TypeError) as error:
        say(f"the clip's joins are not known ({error}); it is measured as one window")
        return Layout()


@guarded
def rewrite(
    idea: Annotated[str, typer.Argument(help="What should be seen, in any words.")],
    mode: Annotated[
        Literal["normal", "director"], typer.Option(help="One prompt, or a shot list.")
    ] = "normal",
    preset: Annotated[str, typer.Option(help="The model it is for.")] = "pocket",
    backend: Annotated[
        Literal["auto", "rules", "local", "endpoint"] | None,
        typer.Option(help="Who writes: built-in rules, a local language model, or a server."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="FOLDER_OR_HUB_ID", help="The language model.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Chooses the words of __wildcards__.")] = 0,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Turn an idea into a prompt or a shot list in the words that a model knows."""
    from studio.jobs.rewriter import rewritten

    said = {"llm_backend": backend, "llm_model": model}
    chosen = {name: value for name, value in said.items() if value is not None}
    settings = open_settings(data_dir).model_copy(update=chosen)
    result = rewritten(settings, idea, mode, find_preset(all_presets(settings), preset), seed)
    for note in result.notes:
        say(note)
    show(result.model_dump(mode="json"), result.text, as_json=as_json)
