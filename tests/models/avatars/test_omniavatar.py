"""OmniAvatar against the original network and its loops, and its files key by key."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from studio.core.errors import WeightsError
from studio.models.families.avatar_parts import flow_schedule, video_frames
from studio.models.families.omniavatar_audio import window_rows
from studio.models.families.omniavatar_denoise import Guidance, OmniAvatarDenoiser
from studio.models.families.omniavatar_network import OmniAvatarTransformer, audio_blocks
from studio.models.families.omniavatar_weights import (
    base_name,
    empty_transformer,
    load_adapter,
    load_base,
)
from studio.models.family import Conditions, Pins, PromptEmbeds
from studio.sampling.loop import sample
from studio.sampling.state import LatentState
from studio.sampling.stepper import Stepper
from tests.models.avatars.golden import golden_files, part, read_golden, read_keys
from tests.shared_files import shared

SIZES = {
    "1.3B": {"num_attention_heads": 12, "num_layers": 30, "ffn_dim": 8960},
    "14B": {"num_attention_heads": 40, "num_layers": 40, "ffn_dim": 13824},
}


def tiny_config(config: dict[str, Any]) -> dict[str, Any]:
    heads = config["num_heads"]
    return {
        "num_attention_heads": heads,
        "attention_head_dim": config["dim"] // heads,
        "num_layers": config["num_layers"],
        "ffn_dim": config["ffn_dim"],
        "freq_dim": config["freq_dim"],
        "text_dim": config["text_dim"],
        "eps": config["eps"],
    }


@pytest.fixture(scope="module", params=golden_files("omniavatar"))
def golden(request: pytest.FixtureRequest) -> SimpleNamespace:
    """The golden tensors, their metadata and the network that they belong to."""
    tensors, metadata = read_golden(shared(request.param))
    weights = part(tensors, "weights/")
    own = {k: v for k, v in weights.items() if k.startswith(("patch_", "audio_"))}
    model = empty_transformer(tiny_config(metadata["config"]))
    base = {k: v for k, v in weights.items() if k not in own}
    load_base(model, base.items()).require_complete("the tiny base")
    report = load_adapter(model, own.items())
    assert report.unexpected == ()
    assert all(name.endswith("(LoRA)") for name in report.missing)
    return SimpleNamespace(tensors=tensors, loop=metadata["loop"], model=model)


def test_forward_equals_the_original(golden: SimpleNamespace) -> None:
    given = part(golden.tensors, "forward/")
    with torch.no_grad():
        out = golden.model(
            torch.cat([given["x"], given["y"]], dim=1),
            given["timestep"],
            given["context"],
            given["audio_emb"],
        )
    assert (out - given["output"]).abs().max() < 1e-5


def test_samples_of_a_batch_do_not_mix(golden: SimpleNamespace) -> None:
    given = part(golden.tensors, "forward/")
    x = torch.cat([given["x"], given["y"]], dim=1)
    audio = torch.cat([given["audio_emb"], given["audio_emb"].flip(1)])
    both = [
        torch.cat([x, x.flip(2)]),
        given["timestep"].repeat(2),
        given["context"].repeat(2, 1, 1),
    ]
    with torch.no_grad():
        out = golden.model(*both, audio)
        alone = [golden.model(*(v[i : i + 1] for v in both), audio[i : i + 1]) for i in (0, 1)]
    assert (out - torch.cat(alone)).abs().max() < 1e-5


def test_without_sound_means_zero_embeddings(golden: SimpleNamespace) -> None:
    given = part(golden.tensors, "forward/")
    x = torch.cat([given["x"], given["y"]], dim=1)
    with torch.no_grad():
        out = golden.model(x, given["timestep"], given["context"])
        zeros = golden.model(x, given["timestep"], given["context"], 0 * given["audio_emb"])
    assert torch.equal(out, zeros)
    assert (out - given["output"]).abs().max() > 1e-3


def run_loop(
    golden: SimpleNamespace, scales: tuple[float, float | None], prefix: Tensor, seen: list[Any]
) -> Tensor:
    """The loop of the golden file by the studio's own sampler, `prefix` given."""
    given = part(golden.tensors, "loop/")
    frames = given["noise"].shape[2]
    clean = torch.zeros_like(given["noise"])
    clean[:, :, : prefix.shape[2]] = prefix
    mask = torch.ones(1, 1, frames, 1, 1)
    mask[:, :, : prefix.shape[2]] = 0
    # The window that begins with latent frame 1 begins with video frame 4, which hears row 3.
    rows = torch.cat([torch.zeros(3, given["audio_emb"].shape[-1]), given["audio_emb"][0]])
    assert given["audio_emb"].shape[1] == 4 * frames - 3
    extras = {"reference": given["y"][:, :16, :1], "audio_rows": rows}

    def record(*args: Any, **options: Any) -> Tensor:
        seen.append(args[0])
        out: Tensor = golden.model(*args, **options)
        return out

    record.patch_embedding = golden.model.patch_embedding  # type: ignore[attr-defined]
    conditions = Conditions(
        plan=None,  # type: ignore[arg-type]
        prompts=lambda _frames: PromptEmbeds(given["posi"], given["nega"]),
        pins=Pins(clean, mask, extras),
        first_frame=1,
    )
    denoise = OmniAvatarDenoiser(record, conditions, Guidance(*scales))
    stepper = Stepper(*flow_schedule(golden.loop["steps"], golden.loop["shift"]))
    state = LatentState(given["noise"], clean, mask)
    return sample(denoise, state, stepper, frames=range(1, frames + 1)).with_pins()


