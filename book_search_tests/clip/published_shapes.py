"""Small models of random weights in the shapes that are published on the hub: their configuration files, activation,
patches, projection, token ids, tokenizers and image processors are as there; only width and depth are small."""

import io
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModel, CLIPTokenizer

from book_search_tests.clip.random_clip import letters_tokenizer

SMALL: dict[str, Any] = {"intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
WORDS = ("a", "white", "ship", "under", "the", "moon", "red", "heart", "on", "book", "cover", "of", "green", "snow")
OPENAI_MEAN, OPENAI_STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]


@dataclass(frozen=True)
class Shape:
    """A published model.

    Attributes:
        config: its config.json.
        processor: its preprocessor_config.json.
        tokenizer: writes its tokenizer's files into a folder.
        dim, image_size, text_length, preprocessing: what must be read from these files.
    """

    config: dict[str, Any]
    processor: dict[str, Any]
    tokenizer: Callable[[Path], None]
    dim: int
    image_size: int
    text_length: int
    preprocessing: str

    @property
    def tokenizer_class(self) -> str:
        """Of transformers: as its tokenizer_config.json names it."""
        return TOKENIZERS[self.tokenizer.__name__]

    def save(self, folder: Path, seed: int = 0) -> Path:
        """A model of this shape in `folder`, its files named and filled as on the hub."""
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(self.config))
        torch.manual_seed(seed)
        auto: Any = AutoModel
        model = auto.from_config(AutoConfig.from_pretrained(folder))
        if hasattr(model, "logit_bias"):  # about what SigLIP learned; a fresh one has none
            model.logit_bias.data.fill_(-12.9)
        model.save_pretrained(folder)
        (folder / "config.json").write_text(json.dumps(self.config))
        (folder / "preprocessor_config.json").write_text(json.dumps(self.processor))
        self.tokenizer(folder)
        return folder


def clip_tokenizer(folder: Path) -> None:
    """CLIP's tokenizer with single letters for words and the published ids of its end tokens: 49406 and 49407."""
    vocabulary = letters_tokenizer().get_vocab()
    special = ("<|startoftext|>", "<|endoftext|>")
    letters = [token for token in sorted(vocabulary, key=lambda token: vocabulary[token]) if token not in special]
    unused = [f"unused{number}" for number in range(49408 - len(letters) - 2)]
    tokens = [*letters, *unused, *special]
    CLIPTokenizer(vocab={token: index for index, token in enumerate(tokens)}, merges=[]).save_pretrained(folder)


def sentencepiece_tokenizer(folder: Path) -> None:
    """The first SigLIP's: a sentencepiece model without a start token, its end token padding as well."""
    sentencepiece: Any = import_module("sentencepiece")
    model = io.BytesIO()
    sentences = [" ".join(WORDS[(start + step * 3) % len(WORDS)] for step in range(6)) for start in range(40)]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences), model_writer=model, vocab_size=60, hard_vocab_limit=False, minloglevel=2,
        pad_id=-1, bos_id=-1, unk_id=2, eos_id=1,
    )  # fmt: skip
    (folder / "spiece.model").write_bytes(model.getvalue())
    tokens = {"eos_token": "</s>", "pad_token": "</s>", "unk_token": "<unk>"}
    written = {"tokenizer_class": "SiglipTokenizer", "do_lower_case": True, "model_max_length": 64}
    (folder / "tokenizer_config.json").write_text(json.dumps(written | tokens | {"model_input_names": ["input_ids"]}))


