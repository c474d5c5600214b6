"""Every shipped preset is usable, and what is wrong with one is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from studio.core.errors import PresetError, RequestError
from studio.core.preset import find_preset, load_presets, parse_preset
from studio.core.request import parse_request
from studio.stitching.windows import make_plan

FOLDER = Path(__file__).resolve().parents[2] / "presets"
PRESETS = load_presets([FOLDER])
REQUESTS = {
    "t2v": {"prompt": "a red ball rises"},
    "i2v": {"prompt": "it rises", "image": "a.png"},
    "flf2v": {"prompt": "it rises", "image": "a.png", "last_image": "b.png"},
    "avatar": {"prompt": "a person talks", "image": "a.png", "audio": ["a.wav"]},
}


@pytest.mark.parametrize("name", PRESETS)
def test_a_shipped_preset_plans_every_mode_and_method_it_offers(name: str) -> None:
    preset = PRESETS[name]
    assert preset.weights.licence
    for mode in preset.modes:
        made = make_plan(parse_request({"kind": mode, "preset": name, **REQUESTS[mode]}), preset)
        assert made.frames >= 1
        assert (made.width, made.height) == preset.limits.sizes[0]
        for method in preset.long.methods:
            frames = preset.rule.pixel_frames(3 * preset.long.window_frames)
            long = make_plan(
                parse_request(
                    {
                        "kind": mode,
                        "preset": name,
                        "method": method,
                        "frames": frames,
                        **REQUESTS[mode],
                    }
                ),
                preset,
            )
            assert (long.frames, long.method) == (frames, method)
            assert len(long.windows) >= 3


def text(**changes: str) -> str:
    lines = {
        "head": 'id = "x"\ntitle = "X"\nfamily = "wan"\nmodes = ["t2v"]\nframe_rule = "4k+1"\n'
        "spatial_stride = 8\nlatent_channels = 16",
        "weights": '[weights]\nsource = "local"\nlicence = "Apache-2.0"',
        "defaults": "[defaults]\nseconds = 2\nfps = 12.5\nnum_inference_steps = 20\n"
        "guidance_scale = 2.5",
        "limits": "[limits]\nsizes = [[128, 128]]",
        "long": '[long]\nmethods = ["overlap-prefix"]\nwindow_frames = 7\noverlap_frames = 2',
        "memory": "[memory]\ntransformer_bytes = 1\ntext_encoder_bytes = 1\nvae_bytes = 1",
    }
    return "\n".join({**lines, **changes}.values())


def test_the_smallest_preset_parses() -> None:
    assert parse_preset(text(), "x.toml").rule.stride == 4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"limits": "[limits"}, "x.toml is not TOML"),
        ({"limits": "[limits]\nsizes = [[128, 128]]\nsize = 3"}, "is not a known option"),
        ({"limits": "[limits]\nsizes = [[128, 128]]\nmax_steps = 10"}, "default steps 20 exceed"),
        ({"limits": "[limits]\nsizes = [[128, 128]]\nmax_seconds = 1"}, "default seconds 2.0"),
        ({"long": "[long]\nwindow_frames = 5"}, "needs 7 latent frames but a window has 5"),
        ({"long": "[long]\nwindow_frames = 7\noverlap_frames = 7"}, "less than window_frames"),
    ],
)
def test_a_preset_that_is_not_usable_says_why(changes: dict, words: str) -> None:
    with pytest.raises(PresetError) as caught:
        parse_preset(text(**changes), "x.toml")
    assert words in str(caught.value)
    assert "x.toml" in str(caught.value)


def test_an_id_may_be_there_once_only(tmp_path: Path) -> None:
    for name in ("a.toml", "b.toml"):
        (tmp_path / name).write_text(text(), encoding="utf-8")
    with pytest.raises(PresetError, match="taken"):
        load_presets([tmp_path])


def test_an_unknown_preset_is_refused_with_the_known_ones() -> None:
    with pytest.raises((PresetError, RequestError), match="choose one of: pocket"):
        find_preset(PRESETS, "pockte")
    with pytest.raises((PresetError, RequestError), match=r"hunyuan-video, .*pocket"):
        find_preset(PRESETS, "%")