@pytest.mark.parametrize("mode", ["joint", "split"])
def test_loop_equals_the_original(golden: SimpleNamespace, mode: str) -> None:
    given = part(golden.tensors, "loop/")
    channels = given["y"]
    assert torch.equal(channels[:, :16], channels[:, :16, :1].expand_as(channels[:, :16]))
    seen: list[Tensor] = []
    scales = tuple(golden.loop[mode])
    prefix = given["lat"][:, :, : golden.loop["prefix_latents"]]
    out = run_loop(golden, scales, prefix, seen)
    assert torch.equal(seen[0][:, 16:], channels)
    assert len(seen) == golden.loop["steps"] * (2 if mode == "joint" else 3)
    assert (out - given[f"output_{mode}"]).abs().max() < 1e-4


def test_four_given_latents_are_written_before_every_call(golden: SimpleNamespace) -> None:
    prefix = golden.tensors["loop/lat"][:, :, :4]
    made = golden.tensors["loop/noise"].shape[2] - 4
    seen: list[Tensor] = []
    out = run_loop(golden, (4.5, None), prefix, seen)
    assert torch.equal(out[:, :, :4], prefix)
    for inputs in seen:
        assert torch.equal(inputs[:, :16, :4], prefix)
        assert inputs[0, 32, :, 0, 0].tolist() == [0] * 4 + [1] * made


@torch.no_grad()
def published_loop(golden: SimpleNamespace, given: int, text: float, audio: float) -> Tensor:
    """The segment loop of AVATARS.md 2.3 to 2.5, word for word, with `given` clean latents."""
    case = part(golden.tensors, "loop/")
    x, prefix = case["noise"].clone(), case["lat"][:, :, :given]
    mask = torch.ones_like(x[:, :1])
    mask[:, :, :given] = 0
    channels = torch.cat([case["y"][:, :16], mask], dim=1)
    line = torch.linspace(1, 0, golden.loop["steps"] + 1)
    shift = golden.loop["shift"]
    sigmas = shift * line / (1 + (shift - 1) * line)

    def call(words: Tensor, sound: Tensor) -> Tensor:
        inputs = torch.cat([x, channels], dim=1)
        out: Tensor = golden.model(inputs, 1000 * sigma[None], words, sound)
        return out

    for sigma, after in pairwise(sigmas):
        x[:, :, :given] = prefix
        silent = torch.zeros_like(case["audio_emb"])
        none, full = call(case["nega"], silent), call(case["posi"], case["audio_emb"])
        if text == audio:
            guided = none + text * (full - none)
        else:
            words = call(case["posi"], silent)
            guided = none + text * (words - none) + audio * (full - words)
        x = x + (after - sigma) * guided
    x[:, :, :given] = prefix
    return x


@pytest.mark.parametrize("mode", ["joint", "split"])
@pytest.mark.parametrize("given", [1, 4])
def test_the_loop_is_the_published_one_with_any_prefix(
    golden: SimpleNamespace, mode: str, given: int
) -> None:
    text, audio = golden.loop[mode]
    prefix = golden.tensors["loop/lat"][:, :, :given]
    ours = run_loop(golden, (text, audio), prefix, [])
    theirs = published_loop(golden, given, text, audio)
    assert (ours - theirs).abs().max() < 1e-4


def test_the_loop_of_the_file_rounds_no_timestep(golden: SimpleNamespace) -> None:
    assert torch.tensor(999.0).bfloat16().float() == 1000.0  # what rounded_timesteps does
    assert Guidance(4.5, 4.5).passes == Guidance(4.5).passes == 2
    assert Guidance(4.5, 3.0).passes == 3