def gemma_tokenizer(folder: Path) -> None:
    """SigLIP 2's: Gemma's, under Gemma's name, which keeps capitals."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    letters = [chr(code) for code in (*range(ord("A"), ord("Z") + 1), *range(ord("a"), ord("z") + 1))]
    trainer = trainers.BpeTrainer(
        special_tokens=special, vocab_size=SIGLIP_2_TOKENS, initial_alphabet=[*letters, "▁"], show_progress=False
    )
    tokenizer.train_from_iterator([" ".join(WORDS), " ".join(WORDS).title()] * 3, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 1)])
    tokenizer.save(str(folder / "tokenizer.json"))
    tokens = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}
    written = {"tokenizer_class": "GemmaTokenizer", "add_bos_token": False, "add_eos_token": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(written | tokens | {"model_max_length": 64}))


def xlm_roberta_tokenizer(folder: Path) -> None:
    """MetaCLIP 2's: XLM-RoBERTa's."""
    pieces = [(f"▁{word}", -2 - number / 10) for number, word in enumerate(WORDS)]
    letters = [(letter, -6.0) for letter in ("▁", *(chr(code) for code in range(ord("a"), ord("z") + 1)))]
    special = [(token, 0.0) for token in ("<s>", "<pad>", "</s>", "<unk>")]
    tokenizer = Tokenizer(models.Unigram([*special, *pieces, *letters, ("<mask>", 0.0)], unk_id=3))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    ends = [("<s>", 0), ("</s>", 2)]
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "XLMRobertaTokenizer"}))


def bert_tokenizer(folder: Path) -> None:
    """Chinese CLIP's: BERT's."""
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))


SIGLIP_2_TOKENS = 130
TOKENIZERS = {
    "clip_tokenizer": "CLIPTokenizer",
    "sentencepiece_tokenizer": "SiglipTokenizer",
    "gemma_tokenizer": "GemmaTokenizer",
    "xlm_roberta_tokenizer": "XLMRobertaTokenizer",
    "bert_tokenizer": "BertTokenizer",
}


def clip_shape(patch: int, dim: int, side: int = 224, text: dict[str, Any] | None = None, act: str = "") -> Shape:
    """A CLIP in OpenAI's form, or in that of OpenCLIP's conversions: those say `gelu` and leave the token ids out."""
    activation = {"hidden_act": act} if act else {}
    text_config = SMALL | {"hidden_size": 16, "model_type": "clip_text_model"} | activation | (text or {})
    vision_config = SMALL | {"hidden_size": 32, "model_type": "clip_vision_model", "patch_size": patch} | activation
    if side != 224:
        vision_config["image_size"] = side
    config = {"model_type": "clip", "architectures": ["CLIPModel"], "logit_scale_init_value": 2.6592}
    config |= {"projection_dim": dim, "text_config": text_config, "vision_config": vision_config}
    processor = {"feature_extractor_type": "CLIPFeatureExtractor", "size": side, "crop_size": side, "resample": 3}
    processor |= {"do_resize": True, "do_center_crop": True, "do_normalize": True}
    processor |= {"image_mean": OPENAI_MEAN, "image_std": OPENAI_STD}
    return Shape(config, processor, clip_tokenizer, dim, side, 77, "centre-crop-1")


def siglip_shape(tokenizer: Callable[[Path], None], tokens: int, patch: int, side: int, resample: int) -> Shape:
    """A SigLIP, or a SigLIP 2 of a fixed size: both are `siglip` to transformers."""
    text_config = SMALL | {"hidden_size": 24, "model_type": "siglip_text_model", "vocab_size": tokens}
    vision_config = SMALL | {"hidden_size": 24, "model_type": "siglip_vision_model", "patch_size": patch}
    if side != 224:
        vision_config["image_size"] = side
    config = {"model_type": "siglip", "text_config": text_config, "vision_config": vision_config}
    half = [0.5, 0.5, 0.5]
    processor = {"image_processor_type": "SiglipImageProcessor", "resample": resample, "do_rescale": True}
    processor |= {"rescale_factor": 1 / 255, "do_resize": True, "do_normalize": True, "do_convert_rgb": None}
    processor |= {"image_mean": half, "image_std": half, "size": {"height": side, "width": side}}
    return Shape(config, processor, tokenizer, 24, side, 64, "stretch-1")


def metaclip_2_shape() -> Shape:
    """A MetaCLIP 2."""
    like = clip_shape(14, 1024)
    ids = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "vocab_size": 46}
    text_config = SMALL | {"hidden_size": 16, "model_type": "metaclip_2_text_model"} | ids
    vision_config = like.config["vision_config"] | {"model_type": "metaclip_2_vision_model"}
    config = {"model_type": "metaclip_2", "text_config": text_config, "vision_config": vision_config}
    return replace(like, config=config | {"projection_dim": 1024}, tokenizer=xlm_roberta_tokenizer)


def chinese_clip_shape() -> Shape:
    """A Chinese CLIP: its pictures are stretched, though its configuration is a CLIP's, and its texts are BERT's."""
    like = clip_shape(16, 512)
    text_config = SMALL | {"hidden_size": 16, "model_type": "chinese_clip_text_model", "vocab_size": 19}
    vision_config = like.config["vision_config"] | {"model_type": "chinese_clip_vision_model"}
    config = {"model_type": "chinese_clip", "projection_dim": 512, "vision_config": vision_config}
    config["text_config"] = text_config | {"max_position_embeddings": 512}
    square = {"image_processor_type": "ChineseCLIPImageProcessor", "size": {"height": 224, "width": 224}}
    processor = like.processor | square | {"do_center_crop": False}
    processor.pop("feature_extractor_type")
    return Shape(config, processor, bert_tokenizer, 512, 224, 512, "stretch-1")


OPENAI_IDS = {
    "bos_token_id": 0,
    "eos_token_id": 2,
}  # OpenAI's configurations, which transformers reads as "the largest"
SHAPES: dict[str, Shape] = {
    "openai/clip-vit-base-patch16": clip_shape(16, 512, text=OPENAI_IDS),
    "openai/clip-vit-large-patch14": clip_shape(14, 768, text=OPENAI_IDS),
    "openai/clip-vit-large-patch14-336": clip_shape(14, 768, 336, text=OPENAI_IDS),
    "laion/CLIP-ViT-B-32-laion2B-s34B-b79K": clip_shape(32, 512, act="gelu"),
    "laion/CLIP-ViT-H-14-laion2B-s32B-b79K": clip_shape(14, 1024, act="gelu"),
    "laion/CLIP-ViT-B-16-DataComp.XL-s13B-b90K": clip_shape(16, 512, act="gelu"),
    "facebook/metaclip-2-worldwide-huge-quickgelu": metaclip_2_shape(),
    "OFA-Sys/chinese-clip-vit-base-patch16": chinese_clip_shape(),
    "google/siglip-base-patch16-224": siglip_shape(sentencepiece_tokenizer, 64, 16, 224, 3),
    "google/siglip-so400m-patch14-384": siglip_shape(sentencepiece_tokenizer, 64, 14, 384, 3),
    "google/siglip2-base-patch16-224": siglip_shape(gemma_tokenizer, SIGLIP_2_TOKENS, 16, 224, 2),
    "google/siglip2-base-patch32-256": siglip_shape(gemma_tokenizer, SIGLIP_2_TOKENS, 32, 256, 2),
}
