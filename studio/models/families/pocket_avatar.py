"""The pocket avatar: one or two drawn people who say what is heard, each with a track of its own.

The pocket model's own weights with an adapter beside them (`pocket_avatar_network`). The portrait
is seen in every window, in front of the frames that are made, so nobody changes over time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.core.errors import RequestError, WeightsError
from studio.core.plan import Plan
from studio.core.preset import Preset
from studio.models.component import ComponentSpec
from studio.models.families.wan import WanFamily
from studio.models.family import Conditions, Given, Pins
from studio.models.weights import find_folder, fingerprint, read_config, read_header

if TYPE_CHECKING:
    import torch

    from studio.models.manager import ModelManager
    from studio.sampling.loop import Denoise

SPEAKERS = 2
FACE_GROWTH = 1.2
ADAPTER = "adapter.safetensors"


def create(preset: Preset) -> PocketAvatarFamily:
    """The family for `preset`; finds the weights, loads nothing."""
    return PocketAvatarFamily(preset)


class PocketAvatarFamily(WanFamily):
    """The pocket model with its adapter and its ear; option `avatar`: the folder they are in."""

    def __init__(self, preset: Preset) -> None:
        options = dict(preset.options)
        chosen = options.pop("avatar", "")
        super().__init__(preset.model_copy(update={"options": options}))
        self.preset = preset
        self.avatar = Path(str(chosen)).expanduser() if chosen else find_folder(preset) / "avatar"
        if not (self.avatar / "adapter" / ADAPTER).is_file():
            raise WeightsError(
                f"the weights of {preset.title} are not at {self.avatar}; reinstall the studio, or "
                "train them with `python -m studio pocket train --stage avatar`"
            )
        self._heard: dict[tuple[Any, ...], torch.Tensor] = {}

    @cached_property
    def _components(self) -> dict[str, ComponentSpec]:
        from studio.models.families.avatar_loading import extractor_spec, whisper_spec

        found = dict(super()._components)
        adapter, base = self.avatar / "adapter", found["transformer"]
        mark = fingerprint(sorted(adapter.glob("*")))
        found["transformer"] = ComponentSpec(
            key=f"{base.key}:avatar:{mark}",
            kind="transformer",
            load=lambda device: load_avatar(base, adapter, device),
            bytes=base.bytes + 4 * (adapter / ADAPTER).stat().st_size // 2,
        )
        ear = self.avatar / "audio_encoder"
        found["audio_processor"] = extractor_spec(ear)
        found["audio_encoder"] = whisper_spec(ear)
        return found

    def pins(self, models: ModelManager, plan: Plan, given: Given) -> Pins:
        """The portrait, what is there already, the tracks and where they may move the picture.

        Raises:
            RequestError: without a portrait, with more than two sounds, or where several sounds
                do not have a face each.
        """
        from studio.models.families.wan_pins import known_latents, latents_condition

        if not given.references or not given.audio:
            raise RequestError(f"{self.preset.title} needs a portrait and a sound; add both")
        check_speakers(self.preset.title, len(given.audio), len(given.faces))
        shape = self.latent_shape(plan, given.latent_frames)
        clean, mask = known_latents(given, shape, None)
        extras = {
            "condition": latents_condition(clean, mask, None),
            "reference": self.encode_frames(models, given.references[0][None]),
            "audio_rows": [self._rows(models, plan, path) for path in given.audio],
            "masks": speaker_masks(plan, given, (shape[3], shape[4])),
            "audio_scale": given.audio_guidance_scale,
            "colours": self._colours(plan, given, (shape[3], shape[4])),
        }
        return Pins(clean, mask, extras)

    def _colours(self, plan: Plan, given: Given, latent: tuple[int, int]) -> Any:
        from studio.models.families.pocket_avatar_colour import ColourKeeper, still_places

        if self._code is None:
            return None
        keep = still_places(given.faces, (plan.width, plan.height), latent)
        return ColourKeeper(self._code, keep)

    def _rows(self, models: ModelManager, plan: Plan, path: Path) -> torch.Tensor:
        """[frames, 10, D]: the ear's last states around every frame; silence after the end."""
        from studio.media.audio import load_sound
        from studio.media.loudness import levelled
        from studio.models.families.hunyuan_avatar_audio import frame_rows, whisper_states

        key = (path, plan.frames, plan.fps)
        if key not in self._heard:
            parts = self.components()
            sound = levelled(load_sound(path)).fitted(plan.frames / plan.fps)
            with (
                models.use(parts["audio_processor"]) as extractor,
                models.use(parts["audio_encoder"]) as encoder,
            ):
                states = whisper_states(encoder, extractor, sound.mono)[:, -1:]
            self._heard[key] = frame_rows(states, plan.frames, plan.fps)[:, :, 0]
        return self._heard[key]

    @contextmanager
    def open_denoiser(self, models: ModelManager, conditions: Conditions) -> Iterator[Denoise]:
        """The denoiser, guidance inside; its transformer stays in memory until the block ends."""
        from studio.models.families.pocket_avatar_denoise import PocketAvatarDenoiser

        parts = self.components()
        with ExitStack() as held:
            transformer = held.enter_context(models.use(parts["transformer"]))
            prior = held.enter_context(models.use(parts["prior"]))
            yield PocketAvatarDenoiser(transformer, prior, conditions)


def check_speakers(title: str, sounds: int, faces: int) -> None:
    """Raises RequestError unless every sound has a face, or the only sound has the picture."""
    if sounds > SPEAKERS:
        raise RequestError(
            f"{title} knows one or two speakers (got {sounds} sounds); drop some, or mix them"
        )
    if sounds != faces and not (sounds == 1 and faces == 0):
        raise RequestError(
            f"each sound needs the face that speaks it (got {sounds} sounds and {faces} faces); "
            "give --face once for each --audio"
        )


def speaker_masks(plan: Plan, given: Given, latent: tuple[int, int]) -> torch.Tensor:
    """[1, S, h, w]: where each track moves the picture; without a face everywhere."""
    import torch

    from studio.models.families.hunyuan_avatar_face import face_mask

    size = (plan.width, plan.height)
    boxes: list[Any] = list(given.faces) or [None]
    masks = [face_mask(box, size, latent, FACE_GROWTH)[0, 0, 0] for box in boxes]
    return torch.stack(masks)[None]


def load_avatar(base: ComponentSpec, adapter: Path, device: torch.device) -> Any:
    """The base with the adapter of a folder in it, in evaluation mode.

    Raises:
        WeightsError: if the adapter belongs to another base.
    """
    from safetensors.torch import load_file

    from studio.models.families.pocket_avatar_network import AvatarAdapter, AvatarTransformer

    read_header(adapter / ADAPTER)
    settings = {name: int(value) for name, value in read_config(adapter).items()}
    transformer = base.load(device)
    own = AvatarAdapter(**settings)
    tensors = load_file(adapter / ADAPTER)
    config = transformer.config
    dim = config.num_attention_heads * config.attention_head_dim
    fits = (settings["dim"], settings["blocks"]) == (dim, config.num_layers)
    model = AvatarTransformer(transformer, own) if fits else None
    if model is None or {k: v.shape for k, v in own.state_dict().items()} != {
        k: v.shape for k, v in tensors.items()
    }:
        raise WeightsError(
            f"the adapter in {adapter} does not fit the pocket model that is here; train it again "
            "with `python -m studio pocket train --stage avatar`"
        )
    own.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    return model.eval().requires_grad_(False).to(device)
