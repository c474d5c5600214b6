"""The manual says what is: commands, options, presets, files and settings that it names exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from studio.cli import app
from studio.core.preset import load_presets
from studio.core.settings import ROOT, Settings

PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
COMMAND = re.compile(r"python -m studio ([^\n`]+)")
NAMED = re.compile(r"`((?:pocket|wan2|omniavatar|hunyuan-video|ltx|cogvideox)[\w.-]*)`")
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
ENDPOINTS = {"generate", "status", "result", "plan", "rewrite", "presets"}
TEST_SETTINGS = ("SCREENSHOTS", "GOLDEN")


def tree(group: typer.main.TyperGroup) -> dict[str, object]:
    """Commands by their words."""
    found: dict[str, object] = {}
    for name, command in group.commands.items():
        found[name] = command
        if hasattr(command, "commands"):
            found |= {f"{name} {sub}": one for sub, one in tree(command).items()}
    return found


COMMANDS = tree(typer.main.get_command(app))
PRESETS = load_presets([ROOT / "presets"])


def by_name(page: Path) -> str:
    return page.name


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_every_command_exists(page: Path):
    for line in COMMAND.findall(page.read_text(encoding="utf-8")):
        words = line.split()
        # A group of its own loads torch; its commands have their own test.
        if words[0] == "pocket":
            continue
        pair = " ".join(words[:2])
        name = pair if pair in COMMANDS else words[0]
        assert name in COMMANDS, f"{page.name}: {line}"
        known = {opt for p in COMMANDS[name].params for opt in (*p.opts, *p.secondary_opts)}
        for option in re.findall(r"(?<!\S)(--[a-z][a-z-]*)", line):
            assert option in known, f"{page.name}: {option} of `{line}`"


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_every_preset_and_setting_exists(page: Path):
    text = page.read_text(encoding="utf-8")
    for name in NAMED.findall(text):
        assert name in PRESETS, f"{page.name}: {name}"
    for name in re.findall(r"--preset ([\w.-]+)", text):
        assert name in PRESETS or name.isupper(), f"{page.name}: {name}"
    for name in re.findall(r"STUDIO_([A-Z_]+)", text):
        assert name.lower() in Settings.model_fields or name in TEST_SETTINGS, name


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_every_link_and_file_exists(page: Path):
    text = page.read_text(encoding="utf-8")
    for target in LINK.findall(text):
        assert (page.parent / target).exists(), f"{page.name}: {target}"
    for name in re.findall(r"-r ([\w/.-]+\.txt)", text):
        assert (ROOT / name).is_file(), f"{page.name}: {name}"
    for name in re.findall(r"`((?:studio|tests)/[\w/]+/?)`", text):
        assert (ROOT / name).exists(), f"{page.name}: {name}"


def test_the_api_page_lists_every_endpoint():
    from studio.ui.api import public_api

    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    rows = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    assert rows == ENDPOINTS
    assert {f.__name__ for f in public_api(None)} == ENDPOINTS  # type: ignore[arg-type]
    assert all(f.__doc__ for f in public_api(None))  # type: ignore[arg-type]
