"""HunyuanVideo-Avatar against the original network and its loops, and its files key by key."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from studio.models.families.avatar_parts import flow_schedule
from studio.models.families.hunyuan_avatar_denoise import (
    AvatarText,
    HunyuanAvatarDenoiser,
    fit_reference,
    full_steps,
    guidance_at,
    token_key,
    window_audio,
)
from studio.models.families.hunyuan_avatar_network import (
    AvatarInputs,
    Features,
    HunyuanAvatarTransformer,
    rotary,
)
from studio.models.families.hunyuan_avatar_published import published_noise, sample_published
from studio.models.families.hunyuan_avatar_weights import empty_transformer, load_transformer
from studio.models.family import Conditions, Pins, PromptEmbeds
from studio.sampling.loop import sample
from studio.sampling.state import LatentState
from studio.sampling.stepper import Step, Stepper
from studio.stitching.position_shift import fuse
from studio.stitching.published import ShiftLoop, hva_loop
from tests.models.avatars.golden import golden_files, part, read_golden, read_keys
from tests.shared_files import shared

POSITIVE, NEGATIVE = torch.tensor([[1]]), torch.tensor([[2]])


def tiny_config(config: dict[str, Any], text: dict[str, Any]) -> dict[str, Any]:
    heads = config["num_heads"]
    return {
        "num_attention_heads": heads,
        "attention_head_dim": config["hidden_size"] // heads,
        "num_layers": config["depth_double_blocks"],
        "num_single_layers": config["depth_single_blocks"],
        "text_embed_dim": text["text_states_dim"],
        "pooled_projection_dim": text["text_states_dim_2"],
        "rope_axes_dim": tuple(config["rope_dim_list"]),
    }


@pytest.fixture(scope="module", params=golden_files("hunyuan_avatar"))
def golden(request: pytest.FixtureRequest) -> SimpleNamespace:
    """The golden tensors, their metadata and the network that they belong to."""
    tensors, metadata = read_golden(shared(request.param))
    model = empty_transformer(tiny_config(metadata["config"], metadata["text"]))
    report = load_transformer(model, part(tensors, "weights/").items())
    report.require_complete("the tiny network")
    loop, axes = metadata["loop"], tuple(metadata["config"]["rope_dim_list"])
    case = min(loop["cases"], key=lambda case: case["audio_frames"])
    sound = tensors[f"loop/{case['audio_frames']}_{case['steps']}/audio"][0]
    return SimpleNamespace(tensors=tensors, loop=loop, model=model, axes=axes, sound=sound)


def test_forward_equals_the_original(golden: SimpleNamespace) -> None:
    given = part(golden.tensors, "forward/")
    inputs = AvatarInputs(
        ref_latents=given["ref_latents"],
        text=given["text_states"],
        text_mask=given["text_mask"],
        pooled=given["text_states_2"],
        audio=given["audio_prompts"],
        face_mask=given["face_mask"],
        motion_exp=given["motion_exp"],
        motion_pose=given["motion_pose"],
        fps=given["fps"],
    )
    with torch.no_grad():
        out = golden.model(given["x"], given["t"], inputs)
    assert (out - given["output"]).abs().max() < 1e-5


def test_the_reference_lies_at_time_minus_one(golden: SimpleNamespace) -> None:
    frames, rows, columns = golden.tensors["forward/x"].shape[2:]
    cos, sin = rotary((frames, rows // 2, columns // 2), golden.axes, 256.0)
    assert torch.equal(cos, golden.tensors["forward/freqs_cos"])
    assert torch.equal(sin, golden.tensors["forward/freqs_sin"])


def denoiser(golden: SimpleNamespace, audio: Tensor, total: int, **options: Any) -> Any:
    """The studio's denoiser under the golden loop's conditions."""
    given = part(golden.tensors, "loop/")
    texts = {
        token_key(ids): AvatarText(*(given[f"{name}_{p}"] for p in ("states", "mask", "pooled")))
        for ids, name in ((POSITIVE, "prompt"), (NEGATIVE, "negative"))
    }
    extras = {
        "ref_latents": given["ref"],
        "audio": audio,
        "face_mask": given["face_mask"],
        "texts": texts,
        "fps": golden.loop["fps"],
    }
    conditions = Conditions(
        plan=None,  # type: ignore[arg-type]
        prompts=lambda _frames: PromptEmbeds(POSITIVE, NEGATIVE),
        pins=Pins(torch.zeros(1), torch.ones(1), extras),
    )
    model = options.pop("model", golden.model)
    return HunyuanAvatarDenoiser(model, conditions, total, guidance=golden.loop["cfg"], **options)


def plan_of(case: dict[str, int]) -> ShiftLoop:
    """The published plan; the golden's lengths are those after padding."""
    padded = case["audio_frames"]
    return hva_loop(padded if padded == 129 else padded - 5, case["steps"])


