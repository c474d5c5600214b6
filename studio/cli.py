"""The command line: `python -m studio`. Results go to stdout, everything else to stderr.

The exit status is 0 when all went well, 2 for a bad request, 1 for a failure.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec

import typer

from studio.commands import bench, cluster, doctor, look, make, queue, upscale, weights
from studio.commands.common import explain_crash

app = typer.Typer(
    name="studio",
    help="Video from text, pictures and sound.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command()(make.generate)
app.command()(make.retake)
app.command()(make.compare)
app.command()(make.plan)
app.command()(look.presets)
app.command()(look.inspect)
app.command()(look.quality)
app.command()(look.rewrite)
app.command()(upscale.upscale)
app.command()(doctor.doctor)
app.command()(cluster.worker)
app.add_typer(queue.app, name="jobs")
app.add_typer(weights.app, name="models")
app.add_typer(bench.app, name="bench")


@app.command(
    add_help_option=False,
    hidden=find_spec("studio.pocket.commands") is None,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def pocket(context: typer.Context) -> None:
    """Train, evaluate and look at the embedded model."""
    # Training code needs torch, which no other command should wait for.
    from studio.pocket.commands import app as group

    typer.main.get_command(group)(args=context.args, prog_name="python -m studio pocket")


def main() -> None:
    """Run the command that sys.argv names; never a traceback."""
    sys.excepthook = explain_crash
    # Not `app()`: that would put typer's own exception hook in the place of ours.
    typer.main.get_command(app)(prog_name="python -m studio")
