"""CLIP's text tower in numpy, over weights mapped from the checkpoint: token ids in, unit vectors out.

Knows the checkpoint's tensors and the arithmetic; nothing of words, of torch or of where models lie. It is here because
importing torch and transformers takes two seconds, and one short sentence takes this ten milliseconds.

The arithmetic is that of Radford et al. 2021, section 2.4, as transformers' CLIPTextModelWithProjection does it: token
and position embeddings, layers with the normalisation first and causal attention, the last normalisation at the end of
the text, a projection.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from book_search.clip.tensors import Tensors, open_tensors

Array = np.ndarray[Any, np.dtype[np.float32]]

LEGACY_END = 2  # the end token's id in configurations of before transformers 4.31: the largest id of a text is meant
TOKENS_AT_ONCE = 512  # of several texts in one pass; more would only take memory

# transformers' CLIPTextConfig; a published config.json leaves out what is as here.
DEFAULTS: dict[str, Any] = {
    "num_attention_heads": 8,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
    "eos_token_id": 49407,
    "max_position_embeddings": 77,
    "num_hidden_layers": 12,
}


def quick_gelu(x: Array) -> Array:
    """x * sigmoid(1.702 x), OpenAI's own."""
    product: Array = x / (1 + np.exp(np.float32(-1.702) * x))
    return product


def gelu(x: Array) -> Array:
    """x * Phi(x), as OpenCLIP's models have it; numpy has no erf.

    erf by Abramowitz and Stegun 1964, 7.1.26: within 1.5e-7, and a vector's cosine to the exact one is 1 - 1e-12.
    """
    z = np.abs(x) * np.float32(0.5**0.5)
    t = 1 / (1 + np.float32(0.3275911) * z)
    series = t * np.float32(1.061405429)
    for coefficient in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        series = (series + np.float32(coefficient)) * t
    product: Array = np.float32(0.5) * x * (1 + np.copysign(1 - series * np.exp(-z * z), x))
    return product


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {"quick_gelu": quick_gelu, "gelu": gelu}


@dataclass(frozen=True)
class TextTower:
    """The tower of one model.

    Attributes:
        tensors: its weights.
        layers, heads: of the transformer.
        activation: between the two layers of each perceptron.
        epsilon: added to a variance before its root is taken.
        end: the token at which a text's vector is taken, or LEGACY_END.
    """

    tensors: Tensors
    layers: int
    heads: int
    activation: Callable[[Array], Array]
    epsilon: float
    end: int

    @property
    def logit_scale(self) -> float:
        """The learned inverse temperature, of which the checkpoint holds the logarithm."""
        return float(np.exp(self.tensors["logit_scale"]))

    def encode(self, token_ids: Sequence[Sequence[int]]) -> Array:
        """Unit vectors of texts, float32 [n, dim], from the tokens of each, start and end token included.

        No text is padded, and none is read beyond its end token: what comes after it cannot change a vector, since
        attention looks backwards alone.
        """
        texts = [self._up_to_the_end(ids) for ids in token_ids]
        dim = self.tensors.shape("text_projection.weight")[0]
        vectors = np.empty((len(texts), dim), np.float32)
        for some in _passes(texts):
            vectors[some] = self._vectors([texts[index] for index in some])
        return vectors

    def _up_to_the_end(self, ids: Sequence[int]) -> Sequence[int]:
        array = np.asarray(ids)
        last = int(np.argmax(array if self.end == LEGACY_END else array == self.end))
        return ids[: last + 1]

    def _vectors(self, texts: Sequence[Sequence[int]]) -> Array:
        """Unit vectors of texts in the order of their lengths: [n, dim]."""
        lengths = np.array([len(text) for text in texts])
        ends = lengths.cumsum() - 1
        tokens = self.tensors.rows("text_model.embeddings.token_embedding.weight", np.concatenate(texts))
        positions = self.tensors["text_model.embeddings.position_embedding.weight"]
        x = tokens + np.concatenate([positions[:length] for length in lengths])
        for layer in range(self.layers):
            at = f"text_model.encoder.layers.{layer}"
            # Of the last layer only the end tokens are needed, though they look at all.
            wanted = slice(None) if layer < self.layers - 1 else ends
            x = x[wanted] + self._attention(self._normalised(x, f"{at}.layer_norm1"), lengths, wanted, at)
            hidden = self._linear(self._normalised(x, f"{at}.layer_norm2"), f"{at}.mlp.fc1")
            x = x + self._linear(self.activation(hidden), f"{at}.mlp.fc2")
        pooled = self._normalised(x, "text_model.final_layer_norm") @ self.tensors["text_projection.weight"].T
        unit: Array = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
        return unit

    def _attention(self, x: Array, lengths: np.ndarray, wanted: slice | np.ndarray, at: str) -> Array:
        """What each wanted token takes from those up to it of its own text."""
        width = x.shape[1] // self.heads
        queries, keys, values = (
            self._linear(x, f"{at}.self_attn.{name}_proj").reshape(-1, self.heads, width) for name in "qkv"
        )
        taken = np.empty_like(queries)
        first = 0
        # Texts of one length lie side by side and are done together: [texts, heads, tokens, width].
        for length, texts in zip(*np.unique(lengths, return_counts=True), strict=True):
            rows = slice(first, first + length * texts)
            q, k, v = (
                part[rows].reshape(texts, length, self.heads, width).transpose(0, 2, 1, 3)
                for part in (queries, keys, values)
            )
            scores = q @ k.transpose(0, 1, 3, 2) * np.float32(width**-0.5)
            scores += np.triu(np.full((length, length), -np.inf, np.float32), 1)
            weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
            weights /= weights.sum(axis=-1, keepdims=True)
            taken[rows] = (weights @ v).transpose(0, 2, 1, 3).reshape(-1, self.heads, width)
            first = rows.stop
        return self._linear(taken.reshape(len(x), -1)[wanted], f"{at}.self_attn.out_proj")

    def _linear(self, x: Array, name: str) -> Array:
        product: Array = x @ self.tensors[f"{name}.weight"].T
        product += self.tensors[f"{name}.bias"]
        return product

    def _normalised(self, x: Array, name: str) -> Array:
        centred = x - x.mean(axis=1, keepdims=True)
        variance = np.einsum("ij,ij->i", centred, centred)[:, None] / x.shape[1]
        normal: Array = centred / np.sqrt(variance + np.float32(self.epsilon))
        normal *= self.tensors[f"{name}.weight"]
        normal += self.tensors[f"{name}.bias"]
        return normal


