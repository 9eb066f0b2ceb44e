"""A model is known by its content, found where it lies, and missed with advice."""

import json
import logging
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from book_search.clip.encoder import Clip
from book_search.clip.model import ModelIdentity, ModelUnavailableError, describe_model, load_clip
from book_search_tests.clip.random_clip import DIM, SIDE, TEXT_LENGTH, cover, save_random_clip

COMMIT = "c237dc49a33fc61debc9276459120b7eac67e7ef"


def test_a_models_shape_is_read_from_its_configuration(clip_folder: Path) -> None:
    description = describe_model(str(clip_folder))

    assert (description.dim, description.image_size, description.text_length) == (DIM, SIDE, TEXT_LENGTH)
    assert description.kind == "clip"
    assert description.identity.model_id == "random-clip"
    assert description.identity.preprocessing == "centre-crop-1"


def test_a_loaded_model_is_the_one_described(clip: Clip, clip_folder: Path) -> None:
    assert clip.identity == describe_model(str(clip_folder)).identity


def test_describing_a_model_imports_neither_torch_nor_transformers(clip_folder: Path) -> None:
    program = (
        "import sys, book_search.clip.embeddings, book_search.clip.zero_shot, book_search.search.engine\n"
        "from book_search.clip.model import describe_model\n"
        f"describe_model({str(clip_folder)!r})\n"
        "print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


def test_changed_weights_are_another_model(clip_folder: Path, tmp_path: Path) -> None:
    first, second = describe_model(str(clip_folder)), describe_model(str(save_random_clip(tmp_path / "random-clip", 1)))

    assert first.identity.model_id == second.identity.model_id
    assert first.identity != second.identity
    assert first.identity.slug != second.identity.slug


def test_a_model_is_the_same_wherever_its_folder_lies(clip_folder: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(clip_folder, tmp_path / "elsewhere" / "random-clip")
    (moved / "README.md").write_text("what a reader is told changes no vector")

    assert describe_model(str(moved)) == describe_model(str(clip_folder))


def test_a_slug_is_a_safe_name_of_a_folder() -> None:
    identity = ModelIdentity("openai/clip-vit base:patch32", COMMIT, "centre-crop-1")

    assert identity.slug == "openai--clip-vit--base--patch32-c237dc49a33f-centre-crop-1"


def test_an_unknown_name_without_a_network_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    for ask in (describe_model, load_clip):
        with pytest.raises(ModelUnavailableError) as told:
            ask("nobody/no-such-clip", "main")
        message = str(told.value)
        assert "nobody/no-such-clip" in message
        assert "BOOK_SEARCH_MODEL" in message
        assert "HF_HOME" in message
        assert "tiny CLIP" in message


def test_a_model_in_the_hubs_cache_is_found_without_a_network(
    clip_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = tmp_path / "models--openai--clip-vit-base-patch32" / "snapshots" / COMMIT
    shutil.copytree(clip_folder, cached)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))

    clip = load_clip("openai/clip-vit-base-patch32", COMMIT, "cpu")

    assert clip.identity == ModelIdentity("openai/clip-vit-base-patch32", COMMIT, "centre-crop-1")
    assert describe_model("openai/clip-vit-base-patch32", COMMIT) == clip.description


def test_a_model_in_the_form_of_transformers_4_loads_to_the_same_vectors(
    clip: Clip, clip_folder: Path, tmp_path: Path
) -> None:
    old = shutil.copytree(clip_folder, tmp_path / "old-form")
    config = json.loads((old / "config.json").read_text())
    # As OpenAI's own folder on the hub has it: position ids among the weights, 2 for the end token (which then is
    # looked for as the largest id), and an image processor under its name of old, its sizes as plain numbers.
    config["text_config"] |= {"eos_token_id": 2, "bos_token_id": 0, "pad_token_id": 1}
    (old / "config.json").write_text(json.dumps(config))
    weights = load_file(old / "model.safetensors")
    positions = {"text_model.embeddings.position_ids": torch.arange(TEXT_LENGTH)[None]}
    save_file(weights | positions, old / "model.safetensors", {"format": "pt"})
    processor = json.loads((old / "preprocessor_config.json").read_text())
    kept = {
        name: processor[name] for name in ("do_resize", "do_center_crop", "do_normalize", "image_mean", "image_std")
    }
    named = {"feature_extractor_type": "CLIPFeatureExtractor", "size": SIDE, "crop_size": SIDE, "resample": 3}
    (old / "preprocessor_config.json").write_text(json.dumps(kept | named))
    pictures, texts = [cover((200, 30, 90), (50, 75))], ["moon", "a white ship under a moon"]

    loaded = load_clip(str(old), device="cpu")

    np.testing.assert_allclose(loaded.encode_images(pictures), clip.encode_images(pictures), atol=1e-6)
    np.testing.assert_allclose(loaded.encode_texts(texts), clip.encode_texts(texts), atol=1e-6)
    assert loaded.identity != clip.identity


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailableError, match=r"there is no model's folder at .*nowhere"):
        describe_model(str(tmp_path / "nowhere"))


