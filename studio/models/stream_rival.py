"""One rival of `bench stream`: loads a model one way, runs it, tells memory, time and bytes.

Each runs in a process of its own, forked from one that has imported everything.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

FORWARDS = 2
"""The last one counts: by then the file's pages are in the page cache."""

PROMPT_TOKENS = 256
LATENT_SHAPE = (1, 16, 1, 32, 32)
"""256 tokens at patches of (1, 2, 2)."""


def status(field: str) -> int:
    """A line of this process's status, in bytes: VmRSS, VmHWM."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    return 0


def counted(field: str) -> int:
    """A counter of this process's traffic: rchar, write_bytes."""
    for line in Path("/proc/self/io").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    return 0


def open_model(part: str, mode: str, folder: Path, spare: Path) -> Any:
    """The transformer or the text encoder in `folder`, loaded in one of the ways."""
    import torch

    kind, is_diffusers = class_of(part)
    name = {"torch_dtype" if is_diffusers else "dtype": torch.bfloat16}
    if mode == "disk":
        from studio.models.offload import open_streamed

        config: Any = kind.load_config(folder) if is_diffusers else kind.config_class
        if not is_diffusers:
            config = config.from_pretrained(folder)
        return open_streamed(kind, config, folder, torch.bfloat16, torch.device("cpu"))
    if mode == "accelerate":
        return kind.from_pretrained(
            str(folder), device_map={"": "disk"}, offload_folder=str(spare), **name
        ).eval()
    module = kind.from_pretrained(str(folder), **name).eval()
    if mode == "group_offload":
        from diffusers.hooks import apply_group_offloading

        apply_group_offloading(
            module,
            onload_device=torch.device("cpu"),
            offload_device=torch.device("cpu"),
            offload_type="block_level",
            num_blocks_per_group=1,
            offload_to_disk_path=str(spare),
            block_modules=None if is_diffusers else ["encoder"],
        )
    return module


def class_of(part: str) -> tuple[Any, bool]:
    """The class of a part, and whether it is diffusers'."""
    if part == "transformer":
        from diffusers import WanTransformer3DModel

        return WanTransformer3DModel, True
    from transformers import UMT5EncoderModel

    return UMT5EncoderModel, False


def call_of(part: str, seed: int = 0) -> dict[str, Any]:
    """What one forward is called with."""
    import torch

    draw = torch.Generator().manual_seed(seed)
    if part == "transformer":
        return {
            "hidden_states": torch.randn(LATENT_SHAPE, generator=draw).bfloat16(),
            "timestep": torch.tensor([500.0]),
            "encoder_hidden_states": torch.randn(1, 512, 4096, generator=draw).bfloat16(),
            "return_dict": False,
        }
    tokens = torch.randint(2, 250_000, (1, PROMPT_TOKENS), generator=draw)
    return {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}


def digest(tensor: Any) -> str:
    """A name for the bits of a tensor."""
    import torch

    return hashlib.sha256(tensor.contiguous().view(torch.uint8).numpy().tobytes()).hexdigest()


def measure(part: str, mode: str, folder: Path) -> dict[str, Any]:
    """Peak above the imports, seconds and bytes of a forward, and the output's name."""
    import torch

    torch.set_num_threads(1)
    warm_imports()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    base, written = status("VmRSS"), counted("write_bytes")
    with tempfile.TemporaryDirectory(dir=folder.parent) as spare, torch.no_grad():
        module = open_model(part, mode, folder, Path(spare))
        given = call_of(part)
        for _ in range(FORWARDS):
            before, begin = read_so_far(module), time.perf_counter()
            output = module(**given)[0]
            seconds, read = time.perf_counter() - begin, read_so_far(module) - before
        return {
            "peak_rss_bytes": status("VmHWM") - base,
            "seconds_per_forward": seconds,
            "bytes_read": read,
            "bytes_written": counted("write_bytes") - written,
            "output": digest(output),
            **sizes(module),
        }


def sizes(module: Any) -> dict[str, int]:
    """For a streamed module: bytes that stay in memory, and of its largest block."""
    from studio.models.offload import stream_of

    stream = stream_of(module)
    if stream is None:
        return {}
    parts = {id(p): p for p in module.parameters() if not p.is_meta}
    stays = sum(p.numel() * p.element_size() for p in parts.values())
    return {"resident_bytes": stays, "block_bytes": stream.largest_block_bytes}


def warm_imports() -> None:
    """Import what any mode needs, so that it counts as an import."""
    import accelerate  # noqa: F401
    import diffusers.hooks  # noqa: F401
    import safetensors.torch  # noqa: F401

    import studio.models.layer_major  # noqa: F401

    for part in ("transformer", "text_encoder"):
        class_of(part)


def read_so_far(module: Any) -> int:
    """Bytes read: of a stream what it mapped, of anything else what the process asked for."""
    from studio.models.offload import stream_of

    stream = stream_of(module)
    return counted("rchar") if stream is None else stream.bytes_read


def layer_major(folder: Path, windows: int) -> dict[str, Any]:
    """Bytes read by one step of `windows` windows and two branches, against one by one."""
    import torch

    from studio.models.layer_major import layer_major as together
    from studio.models.offload import stream_of

    torch.set_num_threads(1)
    with torch.no_grad():
        module = open_model("transformer", "disk", folder, folder)
        stream = stream_of(module)
        assert stream is not None
        calls = [call_of("transformer", seed) for seed in range(2 * windows)]
        begin = time.perf_counter()
        made = together(module, calls)
        seconds, read = time.perf_counter() - begin, stream.bytes_read
        begin = time.perf_counter()
        alone = [module(**given)[0] for given in calls]
        apart = time.perf_counter() - begin
    return {
        "windows": windows,
        "branches": 2,
        "bytes_read_per_step": read,
        "bytes_read_one_by_one": stream.bytes_read - read,
        "seconds_per_step": seconds,
        "seconds_one_by_one": apart,
        "equal": all(torch.equal(a, b) for a, b in zip(made, alone, strict=True)),
    }


RUNS: dict[str, Callable[[Sequence[str]], dict[str, Any]]] = {
    "measure": lambda args: measure(args[0], args[1], Path(args[2])),
    "layer_major": lambda args: layer_major(Path(args[0]), int(args[1])),
}
