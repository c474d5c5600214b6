"""Instruct models by transformers: a conversation goes in, the text that answers it comes out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from studio.core.errors import WeightsError
from studio.models.component import ComponentSpec
from studio.models.hub import WANTED
from studio.models.manager import ModelManager

MAX_NEW_TOKENS = 1200
Messages = list[dict[str, str]]


def answer(
    models: ModelManager, name: str, messages: Messages, max_seconds: float | None = None
) -> str:
    """What the model `name` (a folder or a hub id) answers; it is freed before this returns.

    Raises:
        WeightsError: if the model is not there, or is no instruct model.
        MemoryBudgetError: if it does not fit into memory.
    """
    folder = find_model(name)
    spec = instruct_spec(folder)
    try:
        with models.use(spec) as model:
            return _generate(model, load_tokenizer(folder), messages, max_seconds)
    finally:
        # The video model gets these bytes back; a rewrite comes once, long before it is needed.
        models.free(spec)


def find_model(name: str) -> Path:
    """The folder of a model; one from the hub is fetched: settings and safetensors, never code.

    Raises:
        WeightsError: if there is none, or the hub does not give it.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise WeightsError(
            f"there is no folder {name[:200]!r}; name a model's folder or its id on the hub"
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    try:
        return Path(snapshot_download(name, allow_patterns=[*WANTED, "*.jinja"]))
    except (HfHubHTTPError, HFValidationError, OfflineModeIsEnabled, OSError) as error:
        said = (str(error).splitlines() or [""])[0][:160]
        raise WeightsError(f"{name[:200]} cannot be fetched ({said}); check its name") from error


def instruct_spec(folder: Path) -> ComponentSpec:
    """The model in `folder` as a part for the model manager."""
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))

    def load(device: Any) -> Any:
        from transformers import AutoModelForCausalLM

        options: dict[str, Any] = {"dtype": "auto", "local_files_only": True}
        options |= {"trust_remote_code": False, "use_safetensors": True}
        try:
            model: Any = AutoModelForCausalLM.from_pretrained(folder, **options)
        except (OSError, ValueError, KeyError) as error:
            raise _unusable(folder, error) from error
        return model.eval().to(device)

    return ComponentSpec(f"instruct:{folder.resolve()}", "instruct model", load, size)


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer in `folder`, with the chat template that the model was taught with.

    Raises:
        WeightsError: if there is none.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError) as error:
        raise _unusable(folder, error) from error
    if not tokenizer.chat_template:
        raise WeightsError(
            f"{folder.name} has no chat template; choose an instruct (or chat) model"
        )
    return tokenizer


def _generate(model: Any, tokenizer: Any, messages: Messages, max_seconds: float | None) -> str:
    import torch

    inputs = _encoded(tokenizer, messages).to(model.device)
    asked = inputs["input_ids"].shape[1]
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    with torch.no_grad():
        made = model.generate(
            **inputs,
            max_new_tokens=MAX_NEW_TOKENS,
            do_sample=False,
            max_time=max_seconds,
            pad_token_id=pad,
        )
    return str(tokenizer.decode(made[0, asked:], skip_special_tokens=True))


def _encoded(tokenizer: Any, messages: Messages) -> Any:
    from jinja2 import TemplateError

    options: dict[str, Any] = {"add_generation_prompt": True, "return_tensors": "pt"}
    options |= {"tokenize": True, "return_dict": True}
    try:
        return tokenizer.apply_chat_template(messages, **options)
    except TemplateError:
        # Some models, Gemma for one, know no system role: the rules stand before the idea then.
        text = "\n\n".join(message["content"] for message in messages)
        return tokenizer.apply_chat_template([{"role": "user", "content": text}], **options)


def _unusable(folder: Path, error: Exception) -> WeightsError:
    said = (str(error).splitlines() or [""])[0][:160]
    return WeightsError(
        f"{folder.name} is no language model that transformers can load from safetensors "
        f"({said}); choose another"
    )