def test_pickled_weights_are_never_loaded(clip_folder: Path, tmp_path: Path) -> None:
    pickled = shutil.copytree(clip_folder, tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")

    with pytest.raises(ModelUnavailableError, match=r"no model\.safetensors"):
        load_clip(str(pickled))


def test_weights_in_several_files_load_to_the_same_vectors(clip: Clip, clip_folder: Path, tmp_path: Path) -> None:
    parts = shutil.copytree(clip_folder, tmp_path / "parts")
    (parts / "model.safetensors").unlink()
    clip.model.save_pretrained(parts, max_shard_size="20kB")
    assert len(list(parts.glob("model-*.safetensors"))) > 1

    loaded = load_clip(str(parts), device="cpu")

    pictures, texts = [cover((200, 30, 90), (50, 75))], ["moon"]
    np.testing.assert_allclose(loaded.encode_images(pictures), clip.encode_images(pictures), atol=1e-6)
    np.testing.assert_allclose(loaded.encode_texts(texts), clip.encode_texts(texts), atol=1e-6)


def test_a_pickle_and_a_program_beside_the_weights_are_never_touched(clip_folder: Path, tmp_path: Path) -> None:
    folder, touched = shutil.copytree(clip_folder, tmp_path / "with-code"), tmp_path / "touched"
    program = f"open({str(touched)!r}, 'w').close()"
    (folder / "modeling_own.py").write_text(f"{program}\nclass Own: pass\n")
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Touching(str(touched))))
    for name, own in (("config.json", "AutoModel"), ("tokenizer_config.json", "AutoTokenizer")):
        said = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(said | {"auto_map": {own: "modeling_own.Own"}}))

    assert load_clip(str(folder), device="cpu").encode_texts(["moon"]).shape == (1, DIM)

    assert not touched.exists()


class Touching:
    """Writes a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (self.path, "w")


def test_a_model_that_reads_no_texts_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vit"}))

    with pytest.raises(ValueError, match="is a vit model, not one that reads both"):
        describe_model(str(tmp_path))


def test_a_hub_configuration_that_leaves_defaults_out_is_understood(tmp_path: Path) -> None:
    config = {"model_type": "siglip", "text_config": {"model_type": "siglip_text_model"}, "vision_config": {}}
    (tmp_path / "config.json").write_text(json.dumps(config))

    description = describe_model(str(tmp_path))

    assert (description.dim, description.image_size, description.text_length) == (768, 224, 64)


def test_loading_prints_nothing(
    clip_folder: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        load_clip(str(clip_folder), device="cpu")

    printed = capfd.readouterr()
    assert printed.out + printed.err == ""
    assert not caplog.records
