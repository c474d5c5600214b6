"""Text to video."""

from __future__ import annotations

from studio.ui.engine import Engine
from studio.ui.form import Form, build_form
from studio.ui.tab import Tab


def build(engine: Engine) -> Form:
    """A prompt and its settings."""
    return build_form(engine, "t2v", {})


TAB = Tab(kind="t2v", order=10, build=build)
