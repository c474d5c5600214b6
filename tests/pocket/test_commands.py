"""Training goes on from what the studio ships."""

from __future__ import annotations

from pathlib import Path

from studio.pocket.commands import begin_with


def shipped_folder(root: Path) -> Path:
    for name in (
        "vae/linear.safetensors",
        "transformer/prior.safetensors",
        "text_encoder/config.json",
        "tokenizer/tokenizer.json",
    ):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return root


def test_an_empty_cache_begins_with_the_shipped_parts(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    begin_with(shipped_folder(tmp_path / "shipped"), cache)
    found = {str(p.relative_to(cache)): p.read_text() for p in cache.rglob("*") if p.is_file()}
    assert found == {
        "pca.safetensors": "vae/linear.safetensors",
        "prior/prior.safetensors": "transformer/prior.safetensors",
        "text_encoder/config.json": "text_encoder/config.json",
        "text_encoder/tokenizer.json": "tokenizer/tokenizer.json",
    }


def test_what_the_cache_already_holds_stays(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "pca.safetensors").write_text("own")
    begin_with(shipped_folder(tmp_path / "shipped"), cache)
    assert (cache / "pca.safetensors").read_text() == "own"
