"""Files that lie beside the checkout: numbers of the original networks, published key lists."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


def shared(name: str) -> Path:
    """../shared/`name`; without it the test is skipped, and fails where CI=true is set."""
    path = SHARED / name
    if path.exists():
        return path
    reason = f"{name} is not in the folder shared beside the checkout"
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(f"{reason}; continuous integration needs it")
    pytest.skip(reason)