def test_published_loops_equal_the_original(golden: SimpleNamespace) -> None:
    """Every length and number of steps in the file, those with kept features included."""
    assert golden.loop["cases"]
    for case in golden.loop["cases"]:
        check_loop(golden, case)


def check_loop(golden: SimpleNamespace, case: dict[str, int]) -> None:
    given = part(golden.tensors, f"loop/{case['audio_frames']}_{case['steps']}/")
    loop = plan_of(case)
    assert loop.padded_audio == case["audio_frames"]
    stepper = Stepper(*flow_schedule(case["steps"], golden.loop["shift"]))
    noise = published_noise(loop, (golden.loop["h"], golden.loop["w"]), golden.loop["seed"])
    denoise = denoiser(golden, given["audio"][0], loop.total, cache="published")
    out = sample_published(denoise, noise, stepper, loop)
    assert torch.allclose(out, given["output"], atol=8e-3, rtol=2**-7), case


def test_fused_mode_is_the_published_one_without_rounding(golden: SimpleNamespace) -> None:
    """One window never moves: then predictions fused and samples averaged are the same."""
    case = {"audio_frames": 129, "steps": 3}
    audio = golden.sound[:129]
    loop = plan_of(case)
    noise = published_noise(loop, (golden.loop["h"], golden.loop["w"]), golden.loop["seed"])
    fused = fuse(
        denoiser(golden, audio, loop.total),
        window_frames=33,
        shift_frames=10,
        ends="clamped",
        total_frames=loop.total,
    )
    frames = range(loop.total)
    stepper = Stepper(*flow_schedule(3, golden.loop["shift"]))
    ours = sample(fused, LatentState.of(noise), stepper, frames=frames).latent
    stepper = Stepper(*flow_schedule(3, golden.loop["shift"]))
    theirs = sample_published(denoiser(golden, audio, loop.total), noise, stepper, loop)
    assert torch.allclose(ours, theirs, atol=3e-2, rtol=2**-6)


