"""Start the studio: arguments -> settings -> serve. Also the entry point of a Space."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from studio.core.errors import StudioError
from studio.core.settings import Settings
from studio.ui.serve import serve


def read_settings(arguments: list[str] | None = None) -> Settings:
    """The command line over STUDIO_* over the defaults; a Space listens where it must."""
    parser = argparse.ArgumentParser(description="Video Studio in the browser.")
    parser.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on (default 7860)")
    parser.add_argument("--share", action="store_true", default=None, help="a public address")
    parser.add_argument("--data-dir", type=Path, help="where clips and jobs are kept")
    given = {k: v for k, v in vars(parser.parse_args(arguments)).items() if v is not None}
    space: dict[str, Any] = {"host": "0.0.0.0", "port": 7860} if os.environ.get("SPACE_ID") else {}
    return Settings(**{**space, **given})


def main() -> int:
    """Run until it is told to end; 2 when it cannot start."""
    try:
        serve(read_settings())
    except StudioError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
