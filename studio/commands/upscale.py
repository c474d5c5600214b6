"""`upscale`: a clip through a super-resolution network, frame by frame."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from studio.commands.common import AsJson, check_output, guarded, show


@guarded
def upscale(
    clip: Annotated[Path, typer.Argument(help="A clip (.mp4).")],
    model: Annotated[Path, typer.Option(help="A network that spandrel knows (.safetensors).")],
    out: Annotated[Path, typer.Option(help="The larger clip.")],
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto.")] = "auto",
    as_json: AsJson = False,
) -> None:
    """Make a clip larger with a network such as ESRGAN or SPAN; needs the extra `upscale`."""
    from studio.jobs.context import pick_device
    from studio.models.upscaler import upscale as enlarge

    made = enlarge(clip, check_output(out, ".mp4"), model, pick_device(device))
    show(made, str(made["path"]), as_json=as_json)
