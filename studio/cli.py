"""The command line: `python -m studio`. Results go to stdout, everything else to stderr.

The exit status is 0 when all went well, 2 for a bad request, 1 for a failure.
"""

from __future__ import annotations

import sys

import typer

from studio.commands import look, make, queue
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
app.command()(make.compare)
app.command()(make.plan)
app.command()(look.presets)
app.command()(look.inspect)
app.command()(look.rewrite)
app.add_typer(queue.app, name="jobs")


def main() -> None:
    """Run the command that sys.argv names; never a traceback."""
    sys.excepthook = explain_crash
    # Not `app()`: that would put typer's own exception hook in the place of ours.
    typer.main.get_command(app)(prog_name="python -m studio")
