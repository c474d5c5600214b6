"""Studios for tests of the page."""

from __future__ import annotations

from pathlib import Path

import pytest

from studio.ui.engine import Engine
from tests.ui.scripted import Studio, open_studio

OWNER = "a" * 32


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    """A studio in which nothing has happened."""
    return open_studio(tmp_path)


@pytest.fixture
def engine(studio: Studio) -> Engine:
    """Its engine."""
    from studio.ui.shell import make_engine

    return make_engine(studio.settings, studio.store, studio.library, studio.presets)