@pytest.mark.parametrize("size", SIZES)
def test_every_published_tensor_is_consumed_once(size: str) -> None:
    names = read_keys(shared(f"keys/omniavatar_{size}_release_style_keys.txt"))
    model = empty_transformer({**SIZES[size], "attention_head_dim": 128, "text_dim": 4096})
    report = load_adapter(model, names.items(), alpha=64, rank=128)
    report.require_complete(size)
    assert report.consumed == len(names) == (634 if size == "1.3B" else 844)


def test_base_names_are_those_of_diffusers() -> None:
    lines = shared("keys/omniavatar_key_map.txt").read_text().splitlines()
    pairs = [line.split("\t") for line in lines if line.strip()]
    own = ("audio_proj.", "audio_cond_projs.")
    for theirs, ours in pairs:
        if not theirs.startswith(own):
            assert base_name(theirs) == base_name(ours) == ours
    assert base_name("blocks.0.self_attn.z.weight") is None


def small() -> OmniAvatarTransformer:
    torch.manual_seed(0)
    config = {"num_attention_heads": 2, "attention_head_dim": 12, "num_layers": 4, "ffn_dim": 16}
    return OmniAvatarTransformer(**config, text_dim=8, freq_dim=8, audio_features=6)


def adapter_of(model: OmniAvatarTransformer, rank: int = 3) -> dict[str, Tensor]:
    """Adapter tensors as they are published, for `model`."""
    own = {
        name: value.clone() + 1
        for name, value in model.state_dict().items()
        if name.startswith(("patch_embedding.", "audio_"))
    }
    for i in range(len(model.blocks)):
        for attn in ("self_attn", "cross_attn"):
            for letter in "qkvo":
                stem = f"blocks.{i}.{attn}.{letter}"
                own[f"{stem}.lora_A.default.weight"] = torch.randn(rank, 24)
                own[f"{stem}.lora_B.default.weight"] = torch.randn(24, rank)
        own[f"blocks.{i}.ffn.0.lora_A.default.weight"] = torch.randn(rank, 24)
        own[f"blocks.{i}.ffn.0.lora_B.default.weight"] = torch.randn(16, rank)
        own[f"blocks.{i}.ffn.2.lora_A.default.weight"] = torch.randn(rank, 16)
        own[f"blocks.{i}.ffn.2.lora_B.default.weight"] = torch.randn(24, rank)
    return own


def test_lora_is_merged_at_alpha_over_rank() -> None:
    model = small()
    before = model.blocks[1].attn1.to_q.weight.clone()
    tensors = adapter_of(model)
    load_adapter(model, tensors.items(), alpha=1.5, rank=3).require_complete("small")
    a = tensors["blocks.1.self_attn.q.lora_A.default.weight"]
    b = tensors["blocks.1.self_attn.q.lora_B.default.weight"]
    assert torch.allclose(model.blocks[1].attn1.to_q.weight, before + 0.5 * b @ a, atol=1e-6)
    assert torch.equal(model.patch_embedding.bias, tensors["patch_embedding.bias"])


def test_a_lost_half_is_named() -> None:
    model = small()
    tensors = adapter_of(model)
    del tensors["blocks.2.cross_attn.o.lora_B.default.weight"]
    tensors["blocks.9.ffn.0.lora_A.default.weight"] = torch.zeros(3, 24)
    report = load_adapter(model, tensors.items())
    assert report.missing == ("blocks.2.attn2.to_out.0.weight (LoRA)",)
    assert report.unexpected == ("blocks.9.ffn.0.lora_A.default.weight",)
    with pytest.raises(WeightsError, match="do not fit"):
        report.require_complete("small")


def test_another_rank_is_refused() -> None:
    model = small()
    with pytest.raises(WeightsError, match="rank 128"):
        load_adapter(model, adapter_of(model).items(), rank=128)


def test_sound_goes_to_the_first_half_but_two_blocks() -> None:
    assert list(audio_blocks(30)) == list(range(2, 16))
    assert list(audio_blocks(40)) == list(range(2, 21))


def test_frames_hear_the_row_before_them() -> None:
    rows = torch.arange(1.0, 9.0)[:, None]
    # 3 latent frames of a first segment: 9 video frames, the portrait first
    assert window_rows(rows, video_frames([0, 1, 2]))[0, :, 0].tolist() == [
        0,
        1,
        2,
        3,
        4,
        5,
        6,
        7,
        8,
    ]
    # a window that begins with latent frame 1, encoded afresh: video frames 4 to 8
    assert window_rows(rows, video_frames([1, 2]))[0, :, 0].tolist() == [4, 5, 6, 7, 8]
    # past the end there is silence
    assert window_rows(rows, [8, 9])[0, :, 0].tolist() == [8, 0]
