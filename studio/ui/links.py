"""Addresses of clips, posters and previews: each carries a token that only this studio can make."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from pathlib import Path

from studio.core.errors import StorageError

KEY_BYTES = 32


@dataclass(frozen=True)
class Links:
    """Whoever has an address may load what it names; nobody can make one up."""

    key: bytes

    def clip(self, clip_id: str) -> str:
        """Where the clip plays from."""
        return f"/studio/clips/{self.token('clips', clip_id)}/{clip_id}.mp4"

    def archive(self, owner: str) -> str:
        """Where all clips of one visitor are, in one file."""
        return f"/studio/archives/{self.token('archives', owner)}/{owner}.zip"

    def poster(self, clip_id: str) -> str:
        """Where the clip's still picture is."""
        return f"/studio/posters/{self.token('posters', clip_id)}/{clip_id}.webp"

    def preview(self, job_id: str, version: str) -> str:
        """Where the picture of a running job is; `version` makes the browser look again."""
        return f"/studio/previews/{self.token('previews', job_id)}/{job_id}.webp?v={version}"

    def token(self, kind: str, name: str) -> str:
        """The proof that this studio named `name`."""
        return hmac.new(self.key, f"{kind}/{name}".encode(), hashlib.sha256).hexdigest()[:24]

    def good(self, kind: str, name: str, token: str) -> bool:
        """Whether `token` is that proof."""
        return hmac.compare_digest(
            self.token(kind, name).encode(), token.encode("utf-8", "replace")
        )


def load_key(place: Path) -> bytes:
    """The studio's key, made at the first start, so that addresses and logins survive a restart.

    Raises:
        StorageError: if it can neither be read nor written.
    """
    try:
        if not place.exists():
            part = place.with_name(f".{place.name}.{secrets.token_hex(4)}")
            part.touch(mode=0o600)
            part.write_bytes(secrets.token_bytes(KEY_BYTES))
            part.replace(place)
        return place.read_bytes()
    except OSError as error:
        raise StorageError(
            f"the key {place} cannot be read or written ({error.strerror}); "
            "correct its permissions or choose another --data-dir"
        ) from error
