"""`pocket`: train the embedded model, measure it and look at what it makes."""

from __future__ import annotations

import logging
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from studio.commands.common import say, show

app = typer.Typer(help="Train, evaluate and look at the embedded model.", no_args_is_help=True)
STAGES = ("world", "text", "vae", "transformer", "ear", "avatar")
PIECES = 160

Cache = Annotated[Path, typer.Option(help="Where checkpoints and rendered clips lie.")]
Weights = Annotated[Path, typer.Option(help="The folder with the model's parts.")]
DEFAULT_CACHE = Path("~/.cache/studio-pocket").expanduser()
DEFAULT_WEIGHTS = Path(__file__).parent / "weights"


@app.command()
def train(
    stage: Annotated[str, typer.Option(help=f"{', '.join(STAGES)} or all.")] = "all",
    cache: Cache = DEFAULT_CACHE,
    minutes: Annotated[float, typer.Option(help="For each stage but the first.")] = 60.0,
    renders: Annotated[int, typer.Option(help="Clips that `world` draws.")] = 3000,
    afresh: Annotated[bool, typer.Option(help="Begin with nothing, not the shipped weights.")] = (
        False
    ),
) -> None:
    """Train one stage, or all in turn; a stopped stage goes on where it was."""
    if stage not in (*STAGES, "all"):
        raise typer.BadParameter(f"choose one of {', '.join(STAGES)} or all", param_hint="--stage")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    cache.mkdir(parents=True, exist_ok=True)
    shipped = None if afresh else DEFAULT_WEIGHTS
    if shipped is not None:
        begin_with(shipped, cache)
    for name in STAGES if stage == "all" else (stage,):
        say(f"{name} ...")
        _train_stage(name, Sitting(cache, minutes, renders, shipped))


@dataclass(frozen=True)
class Sitting:
    """What every stage is told; `shipped` holds the weights that training goes on from."""

    cache: Path
    minutes: float
    renders: int
    shipped: Path | None


def begin_with(shipped: Path, cache: Path) -> None:
    """Put the shipped code, prior and text encoder into a cache that lacks them.

    All later stages are trained on them; the transformer and the autoencoder start from the
    shipped weights by themselves when the cache holds no checkpoint.
    """
    pairs = [
        (path, cache / path.relative_to(shipped))
        for path in sorted((shipped / "avatar").rglob("*"))
        if path.is_file()
    ]
    pairs += [
        (shipped / "vae" / "linear.safetensors", cache / "pca.safetensors"),
        (shipped / "transformer" / "prior.safetensors", cache / "prior" / "prior.safetensors"),
    ]
    for folder in ("text_encoder", "tokenizer"):
        files = sorted((shipped / folder).glob("*"))
        pairs += [(path, cache / "text_encoder" / path.name) for path in files]
    for source, target in pairs:
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)


def _train_stage(stage: str, sitting: Sitting) -> None:
    cache, minutes, shipped = sitting.cache, sitting.minutes, sitting.shipped
    until = time.time() + 60 * minutes
    export = cache / "export"
    if stage == "world":
        from studio.pocket.render import render_rows
        from studio.pocket.train_vae import render_pool

        render_rows(cache, sitting.renders)
        render_pool(cache / "vae_pool", clips=sitting.renders // 3)
    elif stage == "text":
        from studio.pocket.train_text import TextTraining, export_text
        from studio.pocket.train_text import train as train_text

        train_text(TextTraining(cache / "text_encoder", minutes))
        export_text(cache / "text_encoder", export)
    elif stage == "vae":
        from studio.pocket.train_vae import VaeTraining, export_vae, train_part

        vae = shipped / "vae" if shipped is not None else None
        train_part(VaeTraining(cache, "decoder", until - 20 * minutes, shipped=vae))
        train_part(VaeTraining(cache, "encoder", until, shipped=vae))
        export_vae(cache, export)
    elif stage == "ear":
        from studio.pocket.train_hearing import record_pieces, train_ear

        record_pieces(cache / "avatar_training" / "pieces", PIECES)
        train_ear(cache / "avatar_training" / "pieces", cache / "avatar" / "audio_encoder", minutes)
    elif stage == "avatar":
        _train_avatar(sitting, until)
    else:
        from studio.pocket.export import export_transformer
        from studio.pocket.train_transformer import Plan, train_transformer

        first = shipped / "transformer" if shipped is not None else None
        cool = until - 20 * minutes
        train_transformer(Plan(cache, cache / "text_encoder", until, cool, shipped=first))
        export_transformer(cache, export / "transformer")


def _train_avatar(sitting: Sitting, until: float) -> None:
    """The adapter, on the transformer that was exported last, else on the shipped one."""
    from studio.pocket.avatar_rows import render_avatar_rows
    from studio.pocket.train_avatar import AvatarTraining, train_avatar
    from studio.pocket.train_hearing import record_pieces

    cache = sitting.cache
    home, own = cache / "avatar_training", cache / "export" / "transformer"
    record_pieces(home / "pieces", PIECES)
    render_avatar_rows(cache, sitting.renders)
    train_avatar(
        AvatarTraining(
            home=home,
            base=own if own.is_dir() else DEFAULT_WEIGHTS / "transformer",
            text=cache / "text_encoder",
            ear=cache / "avatar" / "audio_encoder",
            out=cache / "avatar" / "adapter",
            until=max(until, time.time() + 60),
        )
    )


@app.command()
def evaluate(
    weights: Weights = DEFAULT_WEIGHTS,
    captions: Annotated[int, typer.Option(help="Captions to generate and judge.")] = 200,
    clips: Annotated[int, typer.Option(help="Unseen clips for the autoencoder.")] = 12,
    pictures: Annotated[int, typer.Option(help="Clips from drawn first and last frames.")] = 32,
    seed: Annotated[int, typer.Option(help="Of captions and noise.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """PSNR of the autoencoder, and how well clips follow held-out captions and pictures."""
    from diffusers import AutoencoderKLWan

    from studio.pocket import evaluate as figures_of
    from studio.pocket.evaluate_images import first_and_last_frames, first_frames
    from studio.pocket.generate import Generator

    vae = AutoencoderKLWan.from_pretrained(weights / "vae").eval()
    generate = Generator(weights) if captions or pictures else None
    figures = figures_of.evaluate(generate, vae, captions, clips, seed)
    if generate is not None and pictures:
        figures["first frame"] = first_frames(generate, pictures, seed)
        figures["first and last frame"] = first_and_last_frames(generate, pictures, seed)
    lines = [
        f"{name} {row}: {value}" for name, table in figures.items() for row, value in table.items()
    ]
    show(figures, "\n".join(lines), as_json=as_json)


@app.command()
def sheet(
    out: Annotated[Path, typer.Argument(help="The PNG to write.")],
    prompt: Annotated[list[str] | None, typer.Option(help="A row; may be repeated.")] = None,
    weights: Weights = DEFAULT_WEIGHTS,
    rows: Annotated[int, typer.Option(help="Random captions where no prompt is given.")] = 8,
    seed: Annotated[int, typer.Option(help="Of captions and noise.")] = 0,
) -> None:
    """A picture with a row of frames for every prompt."""
    from studio.pocket.evaluate import questions
    from studio.pocket.generate import Generator
    from studio.pocket.sheet import write_sheet

    prompts = prompt or [q.text for q in questions(rows, seed)]
    for number, text in enumerate(prompts, 1):
        say(f"{number}: {text}")
    seeds = [seed + index for index in range(len(prompts))]
    write_sheet(Generator(weights)(prompts, seeds), out)