def open_text_tower(folder: Path) -> TextTower | None:
    """The text tower of the CLIP in a folder; None where the model is of another kind, or its file of another form.

    Maps the weights and reads next to nothing. Whoever gets None loads the model by transformers.
    """
    config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    # Configurations of old have it twice, and what the second leaves out is as in DEFAULTS, not as in the first.
    text = DEFAULTS | (config.get("text_config_dict") or config.get("text_config") or {})
    plain = config.get("model_type") == "clip" and "quantization_config" not in config
    if not plain or text["hidden_act"] not in ACTIVATIONS or not isinstance(text["eos_token_id"], int):
        return None
    tensors = open_tensors(folder)
    if tensors is None or not all(name in tensors for name in _names(text["num_hidden_layers"])):
        return None
    return TextTower(
        tensors=tensors,
        layers=text["num_hidden_layers"],
        heads=text["num_attention_heads"],
        activation=ACTIVATIONS[text["hidden_act"]],
        epsilon=text["layer_norm_eps"],
        end=text["eos_token_id"],
    )


def _names(layers: int) -> Iterator[str]:
    """The tensors of a tower."""
    yield from ("logit_scale", "text_projection.weight")
    yield from ("text_model.embeddings.token_embedding.weight", "text_model.embeddings.position_embedding.weight")
    parts = ["final_layer_norm"]
    for layer in range(layers):
        for part in ("layer_norm1", "layer_norm2", "mlp.fc1", "mlp.fc2"):
            parts.append(f"encoder.layers.{layer}.{part}")
        parts += [f"encoder.layers.{layer}.self_attn.{part}_proj" for part in ("q", "k", "v", "out")]
    for part in parts:
        yield from (f"text_model.{part}.weight", f"text_model.{part}.bias")


def _passes(texts: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """The positions of the texts, in the order of their lengths, a share for each pass."""
    some: list[int] = []
    tokens = 0
    for index in sorted(range(len(texts)), key=lambda index: len(texts[index])):
        if some and tokens + len(texts[index]) > TOKENS_AT_ONCE:
            yield some
            some, tokens = [], 0
        some.append(index)
        tokens += len(texts[index])
    if some:
        yield some
