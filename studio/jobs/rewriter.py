"""The studio's own way to rewrite an idea: with its settings, its data directory, its wildcards."""

from __future__ import annotations

from collections.abc import Callable

from studio.core.errors import RequestError
from studio.core.preset import Preset
from studio.core.request import clean_prompt
from studio.core.settings import Settings
from studio.director.endpoint import Endpoint
from studio.director.rewrite import Writer, rewrite
from studio.director.shots import DirectorMode, Rewrite
from studio.director.wildcards import expand, has_wildcards, load_wildcards
from studio.jobs.local_writer import LocalModel

_MODES = ("off", "normal", "director")


def writer_of(settings: Settings) -> Writer | None:
    """The back end that the settings name; None for the built-in rules.

    Raises:
        RequestError: if it is named but not told which server or model.
    """
    backend, seconds = settings.llm_backend, settings.llm_timeout_s
    if backend == "auto":
        backend = "endpoint" if settings.llm_base_url else "rules"
    if backend == "rules":
        return None
    if backend == "local":
        if not settings.llm_model:
            raise RequestError(
                "the local back end needs a model; name a folder or a hub id with --model or "
                "STUDIO_LLM_MODEL"
            )
        return LocalModel(settings, settings.llm_model, seconds or LocalModel.timeout_s)
    if not settings.llm_base_url:
        raise RequestError(
            "the endpoint back end needs a server; give its address as STUDIO_LLM_BASE_URL"
        )
    key = settings.llm_api_key
    timeout_s = seconds or Endpoint.timeout_s
    return Endpoint(settings.llm_base_url, settings.llm_model, key, timeout_s)


def rewritten(settings: Settings, idea: str, mode: str, preset: Preset, seed: int = 0) -> Rewrite:
    """The idea as a shot list, by the back end and the words (director.toml) of this studio.

    Wildcards are replaced by `seed` before; the result's `original` is the idea as it was written.

    Raises:
        RequestError: for an unknown mode, an idea that cannot be used, or a back end not set up.
        PresetError: if director.toml cannot be read.
    """
    if mode not in _MODES:
        raise RequestError(f"a rewrite is off, normal or director (got {mode[:20]!r}); choose one")
    known: DirectorMode = mode  # type: ignore[assignment]
    own = settings.data_dir / "director.toml"
    said = idea
    if has_wildcards(idea):
        said = expand(idea, seed, load_wildcards(settings.data_dir))
    result = rewrite(said, known, preset, writer=writer_of(settings), user_file=own)
    return result if said == idea else result.model_copy(update={"original": _cleaned(idea)})


def _cleaned(idea: str) -> str:
    try:
        return clean_prompt(idea, "idea")
    except ValueError as error:
        raise RequestError(str(error)) from error


def again(settings: Settings) -> Callable[[str, DirectorMode, Preset], Rewrite]:
    """`rewritten` as the cards use it, for one shot."""
    return lambda idea, mode, preset: rewritten(settings, idea, mode, preset)
