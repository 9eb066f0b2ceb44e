"""CLIP's text tower in numpy, over weights mapped from the checkpoint: token ids in, unit vectors out.

Knows the checkpoint's tensors and the arithmetic; nothing of words, of torch or of where models lie. It is here because
importing torch and transformers takes two seconds, and one short sentence takes this ten milliseconds.

What several texts begin with is computed once, and what the templates begin with once for all questions (`token_tree`).

The arithmetic is that of Radford et al. 2021, section 2.4, as transformers' CLIPTextModelWithProjection does it: token
and position embeddings, layers with the normalisation first and causal attention, the last normalisation at the end of
the text, a projection.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from book_search.clip.tensors import Tensors, open_tensors
from book_search.clip.token_tree import Tokens, TokenTree, Trunk, grow, passes, trunk_columns

Array = np.ndarray[Any, np.dtype[np.float32]]

LEGACY_END = 2  # the end token's id in configurations of before transformers 4.31: the largest id of a text is meant

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
        beginnings: tokens that many texts will begin with; what is computed of them is kept.
    """

    tensors: Tensors
    layers: int
    heads: int
    activation: Callable[[Array], Array]
    epsilon: float
    end: int
    beginnings: tuple[Tokens, ...] = ()
    # One trunk, replaced as a whole: threads that grow it side by side lose nothing but each other's work.
    _trunk: list[Trunk[Array]] = field(default_factory=lambda: [Trunk()], init=False, repr=False, compare=False)

    @property
    def logit_scale(self) -> float:
        """The learned inverse temperature, of which the checkpoint holds the logarithm."""
        return float(np.exp(self.tensors["logit_scale"]))

    @property
    def dim(self) -> int:
        """Numbers in a vector."""
        return self.tensors.shape("text_projection.weight")[0]

    def encode(self, token_ids: Sequence[Tokens]) -> Array:
        """Unit vectors of texts, float32 [n, dim], from the tokens of each, start and end token included.

        No text is padded, and none is read beyond its end token: what comes after it cannot change a vector, since
        attention looks backwards alone.
        """
        texts = [self.up_to_the_end(ids) for ids in token_ids]
        vectors = np.empty((len(texts), self.dim), np.float32)
        for some in passes(texts):
            trunk = self._trunk[0]
            vectors[some] = self._vectors(grow([texts[index] for index in some], trunk.children), trunk)
        return vectors

    def up_to_the_end(self, ids: Tokens) -> Tokens:
        """What of a text's tokens its vector depends on."""
        array = np.asarray(ids)
        last = int(np.argmax(array if self.end == LEGACY_END else array == self.end))
        return ids[: last + 1]

    def _vectors(self, tree: TokenTree, trunk: Trunk[Array]) -> Array:
        """Unit vectors of a tree's texts: [n, dim]."""
        tokens = self.tensors.rows("text_model.embeddings.token_embedding.weight", tree.tokens)
        x = tokens + self.tensors["text_model.embeddings.position_embedding.weight"][tree.places]
        unseen = np.where(tree.sees, np.float32(0), np.float32(-np.inf))
        keys, values = [], []
        for layer in range(self.layers):
            at = f"text_model.encoder.layers.{layer}"
            seen = self._normalised(x, f"{at}.layer_norm1")
            k, v = (self._linear(seen, f"{at}.self_attn.{name}_proj") for name in "kv")
            if trunk.keys:
                k, v = np.concatenate([trunk.keys[layer], k]), np.concatenate([trunk.values[layer], v])
            keys.append(k)
            values.append(v)
            if layer == self.layers - 1:  # of which only the end tokens are needed, though they look at all
                x, seen, unseen = x[tree.ends], seen[tree.ends], unseen[tree.ends]
            taken = self._attention(self._linear(seen, f"{at}.self_attn.q_proj"), k, v, unseen)
            x = x + self._linear(taken, f"{at}.self_attn.out_proj")
            hidden = self._linear(self._normalised(x, f"{at}.layer_norm2"), f"{at}.mlp.fc1")
            x = x + self._linear(self.activation(hidden), f"{at}.mlp.fc2")
        children, columns = trunk_columns(tree, self.beginnings)
        if len(children) > len(trunk.children):
            self._trunk[0] = Trunk(children, tuple(k[columns] for k in keys), tuple(v[columns] for v in values))
        pooled = self._normalised(x, "text_model.final_layer_norm") @ self.tensors["text_projection.weight"].T
        unit: Array = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
        return unit

    def _attention(self, queries: Array, keys: Array, values: Array, unseen: Array) -> Array:
        """What each row takes from the columns that it sees: [rows, width]; `unseen` is -inf for the others."""
        width = queries.shape[1] // self.heads
        q, k, v = (part.reshape(-1, self.heads, width).transpose(1, 0, 2) for part in (queries, keys, values))
        scores = q @ k.transpose(0, 2, 1) * np.float32(width**-0.5) + unseen
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        taken: Array = (weights @ v).transpose(1, 0, 2).reshape(len(queries), -1)
        return taken

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
