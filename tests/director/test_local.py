"""The local back end: a language model in a process of its own, and the rules when it fails."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from typer.testing import CliRunner

from studio.cli import app
from studio.core.preset import load_presets
from studio.core.settings import Settings
from studio.director.endpoint import messages
from studio.director.rewrite import rewrite
from studio.jobs.local_writer import LocalModel
from studio.models.instruct import answer, find_model, instruct_spec
from studio.models.manager import ModelManager

POCKET = load_presets([Path(__file__).parents[2] / "presets"])["pocket"]
PIECES = (
    '{"shots": [{"seconds": 2, "short": "a red ball rises",',
    '"lighting": "at night",',
    '"background": "over the sea",',
    '"camera": "pan left"}]}',
)
"""What the taught model says, a token each."""
TEMPLATE = (
    "{% for m in messages %}{{ '<' + m.role + '> ' + m.content + ' ' }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def model_folder(folder: Path, *, taught: bool) -> Path:
    """A tiny Llama whose weights are random, or set by hand to say PIECES after <assistant>."""
    words = ["<unk>", "</s>", "<assistant>", *(f"w{i}" for i in range(29))]
    core = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    core.pre_tokenizer = WhitespaceSplit()
    core.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="<unk>", eos_token="</s>", chat_template=TEMPLATE
    )
    tokenizer.add_tokens(list(PIECES))
    size = len(tokenizer)
    config = LlamaConfig(
        vocab_size=size,
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        eos_token_id=1,
        bos_token_id=None,
        tie_word_embeddings=False,
    )
    torch.manual_seed(3)
    model = LlamaForCausalLM(config)
    if taught:
        teach(model, [2, *tokenizer.convert_tokens_to_ids(list(PIECES)), 1])
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
    return folder


def teach(model: LlamaForCausalLM, says: list[int]) -> None:
    """Each token of `says` is followed by the next: the blocks add nothing, the head knows."""
    with torch.no_grad():
        for block in model.model.layers:
            block.self_attn.o_proj.weight.zero_()
            block.mlp.down_proj.weight.zero_()
        model.model.embed_tokens.weight.copy_(torch.eye(*model.model.embed_tokens.weight.shape))
        model.lm_head.weight.zero_()
        for now, then in pairwise(says):
            model.lm_head.weight[then, now] = 1.0


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_folder(tmp_path_factory.mktemp("taught"), taught=True)


def test_the_command_rewrites_with_a_local_model(taught: Path, tmp_path: Path) -> None:
    asked = ["rewrite", "red ball goes up", "--mode", "director", "--json", "--backend", "local"]
    asked += ["--model", str(taught), "--data-dir", str(tmp_path)]
    ended = CliRunner().invoke(app, asked)
    assert ended.exit_code == 0, ended.output
    value = json.loads(ended.stdout)
    assert value["backend"] == "local"
    assert value["text"] == "a red ball rises over the sea at night, camera pans left"
    assert value["original"] == "red ball goes up"


def test_garbage_falls_back_to_the_rules_with_a_notice(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "random", taught=False)
    writer = LocalModel(Settings(data_dir=tmp_path), str(folder))
    result = rewrite("red ball goes up", "director", POCKET, writer=writer)
    assert result.backend == "rules"
    assert "not the JSON" in result.notes[0]
    assert "built-in rules were used" in result.notes[0]


def test_a_slow_model_is_ended_in_time(taught: Path, tmp_path: Path) -> None:
    writer = LocalModel(Settings(data_dir=tmp_path), str(taught), timeout_s=1.0)
    result = rewrite("red ball goes up", "normal", POCKET, writer=writer)
    assert result.backend == "rules"
    assert "did not answer in time" in result.notes[0]


def test_a_missing_model_is_said(tmp_path: Path) -> None:
    writer = LocalModel(Settings(data_dir=tmp_path), str(tmp_path / "nowhere"))
    result = rewrite("red ball goes up", "normal", POCKET, writer=writer)
    assert result.backend == "rules"
    assert "there is no folder" in result.notes[0]


def test_the_model_is_loaded_by_the_manager_and_freed(taught: Path) -> None:
    models = ModelManager(2**30)
    text = answer(models, str(taught), messages("red ball", "director", POCKET))
    assert json.loads(text)["shots"][0]["camera"] == "pan left"
    assert models.loads[instruct_spec(find_model(str(taught))).key] == 1
    assert models.resident_bytes() == 0


def test_the_local_back_end_needs_a_model(tmp_path: Path) -> None:
    asked = ["rewrite", "a ball", "--backend", "local", "--data-dir", str(tmp_path)]
    ended = CliRunner().invoke(app, asked)
    assert ended.exit_code == 2
    assert "STUDIO_LLM_MODEL" in ended.output