class Recorder(torch.nn.Module):
    """A transformer that says where its features came from: (step, first frame) by frame."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.where: tuple[int, list[int]] = (0, [])
        self.whole: list[int] = []
        self.seen: list[tuple[float, float, list[float]]] = []

    def features(self, latents: Tensor, timestep: Tensor, inputs: AvatarInputs) -> Features:
        step, frames = self.where
        self.whole.append(step)
        size = latents.shape[3] * latents.shape[4] // 4
        video = torch.tensor([100.0 * step + f for f in frames]).view(1, -1, 1, 1)
        around = torch.tensor(100.0 * step + frames[0]).view(1, 1, 1)
        return Features(
            ref=around.expand(2, size, 1),
            video=video.expand(2, -1, size, 1),
            text=-around.expand(2, 3, 1),
        )

    def finish(self, features: Features, timestep: Tensor, inputs: AvatarInputs) -> Tensor:
        ref, text = features.ref[0, 0, 0].item(), features.text[0, 0, 0].item()
        self.seen.append((ref, text, features.video[0, :, 0, 0].tolist()))
        return torch.zeros(2, 16, features.video.shape[1], 4, 4)


def test_kept_features_follow_the_ring(golden: SimpleNamespace) -> None:
    recorder = Recorder()
    denoise = denoiser(golden, torch.zeros(4, 10, 5, 384), 6, model=recorder, cache="published")
    x = torch.zeros(1, 16, 3, 4, 4)

    def call(step: int, frames: list[int]) -> None:
        recorder.where = (step, frames)
        denoise(x, Step(step, 50, torch.tensor(500.0), 0.5), frames)

    call(15, [0, 1, 2])
    call(15, [3, 4, 5])
    call(16, [5, 0, 1])  # a cached step, cut elsewhere
    call(16, [2, 3, 4])
    assert recorder.whole == [15, 15]
    # frame by frame the video's own; reference and text of the window of the first frame
    assert recorder.seen[2] == (1503, -1503, [1505, 1500, 1501])
    assert recorder.seen[3] == (1500, -1500, [1502, 1503, 1504])
    call(20, [5, 0, 1])
    call(21, [5, 0, 1])
    assert recorder.whole == [15, 15, 20]
    assert recorder.seen[5] == (2005, -2005, [2005, 2000, 2001])


def test_features_finished_at_once_are_the_forward(golden: SimpleNamespace) -> None:
    audio, size = golden.sound, (golden.loop["h"], golden.loop["w"])
    x = torch.randn(1, 16, 5, *size, generator=torch.Generator().manual_seed(0))
    step = Step(20, 50, torch.tensor(500.0), 0.5)
    plain = denoiser(golden, audio, 33)(x, step, range(5))
    kept = denoiser(golden, audio, 33, cache="published")
    assert torch.equal(kept(x, step, range(5)), plain)
    reused = kept(x, Step(21, 50, torch.tensor(480.0), 0.48), range(5))
    assert 0 < (reused - plain).abs().max() < plain.abs().max()


def test_published_cache_runs_thirty_of_fifty_steps() -> None:
    assert len(full_steps(50, "published")) == 30
    assert set(range(30)) - full_steps(30, "published") == {
        *range(16, 20),
        *range(21, 25),
        *range(26, 30),
    }
    assert max(full_steps(60, "published")) == 49
    assert full_steps(50, "none") == frozenset(range(50))
    for steps in range(1, 101):
        scaled = full_steps(steps, "scaled")
        assert {0, steps - 1} <= scaled <= frozenset(range(steps))
    assert full_steps(50, "scaled") == full_steps(50, "published")


def test_guidance_changes_hands_at_step_ten() -> None:
    assert guidance_at(0, 50, 7.5) == 7.5
    assert guidance_at(9, 50, 7.5) == pytest.approx(0.82 * 5.5 + 2)
    assert guidance_at(10, 50, 7.5) == guidance_at(10, 50, 99.0) == pytest.approx(5.9)


def test_windows_hear_what_the_published_plan_says() -> None:
    for audio_frames in (60, 130, 251, 400):
        loop = hva_loop(audio_frames, 4)
        rows = torch.arange(1.0, loop.padded_audio + 1)
        for window in (w for step in loop.steps for w in step):
            heard = window_audio(rows, window.latents, loop.total)[0]
            expected = [f + 1 if f < loop.padded_audio else 0 for f in window.audio]
            assert heard.tolist() == expected


def test_long_sounds_are_not_capped() -> None:
    rows = torch.arange(1.0, 2001.0)  # 80 s
    assert window_audio(rows, range(490, 495), 501)[0].tolist() == list(range(1961, 1978))


def test_the_reference_is_held_for_long_windows() -> None:
    latents = torch.arange(3.0).view(1, 1, 3, 1, 1)
    assert fit_reference(latents, 5).flatten().tolist() == [0, 1, 2, 2, 2]
    assert fit_reference(latents, 2).flatten().tolist() == [0, 1]


def test_a_mask_may_change_over_time(golden: SimpleNamespace) -> None:
    """Frames where nobody's face is marked do not hear the sound."""
    given = part(golden.tensors, "forward/")
    base = {
        "ref_latents": given["ref_latents"][:1],
        "text": given["text_states"][:1],
        "text_mask": given["text_mask"][:1],
        "pooled": given["text_states_2"][:1],
        "audio": given["audio_prompts"][:1],
        "motion_exp": given["motion_exp"][:1],
        "motion_pose": given["motion_pose"][:1],
        "fps": given["fps"][:1],
    }
    off = torch.zeros(1, 1, 5, 6, 8)
    late = off.clone()
    late[:, :, 3:] = 1
    with torch.no_grad():
        silent, some = (
            golden.model.features(given["x"][:1], given["t"][:1], AvatarInputs(**base, face_mask=m))
            for m in (off, late)
        )
    difference = (silent.video - some.video).abs().amax(dim=(0, 2, 3))
    assert difference[3:].min() > 3 * difference[:3].max()


def test_every_published_tensor_is_consumed_once() -> None:
    names = read_keys(shared("keys/hunyuan_avatar_full_keys.txt"))
    ours = read_keys(shared("keys/hunyuan_avatar_full_diffusers_keys.txt"))
    model = empty_transformer({})
    state = model.state_dict()
    assert {n: tuple(t.shape) for n, t in state.items()} == {
        n: tuple(t.shape) for n, t in ours.items()
    }
    report = load_transformer(model, names.items())
    report.require_complete("HunyuanVideo-Avatar")
    assert report.consumed == len(names) == 946


def test_a_tensor_of_another_model_is_unexpected() -> None:
    config = {"num_attention_heads": 1, "attention_head_dim": 12, "num_layers": 1}
    sizes = {"num_single_layers": 1, "text_embed_dim": 8, "pooled_projection_dim": 8}
    model = HunyuanAvatarTransformer(**config, **sizes, rope_axes_dim=(4, 4, 4))
    stray = {"guidance_in.mlp.0.weight": torch.zeros(12, 256)}
    report = load_transformer(model, stray.items())
    assert report.unexpected == ("guidance_in.mlp.0.weight",)
    assert report.consumed == 0
    assert "proj_out.weight" in report.missing
