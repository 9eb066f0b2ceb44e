"""Vocabularies of CLIP's kind for the tests: OpenAI's own where it lies beside the checkout, and the forms in which
tokenizers have been published."""

import gzip
import json
from pathlib import Path
from typing import Any

from tokenizers.pre_tokenizers import ByteLevel

MERGES = 49152 - 256 - 2  # openai/CLIP's simple_tokenizer.py: how many merges of the file are in its vocabulary
START, END = "<|startoftext|>", "<|endoftext|>"
LENGTH = 77


def openai_merges(packed: Path) -> list[str]:
    """The pairs of OpenAI's published file, in their order."""
    return gzip.decompress(packed.read_bytes()).decode().split("\n")[1 : MERGES + 1]


def few_merges() -> list[str]:
    """Pairs enough for some words."""
    return ["s h", "i p</w>", "sh ip</w>", "m o", "o n</w>", "mo on</w>", "' s</w>", "e Ì"]


def write_parts(folder: Path, merges: list[str]) -> Path:
    """vocab.json and merges.txt, as the hub had them first."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    letters = [chr(byte) for byte in printable]
    letters += sorted(set(ByteLevel.alphabet()) - set(letters))
    words = [*letters, *(letter + "</w>" for letter in letters), *("".join(merge.split()) for merge in merges)]
    vocabulary = {word: index for index, word in enumerate(dict.fromkeys([*words, START, END]))}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
    (folder / "config.json").write_text(json.dumps({"model_type": "clip", "text_config": {}, "vision_config": {}}))
    return folder


def old_configuration() -> dict[str, Any]:
    """tokenizer_config.json as OpenAI's folder on the hub has it."""

    def token(content: str) -> dict[str, Any]:
        flags = {"lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
        return {"__type": "AddedToken", "content": content, **flags}

    return {
        "unk_token": token(END),
        "bos_token": token(START),
        "eos_token": token(END),
        "pad_token": END,
        "add_prefix_space": False,
        "do_lower_case": True,
        "model_max_length": LENGTH,
        "tokenizer_class": "CLIPTokenizer",
    }


def old_whole(new: dict[str, Any]) -> dict[str, Any]:
    """tokenizer.json as transformers 4 wrote it: another way to split, pairs as one string, the start normalised."""
    old: dict[str, Any] = json.loads(json.dumps(new)) | {"truncation": None, "padding": None}
    old["added_tokens"][0]["normalized"] = True
    split, bytes_ = old["pre_tokenizer"]["pretokenizers"]
    split["pattern"] = {"Regex": r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"}
    del bytes_["use_regex"]
    old["model"]["merges"] = [" ".join(pair) for pair in old["model"]["merges"]]
    return old
