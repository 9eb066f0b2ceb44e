"""The text half of a CLIP in torch, laid out for a server that has the time to load it: the same trunk and tree as
`text_tower`, over weights that are packed for oneDNN once, in bfloat16 where the processor computes in it.

Knows the tower's tensors and torch's oneDNN operators; nothing of words or files. As in `vision`, the affine parts of
LayerNorm are folded into the products that follow, and the residual stream stays in float32.
"""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from book_search.clip.packed_linear import ACTIVATIONS, PackedLinear
from book_search.clip.text_tower import TextTower
from book_search.clip.token_tree import Tokens, TokenTree, Trunk, grow, passes, trunk_columns

logger = logging.getLogger(__name__)

LEAST_COSINE = {torch.float32: 1 - 1e-6, torch.bfloat16: 0.999}
TRIED_ON = 4  # texts of random tokens


class PackedTexts:
    """A tower whose vectors are those of `tower`, within 1e-6 of its cosine in float32.

    It computes in a thread of its own, which has one of torch's threads: two of them wait for each other at each of
    a hundred small products, and where something else computes too, for long. Threads may share it.

    Args:
        tower: the same in numpy, whose weights are copied.
        dtype: of the products.
    """

    @torch.inference_mode()
    def __init__(self, tower: TextTower, dtype: torch.dtype) -> None:
        self.tower, self.dtype, self.dim = tower, dtype, tower.dim
        self.logit_scale = tower.logit_scale
        self._layers = [_layer(tower, f"text_model.encoder.layers.{layer}", dtype) for layer in range(tower.layers)]
        last_weight, last_bias = (_tensor(tower, f"text_model.final_layer_norm.{part}") for part in ("weight", "bias"))
        projection = _tensor(tower, "text_projection.weight")
        self._project = (projection * last_weight, projection @ last_bias)
        self._positions = _tensor(tower, "text_model.embeddings.position_embedding.weight")
        self._trunk: Trunk[Tensor] = Trunk()
        # Torch counts threads for each thread that asks, and has one number for all that ask later: put back here.
        threads = torch.get_num_threads()
        self._thread = ThreadPoolExecutor(1, "texts", torch.set_num_threads, (1,))
        self._thread.submit(torch.get_num_threads).result()
        torch.set_num_threads(threads)

    def encode(self, token_ids: Sequence[Tokens]) -> np.ndarray:
        """Unit vectors of texts, float32 [n, dim], from the tokens of each, start and end token included."""
        texts = [self.tower.up_to_the_end(ids) for ids in token_ids]
        vectors = np.empty((len(texts), self.dim), np.float32)
        for some in passes(texts):
            vectors[some] = self._thread.submit(self._vectors, [texts[index] for index in some]).result()
        return vectors

    @torch.inference_mode()
    def _vectors(self, texts: Sequence[Tokens]) -> np.ndarray:
        trunk = self._trunk
        tree = grow(texts, trunk.children)
        tokens = self.tower.tensors.rows("text_model.embeddings.token_embedding.weight", tree.tokens)
        x = torch.from_numpy(tokens) + self._positions[torch.from_numpy(tree.places)]
        unseen = torch.zeros(tree.sees.shape).masked_fill_(torch.from_numpy(~tree.sees), -torch.inf)
        ends, keys, values = torch.from_numpy(tree.ends), [], []
        for number, layer in enumerate(self._layers):
            seen = self._normalised(x)
            q, k, v = layer.mixed(seen).chunk(3, dim=1)
            if trunk.keys:
                k, v = torch.cat([trunk.keys[number], k]), torch.cat([trunk.values[number], v])
            keys.append(k)
            values.append(v)
            if number == len(self._layers) - 1:  # of which only the end tokens are needed, though they look at all
                x, q, unseen = x[ends], q[ends], unseen[ends]
            x = x + layer.out(self._attention(q, k, v, unseen))
            x = x + layer.down(layer.up(self._normalised(x)))
        self._keep(tree, trunk, keys, values)
        weight, bias = self._project
        pooled = functional.layer_norm(x, x.shape[-1:], eps=self.tower.epsilon) @ weight.T + bias
        unit: np.ndarray = functional.normalize(pooled, dim=-1).numpy()
        return unit

    def _keep(self, tree: TokenTree, trunk: Trunk[Tensor], keys: list[Tensor], values: list[Tensor]) -> None:
        children, columns = trunk_columns(tree, self.tower.beginnings)
        if len(children) > len(trunk.children):
            self._trunk = Trunk(children, tuple(k[columns] for k in keys), tuple(v[columns] for v in values))

    def _normalised(self, x: Tensor) -> Tensor:
        return functional.layer_norm(x, x.shape[-1:], eps=self.tower.epsilon).to(self.dtype)

    def _attention(self, queries: Tensor, keys: Tensor, values: Tensor, unseen: Tensor) -> Tensor:
        """What each row takes from the columns that it sees, the queries scaled already: [rows, width]."""
        heads = self.tower.heads
        q, k, v = (part.view(len(part), heads, -1).transpose(0, 1) for part in (queries, keys, values))
        weights = (torch.bmm(q, k.transpose(1, 2)).float() + unseen).softmax(-1).to(self.dtype)
        return torch.bmm(weights, v).transpose(0, 1).flatten(1)


