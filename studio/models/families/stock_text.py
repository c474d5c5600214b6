"""Prompts encoded by the text half of a diffusers pipeline, kept in the prompt cache.

Only `encode_prompt` of the pipeline is called, on its tokenizers and encoders; it holds neither
transformer nor VAE.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.core.errors import RequestError, StudioError

if TYPE_CHECKING:
    import torch

    from studio.models.component import ComponentSpec
    from studio.models.manager import ModelManager

    Text = dict[str, torch.Tensor]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StockText:
    """The text components of one pipeline class and how it is asked."""

    pipeline: str
    parts: Mapping[str, ComponentSpec]
    """The components that `encode_prompt` uses, by the pipeline's own names."""
    names: tuple[str, ...]
    """What the tensors that `encode_prompt` returns are called, in its order."""
    options: Mapping[str, Any]
    """Keyword arguments of `encode_prompt`, the same for every prompt."""

    def encode(
        self, models: ModelManager, texts: Sequence[str], seen: str = "", **more: Any
    ) -> dict[str, Text]:
        """The tensors of every text, each [1, ...]; encoders load only if one is not cached.

        `more` goes to `encode_prompt` too; `seen` names what of it changes the result.

        Raises:
            RequestError: for a prompt that the encoders cannot read.
        """
        found: dict[str, Text] = {}
        for text in dict.fromkeys(texts):
            kept = self._read(models, self._path(models, text, seen))
            if kept is not None:
                found[text] = kept
        absent = [text for text in dict.fromkeys(texts) if text not in found]
        if not absent:
            return found
        with ExitStack() as held:
            loaded = {name: held.enter_context(models.use(s)) for name, s in self.parts.items()}
            encode = self._encoder(loaded)
            for text in absent:
                found[text] = self._made(encode, text, models, more)
                self._write(self._path(models, text, seen), found[text])
        return found

    def _encoder(self, loaded: Mapping[str, Any]) -> Callable[..., Any]:
        import inspect

        import diffusers

        kind: Any = getattr(diffusers, self.pipeline)
        wanted = [name for name in inspect.signature(kind.__init__).parameters if name != "self"]
        built = kind(**{name: loaded.get(name) for name in wanted})
        encode: Callable[..., Any] = built.encode_prompt
        return encode

    def _made(
        self, encode: Callable[..., Any], text: str, models: ModelManager, more: Mapping[str, Any]
    ) -> Text:
        import torch

        try:
            with torch.no_grad():
                made = encode(prompt=text, device=models.device, **self.options, **more)
        except StudioError:
            raise
        except (ValueError, IndexError, TypeError, AssertionError) as error:
            raise RequestError(
                f"the prompt cannot be encoded ({str(error).splitlines()[0][:160]}); shorten it, "
                "or correct the preset's template"
            ) from error
        return {
            name: tensor
            for name, tensor in zip(self.names, made, strict=True)
            if tensor is not None
        }

    def _path(self, models: ModelManager, text: str, seen: str) -> Path | None:
        if models.cache_dir is None:
            return None
        keys = [spec.key for spec in self.parts.values()]
        facts = (*keys, models.device_name, repr(sorted(self.options.items())), seen, text)
        name = hashlib.sha256("\0".join(facts).encode()).hexdigest()[:40]
        return models.cache_dir / "prompts" / f"{name}.safetensors"

    def _read(self, models: ModelManager, path: Path | None) -> Text | None:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        if path is None or not path.is_file():
            return None
        try:
            return load_file(path, device=models.device_name)
        except (SafetensorError, OSError) as error:
            log.warning("the cached prompt %s is damaged (%s) and is made again", path.name, error)
            return None

    def _write(self, path: Path | None, text: Text) -> None:
        """Keep the tensors; a cache that cannot be written costs time, not the clip."""
        from safetensors.torch import save

        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
                file.write(save({k: v.cpu().contiguous() for k, v in text.items()}))
            Path(file.name).replace(path)
        except OSError as error:
            log.warning("prompt embeddings cannot be kept in %s (%s)", path.parent, error)
