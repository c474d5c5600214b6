"""Wrong weights, LoRAs and pictures are refused with a sentence before anything is loaded."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from studio.core.errors import PresetError, RequestError, StudioError, WeightsError
from studio.core.preset import Preset
from studio.core.request import parse_request
from studio.core.settings import Settings
from studio.jobs.context import all_presets
from studio.jobs.runner import run
from studio.media.decode import probe
from tests.parity import tiny, tiny_pipelines
from tests.parity.test_pipeline_presets import context, picture

Folder = Callable[[str], Path]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    made: dict[str, Path] = {}

    def find(kind: str) -> Path:
        if kind not in made:
            made[kind] = tmp_path_factory.mktemp(kind) / "model"
            if kind == "ltx":
                tiny_pipelines.save(kind, made[kind])
            else:
                tiny.wan_pipeline(kind).save_pretrained(made[kind])
        return made[kind]

    return find


def ltx_preset(folder: Path) -> Preset:
    changes = {"family": "pipeline", "frame_rule": "8k+1", "spatial_stride": 32}
    options = {"pipelines": {"t2v": "LTXPipeline"}, "call": {"max_sequence_length": 16}}
    return tiny.preset_for(folder, ("t2v",), **changes, options=options)


def refused(
    preset: Preset, tmp_path: Path, error: type[StudioError], rule: str, **more: Any
) -> str:
    """The sentence with which the request is refused; nothing was loaded."""
    ctx = context(preset, tmp_path)
    fields = {"kind": "t2v", "preset": preset.id, "prompt": "a boat", "frames": 9}
    with pytest.raises(error, match=rule) as caught:
        run(parse_request({**fields, "num_inference_steps": 2, **more}), ctx)
    assert not ctx.models.loads
    assert "; " in str(caught.value), "a remedy follows the rule"
    assert not (tmp_path / "a.mp4").exists()
    return str(caught.value)


def lora(path: Path, **tensors: torch.Tensor) -> list[dict[str, str]]:
    save_file({k.replace("__", "."): v for k, v in tensors.items()}, path)
    return [{"path": str(path)}]


def test_a_lora_of_another_architecture(folder: Folder, tmp_path: Path) -> None:
    tensors = {
        "unet__mid_block__attentions__0__to_q__lora_A__weight": torch.ones(4, 8),
        "unet__mid_block__attentions__0__to_q__lora_B__weight": torch.ones(8, 4),
    }
    files = lora(tmp_path / "foreign.safetensors", **tensors)
    wan = tiny.preset_for(folder("t2v"), ("t2v",))
    assert refused(
        wan, tmp_path, WeightsError, r"foreign\.safetensors do not fit.*2 are unknown", loras=files
    )
    ltx = ltx_preset(folder("ltx"))
    assert refused(ltx, tmp_path, WeightsError, r"2 are unknown \(unet\.mid_block", loras=files)


def test_a_lora_of_another_width(folder: Folder, tmp_path: Path) -> None:
    tensors = {
        "transformer__blocks__0__attn1__to_q__lora_A__weight": torch.ones(4, 5120),
        "transformer__blocks__0__attn1__to_q__lora_B__weight": torch.ones(5120, 4),
        "transformer__blocks__0__attn1__to_q__alpha": torch.tensor(4.0),
    }
    files = lora(tmp_path / "wide.safetensors", **tensors)
    wan = tiny.preset_for(folder("t2v"), ("t2v",))
    assert refused(wan, tmp_path, WeightsError, "3 are unknown", loras=files)


def test_a_pickled_lora(folder: Folder, tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    torch.save({"x": torch.ones(2)}, path)
    for preset in (tiny.preset_for(folder("t2v"), ("t2v",)), ltx_preset(folder("ltx"))):
        rule = r"\.safetensors file \(got a\.bin\).*models convert"
        assert refused(preset, tmp_path, WeightsError, rule, loras=[{"path": str(path)}])


def test_a_lora_that_fits_changes_the_clip(folder: Folder, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(3)
    name = "transformer__transformer_blocks__0__attn1__to_q__lora_"
    tensors = {
        f"{name}A__weight": torch.randn(4, 32, generator=generator),
        f"{name}B__weight": torch.randn(32, 4, generator=generator),
    }
    files = lora(tmp_path / "fits.safetensors", **tensors)
    preset = ltx_preset(folder("ltx"))
    clips = []
    for index, chosen in enumerate(([], files)):
        place = tmp_path / str(index)
        place.mkdir()
        fields = {"kind": "t2v", "preset": "tiny", "prompt": "a boat", "frames": 9}
        run(parse_request({**fields, "loras": chosen}), context(preset, place))
        clips.append((place / "a.mp4").read_bytes())
    assert clips[0] != clips[1]


@pytest.mark.parametrize("part", ["transformer", "vae", "text_encoder"])
def test_half_a_download(part: str, folder: Folder, tmp_path: Path) -> None:
    for kind, make in (("t2v", tiny.preset_for), ("ltx", None)):
        copy = tmp_path / kind
        shutil.copytree(folder(kind), copy)
        (file,) = (copy / part).glob("*.safetensors")
        file.write_bytes(file.read_bytes()[:-200])
        preset = ltx_preset(copy) if make is None else make(copy, ("t2v",))
        assert refused(preset, tmp_path, WeightsError, "not a whole safetensors file")
        file.rename(file.with_suffix(".bin"))
        assert refused(preset, tmp_path, WeightsError, "only pickles.*models convert")
        shutil.rmtree(copy / part)
        assert refused(preset, tmp_path, WeightsError, f"{part}.*download (the weights|them) again")


def test_weights_of_another_model(folder: Folder, tmp_path: Path) -> None:
    wan = tiny.preset_for(folder("ltx"), ("t2v",))
    assert refused(wan, tmp_path, WeightsError, "holds LTXVideoTransformer3DModel")
    assert refused(ltx_preset(folder("t2v")), tmp_path, WeightsError, "holds WanTransformer3DModel")


def test_weights_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    for make in (tiny.preset_for, ltx_preset):
        preset = (
            make(tmp_path / "nowhere", ("t2v",))
            if make is tiny.preset_for
            else ltx_preset(tmp_path / "nowhere")
        )
        assert refused(preset, tmp_path, WeightsError, "are not at")
        weights = {"source": "hub", "path": "someone/some-model", "licence": "Apache-2.0"}
        hub = Preset.model_validate(preset.model_dump() | {"weights": weights})
        assert refused(hub, tmp_path, WeightsError, r"someone/some-model.*models pull tiny")


def test_wan21_image_to_video_takes_no_last_frame(folder: Folder, tmp_path: Path) -> None:
    pictures = {
        "kind": "flf2v",
        "image": picture(tmp_path / "1.png", 40),
        "last_image": picture(tmp_path / "2.png", 200),
    }
    plain = tiny.preset_for(folder("i2v"), ("i2v",))
    assert refused(plain, tmp_path, RequestError, "does not make first and last frame", **pictures)
    claims = tiny.preset_for(folder("i2v"), ("i2v", "flf2v"))
    assert refused(claims, tmp_path, RequestError, "not trained with a last frame", **pictures)


def test_clip_features_need_512_tokens(folder: Folder, tmp_path: Path) -> None:
    preset = tiny.preset_for(folder("i2v"), ("i2v",), limits={"max_prompt_tokens": 256})
    image = picture(tmp_path / "1.png", 40)
    assert refused(preset, tmp_path, PresetError, r"512.*got 256", kind="i2v", image=image)


FINETUNE = """
id = "mine"
title = "My LTX finetune"
family = "pipeline"
modes = ["t2v"]
frame_rule = "8k+1"
spatial_stride = 32
latent_channels = 8
weights = {{ source = "local", path = "{path}", licence = "mine" }}
defaults = {{ seconds = 0.36, fps = 25.0, num_inference_steps = 2, guidance_scale = 3.0 }}
limits = {{ sizes = [[32, 32]] }}
long = {{ window_frames = 3 }}
memory = {{ transformer_bytes = 1, text_encoder_bytes = 1, vae_bytes = 1 }}
options = {{ pipelines = {{ t2v = "LTXPipeline" }}, call = {{ max_sequence_length = 16 }} }}
"""


def test_a_finetune_is_one_file_in_the_data_directory(folder: Folder, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    settings.user_presets_dir.mkdir(parents=True)
    text = FINETUNE.format(path=folder("ltx"))
    (settings.user_presets_dir / "mine.toml").write_text(text, encoding="utf-8")
    presets = all_presets(settings)
    assert presets["mine"].title == "My LTX finetune"
    request = parse_request({"kind": "t2v", "preset": "mine", "prompt": "a boat"})
    run(request, context(presets["mine"], tmp_path, presets=presets))
    assert probe(tmp_path / "a.mp4").frames == 9
    (settings.user_presets_dir / "mine.toml").write_text(text + 'colour = "red"\n')
    with pytest.raises(PresetError, match=r"mine\.toml: colour is not a known option"):
        all_presets(settings)