@dataclass(frozen=True)
class _Layer:
    """The products of a transformer layer: queries, keys and values in one."""

    mixed: PackedLinear
    out: PackedLinear
    up: PackedLinear
    down: PackedLinear


def packed_texts(tower: TextTower, dtype: torch.dtype) -> PackedTexts | None:
    """The tower packed; None, with a warning, where this torch cannot, or where it does not agree with the tower."""
    try:
        packed = PackedTexts(tower, dtype)
        rng = np.random.default_rng(0)
        words, length = tower.tensors.shape("text_model.embeddings.token_embedding.weight")[0], len(packed._positions)
        tried = [rng.integers(words, size=size).tolist() for size in rng.integers(2, length, size=TRIED_ON)]
        agreed = float((tower.encode(tried) * packed.encode(tried)).sum(axis=1).min())
    except (RuntimeError, AttributeError) as error:  # a torch without oneDNN
        logger.warning("texts are encoded by numpy, which is slower: %s: %s", type(error).__name__, error)
        return None
    if not agreed >= LEAST_COSINE[dtype]:
        logger.warning("texts are encoded by numpy, which is slower: in %s they are only %.6f alike", dtype, agreed)
        return None
    logger.info("texts are encoded in packed %s; 1 - cosine to float32 %.1e", dtype, 1 - agreed)
    return packed


def _layer(tower: TextTower, at: str, dtype: torch.dtype) -> _Layer:
    activation, algorithm, scale = ACTIVATIONS[tower.activation.__name__]
    width = tower.tensors.shape(f"{at}.self_attn.q_proj.weight")[0] // tower.heads
    scales = {"q": width**-0.5, "k": 1.0, "v": 1.0}
    parts = [_folded(tower, f"{at}.self_attn.{name}_proj", f"{at}.layer_norm1", scales[name]) for name in "qkv"]
    down = _tensor(tower, f"{at}.mlp.fc2.weight") / scale
    return _Layer(
        mixed=PackedLinear.of(
            torch.cat([weight for weight, _ in parts]), torch.cat([bias for _, bias in parts]), dtype
        ),
        out=PackedLinear.of(
            _tensor(tower, f"{at}.self_attn.out_proj.weight"), _tensor(tower, f"{at}.self_attn.out_proj.bias"), dtype
        ),
        up=PackedLinear.of(*_folded(tower, f"{at}.mlp.fc1", f"{at}.layer_norm2", scale), dtype, activation, algorithm),
        down=PackedLinear.of(down, _tensor(tower, f"{at}.mlp.fc2.bias"), dtype),
    )


def _folded(tower: TextTower, linear: str, norm: str, scale: float) -> tuple[Tensor, Tensor]:
    """Weight and bias of `scale * linear(norm(x))` on an x that is normalised already."""
    weight, bias = _tensor(tower, f"{linear}.weight"), _tensor(tower, f"{linear}.bias")
    return weight * _tensor(tower, f"{norm}.weight") * scale, (bias + weight @ _tensor(tower, f"{norm}.bias")) * scale


def _tensor(tower: TextTower, name: str) -> Tensor:
    """A tensor of the checkpoint, copied: the file's own memory is read only."""
    return torch.tensor(tower.tensors[name])
