"""Imports point down only, and heavy packages stay where they belong."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

LEVEL = {
    "core": 0,
    "sampling": 1,
    "models": 2,
    "stitching": 2,
    "director": 2,
    "media": 2,
    "quality": 2,
    "library": 2,
    "jobs": 3,
    "scale": 3,
    "ui": 4,
    "cli": 5,
    "commands": 5,
    "app": 5,
    "__main__": 5,
}
"""`pocket` stands beside this order: it may import anything but ui, and only cli imports it."""

HOMES = {
    "gradio": {"ui"},
    "gradio_client": {"ui"},
    "diffusers": {"models", "pocket"},
    "transformers": {"models", "pocket"},
}
"""Packages that may be imported in these parts only."""

WITHOUT_TORCH = (
    "studio.core.plan",
    "studio.stitching.windows",
    "studio.quality.measure",
    "studio.library",
    "studio.jobs.store",
    "studio.jobs.supervisor",
    "studio.jobs.rewriter",
    "studio.media.images",
    "studio.media.mux",
    "studio.media.metadata",
)
"""What the web process uses."""


def part_of(path: Path) -> str:
    """core, ui, cli, ...; app.py is "app"; studio/__init__.py is ""."""
    inside = path.relative_to(ROOT).parts
    if inside[0] != "studio":
        return path.stem
    name = inside[1].removesuffix(".py")
    # cli.py may be split into a package or into cli_*.py.
    return "cli" if name.startswith("cli") else "" if name == "__init__" else name


def imports_of(path: Path, text: str | None = None) -> list[tuple[int, str]]:
    """(line, absolute module) of every import in a file, those inside functions included."""
    tree = ast.parse(path.read_text(encoding="utf-8") if text is None else text)
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    found: list[tuple[int, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            deeper = module == "studio" or node.module is None
            found += [(node.lineno, f"{module}.{a.name}" if deeper else module) for a in node.names]
    return found


def findings(path: Path, text: str | None = None) -> list[str]:
    """What is wrong with the imports of a file."""
    part = part_of(path)
    found = []
    for line, module in imports_of(path, text):
        names = module.split(".")
        where = f"{path.relative_to(ROOT)}:{line}: {module}"
        if names[0] in HOMES and part not in HOMES[names[0]]:
            found.append(f"{where} belongs in {sorted(HOMES[names[0]])}")
        if names[0] == "torch" and part == "core":
            found.append(f"{where} in core")
        if names[0] == "app":
            found.append(f"{where}: nothing imports app")
        if names[0] != "studio" or len(names) < 2 or names[1] in (part, "__version__"):
            continue
        target = "cli" if names[1].startswith("cli") else names[1]
        if part == "pocket":
            if target in ("ui", "cli"):
                found.append(f"{where} from pocket")
        elif target == "pocket":
            if part not in ("cli", "commands", "__main__"):
                found.append(f"{where}: only cli imports pocket")
        elif part and LEVEL[target] > LEVEL[part]:
            found.append(f"{where} points up from {part}")
    return found


def sources() -> list[Path]:
    return [ROOT / "app.py", *sorted((ROOT / "studio").rglob("*.py"))]


def test_imports_point_down_and_heavy_packages_stay_home() -> None:
    found = [line for path in sources() if path.exists() for line in findings(path)]
    assert not found, "\n".join(found)


def test_every_part_has_a_level() -> None:
    parts = {part_of(path) for path in sources()} - {"", "pocket"}
    assert parts <= set(LEVEL)


@pytest.mark.parametrize(
    ("where", "text"),
    [
        ("studio/core/plan.py", "import torch"),
        ("studio/core/plan.py", "from studio.sampling import loop"),
        ("studio/sampling/loop.py", "from studio.stitching.layout import windows_at"),
        ("studio/sampling/loop.py", "def f():\n    from diffusers import UniPCMultistepScheduler"),
        ("studio/media/mux.py", "import studio.jobs.store"),
        ("studio/jobs/store.py", "from studio import ui"),
        ("studio/jobs/store.py", "from ..ui import shell"),
        ("studio/jobs/store.py", "import gradio as gr"),
        ("studio/jobs/runner.py", "from studio.pocket.world import draw_scene"),
        ("studio/pocket/train.py", "from studio.ui import shell"),
        ("studio/ui/shell.py", "import app"),
    ],
)
def test_the_check_finds_what_it_should(where: str, text: str) -> None:
    assert len(findings(ROOT / where, text)) == 1


@pytest.mark.parametrize(
    ("where", "text"),
    [
        ("studio/jobs/runner.py", "from studio.models import manager"),
        ("studio/cli.py", "from studio.pocket import train"),
        ("studio/ui/tabs/t2v.py", "import gradio as gr\nfrom ..shell import build"),
        ("studio/pocket/train.py", "import diffusers\nfrom studio.jobs import runner"),
        ("studio/core/plan.py", "from studio import __version__\nfrom .request import Carry"),
    ],
)
def test_the_check_lets_good_imports_pass(where: str, text: str) -> None:
    assert findings(ROOT / where, text) == []


def test_what_the_web_process_uses_does_not_load_torch() -> None:
    code = (
        "import importlib, sys\n"
        f"for name in {WITHOUT_TORCH!r}:\n"
        "    importlib.import_module(name)\n"
        "    heavy = {'torch', 'diffusers', 'transformers', 'gradio'} & set(sys.modules)\n"
        "    assert not heavy, f'{name} loads {heavy}'\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
