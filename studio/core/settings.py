"""Settings of one studio: read once from STUDIO_* and the command line, then frozen."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from studio.core.errors import StorageError

ROOT = Path(__file__).resolve().parents[2]


def default_data_dir() -> Path:
    """Where clips, jobs and caches live unless told otherwise."""
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "video-studio"


class Settings(BaseSettings):
    """Everything that is decided once per process."""

    model_config = SettingsConfigDict(env_prefix="STUDIO_", frozen=True, extra="ignore")

    host: str = "127.0.0.1"
    port: int = Field(default=7860, ge=0, le=65535)
    share: bool = False
    data_dir: Path = Field(default_factory=default_data_dir)
    presets_dir: Path = ROOT / "presets"
    device: str = "auto"
    threads: int = Field(default=0, ge=0)
    """Torch threads of a worker; 0 lets torch decide."""
    language: str = "en"
    mcp: bool = False
    password: str = ""
    allowed_hosts: str = ""
    """Further names this studio answers to, with commas: a proxy's domain, for example."""
    llm_backend: Literal["auto", "rules", "local", "endpoint"] = "auto"
    """What rewrites prompts; auto is the server of llm_base_url if there is one, else the rules."""
    llm_base_url: str = ""
    llm_model: str = ""
    """The server's name for a model; for the local back end a folder or a hub id."""
    llm_timeout_s: float = Field(default=0.0, ge=0)
    """After so long the rules answer instead; 0 is 20 s for a server, 180 s for a local model."""
    llm_api_key: str = ""
    executor: str = "local"
    """Where jobs run: local (a process), inline (a thread), or ray (a cluster)."""
    ray_address: str = "auto"
    """The cluster to join: auto (this machine is a node of it) or the head's host:port."""
    shared_url: str = ""
    """Storage that all machines reach: a folder or an fsspec address; "" is inside the data dir."""
    scratch_dir: Path = Path(tempfile.gettempdir()) / "video-studio-scratch"
    """Where actors of a cluster work, on each machine's own disk."""
    spread: int = Field(default=1, ge=1, le=64)
    """Devices that make one clip together."""
    spread_by: Literal["windows", "ulysses", "ring"] = "windows"
    """What they share out: windows and guidance branches, or the tokens of each forward."""
    budget_bytes: int = Field(default=0, ge=0)
    """Bytes that models may take; 0 means free memory minus a margin."""

    @property
    def jobs_db(self) -> Path:
        """The job store."""
        return self.data_dir / "jobs.sqlite"

    @property
    def depot_url(self) -> str:
        """Where workers of a cluster publish."""
        return self.shared_url or str((self.data_dir / "shared").absolute())

    @property
    def outputs_dir(self) -> Path:
        """Finished clips and their sidecars."""
        return self.data_dir / "outputs"

    @property
    def inputs_dir(self) -> Path:
        """Pictures, sounds and clips that requests read, named by content."""
        return self.data_dir / "inputs"

    @property
    def work_dir(self) -> Path:
        """Segments, latents and previews of jobs that are not finished."""
        return self.data_dir / "work"

    @property
    def cache_dir(self) -> Path:
        """What can be made again."""
        return self.data_dir / "cache"

    @property
    def user_presets_dir(self) -> Path:
        """The user's own presets."""
        return self.data_dir / "presets"


def prepare_data_dir(settings: Settings) -> None:
    """Make the folders of the data directory.

    Raises:
        StorageError: if it cannot be made or written.
    """
    folders = (
        settings.data_dir,
        settings.outputs_dir,
        settings.inputs_dir,
        settings.work_dir,
        settings.cache_dir,
        settings.user_presets_dir,
    )
    try:
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        probe = settings.data_dir / ".write-test"
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as error:
        raise StorageError(
            f"the data directory {settings.data_dir} cannot be written ({error.strerror}); "
            "choose another with --data-dir or STUDIO_DATA_DIR"
        ) from error
