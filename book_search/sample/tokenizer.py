"""A small tokenizer in CLIP's own form: byte-level pairs, ends of words marked, so that any text has tokens."""

import json
import random

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from book_search.sample.captions import caption, random_claim
from book_search.sample.drawing import random_spec

END_OF_WORD = "</w>"
START, END = "<|startoftext|>", "<|endoftext|>"
CAPTIONS = 20_000  # that the pairs are learned from


def build_tokenizer(length: int, seed: int, vocabulary: int = 900) -> CLIPTokenizer:
    """A tokenizer of `vocabulary` tokens at most, its pairs learned from captions.

    The order is CLIP's: 256 bytes, the same as ends of words, the pairs, start, and the end of text last, which
    pooling finds as the largest id.
    """
    rng = random.Random(f"{seed}/tokenizer")
    texts = [caption(random_claim(random_spec(rng, held_out=False), rng), rng) for _ in range(CAPTIONS)]
    merges = _learn_merges(texts, vocabulary - 514)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*alphabet, *(letter + END_OF_WORD for letter in alphabet), *(one + other for one, other in merges)]
    ids = {token: number for number, token in enumerate(dict.fromkeys([*tokens, START, END]))}
    return CLIPTokenizer(vocab=ids, merges=merges, model_max_length=length)  # type: ignore[arg-type]


def _learn_merges(texts: list[str], count: int) -> list[tuple[str, str]]:
    learner = Tokenizer(models.BPE(end_of_word_suffix=END_OF_WORD))
    # The words are split as CLIPTokenizer splits them.
    learner.pre_tokenizer = CLIPTokenizer().backend_tokenizer.pre_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=count + 512,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        end_of_word_suffix=END_OF_WORD,
        show_progress=False,
    )
    learner.train_from_iterator(texts, trainer)
    learned = json.loads(learner.to_str())["model"]["merges"]
    return [(one, other) for one, other in learned[:count]]
