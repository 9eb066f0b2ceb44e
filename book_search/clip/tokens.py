"""CLIP's tokenizer without transformers: from a model's folder to the ids of a text's tokens, the same ones.

Knows the files of a tokenizer and the `tokenizers` library, which transformers uses too; nothing of weights. What is
not plainly CLIP's tokenizer is left to transformers. Nothing here is padded or cut by the library, whose padding and
truncation are settings of the whole object: so threads may share one.
"""

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

logger = logging.getLogger(__name__)

START, END, END_OF_WORD = "<|startoftext|>", "<|endoftext|>", "</w>"
CLASSES = (None, "CLIPTokenizer", "CLIPTokenizerFast")
# How openai/CLIP's simple_tokenizer.py splits words, after NFC, single spaces and small letters.
WORDS = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
OTHERWISE = (
    "additional_special_tokens",
    "extra_special_tokens",
    "split_special_tokens",
    "add_bos_token",
    "add_eos_token",
)


@dataclass(frozen=True)
class ClipTokenizer:
    """A tokenizer of CLIP's.

    Attributes:
        tokenizer: the library's own, which neither pads nor cuts.
        length: tokens that the model reads, start and end token included.
    """

    tokenizer: Tokenizer
    length: int

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of each text, from its start to its end token. What the model would not read is left out of it,
        with a warning."""
        found = [encoding.ids for encoding in self.tokenizer.encode_batch_fast(list(texts))]
        warn_of_long_texts(texts, [len(ids) for ids in found], self.length)
        return [ids if len(ids) <= self.length else [*ids[: self.length - 1], ids[-1]] for ids in found]


def warn_of_long_texts(texts: Sequence[str], counts: Sequence[int], length: int) -> None:
    """Log a warning if some texts have more tokens than the model reads."""
    if long := [(text, count) for text, count in zip(texts, counts, strict=True) if count > length]:
        logger.warning(
            "%d of %d texts are longer than the %d tokens that the model reads; the rest is left out of them: "
            "%r... is %d tokens long",
            len(long), len(texts), length, long[0][0][:40], long[0][1],
        )  # fmt: skip


def open_clip_tokenizer(folder: Path, length: int) -> ClipTokenizer | None:
    """The tokenizer of a model's folder, if it is CLIP's; None where transformers may see it otherwise.

    Args:
        folder: holds tokenizer.json, or vocab.json with merges.txt.
        length: tokens that the model reads.
    """
    said = _json(folder / "tokenizer_config.json")
    if said.get("tokenizer_class") not in CLASSES or (folder / "added_tokens.json").exists():
        return None
    if any(said.get(name) for name in OTHERWISE) or said.get("truncation_side", "right") != "right":
        return None
    if not set(_special(said | _json(folder / "special_tokens_map.json"))) <= {START, END}:
        return None  # "!" for padding is one: it then is a token of its own in every text
    tokenizer = _from_whole(folder / "tokenizer.json") or _from_parts(folder, said)
    if tokenizer is None:
        return None
    # transformers' CLIPTokenizer sets these whatever tokenizer.json says; only what ends a text is the file's.
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.no_padding()
    tokenizer.no_truncation()
    ends = [tokenizer.token_to_id(token) for token in (START, END)]
    return ClipTokenizer(tokenizer, length) if tokenizer.encode("").ids == ends else None


def _from_whole(path: Path) -> Tokenizer | None:
    """From tokenizer.json, if its pairs of letters and its special tokens are of CLIP's kind."""
    if not path.is_file():
        return None
    tokenizer = Tokenizer.from_file(str(path))
    model = tokenizer.model
    usual = isinstance(model, models.BPE) and (
        model.end_of_word_suffix, model.unk_token, model.continuing_subword_prefix or "", model.dropout or 0.0,
        model.fuse_unk, model.byte_fallback, model.ignore_merges,
    ) == (END_OF_WORD, END, "", 0.0, False, False, False)  # fmt: skip
    added = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    return tokenizer if usual and added == {START, END} else None


def _from_parts(folder: Path, said: dict[str, Any]) -> Tokenizer | None:
    """From vocab.json and merges.txt, as the hub had them first."""
    vocabulary, merges = folder / "vocab.json", folder / "merges.txt"
    if (folder / "tokenizer.json").exists() or not (vocabulary.is_file() and merges.is_file()):
        return None
    if not isinstance(said.get("pad_token", END), str):
        return None
    tokenizer = Tokenizer(
        models.BPE.from_file(
            str(vocabulary),
            str(merges),
            unk_token=END,
            continuing_subword_prefix="",
            end_of_word_suffix=END_OF_WORD,
        )
    )
    start, end = tokenizer.token_to_id(START), tokenizer.token_to_id(END)
    if start is None or end is None:
        return None
    written = said.get("bos_token")
    normalized = bool(written.get("normalized")) if isinstance(written, dict) else False
    tokenizer.add_special_tokens([AddedToken(START, normalized=normalized), AddedToken(END, normalized=False)])
    tokenizer.post_processor = processors.RobertaProcessing((END, end), (START, start), False, False)
    return tokenizer


def _special(said: dict[str, Any]) -> Iterator[str]:
    """Every special token that the configuration names."""
    named = [value for name, value in said.items() if name.endswith("_token")]
    for value in [*named, *(said.get("added_tokens_decoder") or {}).values()]:
        if value:
            yield str(value["content"] if isinstance(value, dict) else value)


def _json(path: Path) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return said
