"""Run every RUN line of the Dockerfile on a bare Debian root, without a container engine.

`python tests/container/run_lines.py --root FOLDER [--bind FOLDER]...` (as root, with debootstrap).
ENV, ARG, USER, WORKDIR and COPY before a line count as in a build. The base image's Python is
Debian's own here, since bookworm has 3.11 too. PIP_* of the environment reaches the lines.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SUITE = "bookworm"
BASE = "python3.11,python3.11-venv,python3-pip,ca-certificates"


@dataclass
class Build:
    """What a build knows before its next line."""

    user: str = "root"
    place: str = "/"
    variables: dict[str, str] = field(default_factory=dict)


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """(word, rest) of every instruction, continued lines joined, comments dropped."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            yield word.upper(), rest.strip()


def step(build: Build, word: str, rest: str) -> str | None:
    """Note an instruction in `build`; the shell command if it is a RUN."""
    if word in ("ENV", "ARG"):
        for part in shlex.split(rest):
            name, _, value = part.partition("=")
            known = {**os.environ, **build.variables, "PATH": build.variables.get("PATH", PATH)}
            value = re.sub(r"\$(\w+)", lambda m, known=known: known.get(m[1], ""), value)
            build.variables[name] = (
                os.environ.get(f"BUILD_{name}", value) if word == "ARG" else value
            )
    elif word == "USER":
        build.user = rest
    elif word == "WORKDIR":
        build.place = rest
    return rest if word == "RUN" else None


PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def make_root(root: Path, mirror: str) -> None:
    """A minimal Debian with Python, if it is not there yet."""
    if not (root / "usr" / "bin" / "python3.11").exists():
        command = [
            "debootstrap",
            "--variant=minbase",
            f"--include={BASE}",
            SUITE,
            str(root),
            mirror,
        ]
        subprocess.run(command, check=True)
        for name, target in (("python", "python3.11"), ("pip", "pip3")):
            (root / "usr" / "local" / "bin" / name).symlink_to(f"/usr/bin/{target}")
    # Debian guards its own Python against pip; the image's Python has no such guard.
    (root / "usr" / "lib" / "python3.11" / "EXTERNALLY-MANAGED").unlink(missing_ok=True)
    shutil.copy("/etc/resolv.conf", root / "etc" / "resolv.conf")


def run_line(root: Path, build: Build, command: str) -> int:
    """One RUN line in the root, as the build's user in its folder."""
    kept = {k: v for k, v in os.environ.items() if k.startswith("PIP_") or k.endswith("_proxy")}
    environment = {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8", **kept, **build.variables}
    environment["DEBIAN_FRONTEND"] = "noninteractive"
    place = shlex.quote(build.place)
    inside = f"mkdir -p {place} 2>/dev/null; cd {place} && {command}"
    user = [] if build.user == "root" else [f"--userspec={build.user}:{build.user}"]
    return subprocess.run(
        ["chroot", *user, str(root), "/bin/sh", "-c", inside], env=environment, check=False
    ).returncode


def copy(root: Path, build: Build, rest: str) -> None:
    """COPY of the studio's own files, into the work folder, owned by uid 1000."""
    *sources, target = [part for part in rest.split() if not part.startswith("--")]
    place = root / build.place.lstrip("/") / target
    place.mkdir(parents=True, exist_ok=True)
    for source in sources:
        if source == ".":
            names = subprocess.run(
                ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
            ).stdout.splitlines()
            wanted = [n for n in names if not n.startswith(("tests/", "docs/"))]
        else:
            wanted = [source]
        for name in wanted:
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, place / name)
    subprocess.run(["chown", "-R", "1000:1000", str(root / "home" / "user")], check=True)


def main(arguments: list[str] | None = None) -> int:
    """Run all; the first bad status, or 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--mirror", default="http://deb.debian.org/debian")
    parser.add_argument("--bind", type=Path, action="append", default=[], help="also seen inside")
    parser.add_argument("--then", default="", help="a command after the last line, as its user")
    wish = parser.parse_args(arguments)
    make_root(wish.root, wish.mirror)
    bound = [Path("/dev"), Path("/proc"), *wish.bind]
    for folder in bound:
        (wish.root / str(folder).lstrip("/")).mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "--bind", str(folder), str(wish.root) + str(folder)], check=True)
    try:
        return _lines(wish.root, wish.then)
    finally:
        for folder in reversed(bound):
            subprocess.run(["umount", "-l", str(wish.root) + str(folder)], check=False)


def _lines(root: Path, then: str) -> int:
    build = Build()
    for word, rest in instructions((ROOT / "Dockerfile").read_text(encoding="utf-8")):
        if word == "COPY":
            copy(root, build, rest)
        command = step(build, word, rest)
        if command is not None:
            sys.stderr.write(f"RUN {command}\n")
            status = run_line(root, build, command)
            if status:
                sys.stderr.write(f"status {status}\n")
                return status
    return run_line(root, build, then) if then else 0


if __name__ == "__main__":
    sys.exit(main())
