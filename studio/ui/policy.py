"""Which names, files and frames a studio with these settings allows."""

from __future__ import annotations

import os
import socket

from studio.core.settings import Settings
from studio.ui.guard import Policy

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def on_space() -> bool:
    """Whether this is a Hugging Face Space."""
    return bool(os.environ.get("SPACE_ID"))


def policy(settings: Settings) -> Policy:
    """What `Guard` is to allow."""
    extra = {name.strip().lower() for name in settings.allowed_hosts.split(",") if name.strip()}
    files = settings.cache_dir
    if settings.host in LOOPBACK and not settings.share and not on_space():
        return Policy(hosts=LOOPBACK | extra, files=files)
    suffixes: tuple[str, ...] = (".gradio.live",) if settings.share else ()
    frames = "'self'"
    if on_space():
        suffixes = (".hf.space", ".huggingface.co")
        frames = "'self' https://huggingface.co https://*.hf.space"
        extra |= {os.environ.get("SPACE_HOST", "").lower()} - {""}
    names = LOOPBACK | extra | {socket.gethostname().lower(), settings.host.lower()}
    return Policy(hosts=names, suffixes=suffixes, any_address=True, files=files, frames=frames)
