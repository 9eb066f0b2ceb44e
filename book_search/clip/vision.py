"""The picture half of a CLIP-like model, laid out for speed on a CPU: 8 bit pixels in, the model's vectors out.

Knows the vision transformers of CLIP and SigLIP as transformers builds them (Radford et al. 2021; Zhai et al. 2023),
and torch's oneDNN operators; nothing of files, decoding or which way is taken when. What it saves: weights are packed
once for oneDNN; the normalisation of pixels and the affine parts of LayerNorm are folded into the products that
follow them; CLIP's last layer is computed for the class token alone, the only one that is looked at.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from book_search.clip.packed_linear import ACTIVATIONS, PackedLinear


class UnknownArchitectureError(ValueError):
    """The model's picture half is not built as this module expects."""


@dataclass(frozen=True)
class _Layer:
    """A transformer layer: queries apart from keys and values only where queries are wanted for the first token."""

    first_only: bool
    query: PackedLinear | None
    mixed: PackedLinear
    out: PackedLinear
    up: PackedLinear
    down: PackedLinear
    heads: int
    eps: tuple[float, float]

    def __call__(self, residual: Tensor) -> Tensor:
        """float32 [n, tokens, width], or [n, 1, width] after a layer of which the first token alone is wanted."""
        count, tokens, width = residual.shape
        seen = self._normalised(residual, self.eps[0])
        mixed = self.mixed(seen.view(-1, width)).view(count, tokens, -1, self.heads, width // self.heads)
        mixed = mixed.permute(2, 0, 3, 1, 4).contiguous().flatten(1, 2)
        if self.query is None:
            query, key, value = mixed
        else:
            residual = residual[:, :1]
            query = self.query(seen[:, 0].contiguous()).view(count * self.heads, 1, -1)
            key, value = mixed
        attended = _attention(query, key, value).view(count, self.heads, -1, width // self.heads)
        residual = residual + self.out(attended.transpose(1, 2).reshape(-1, width)).view(residual.shape)
        seen = self._normalised(residual, self.eps[1]).view(-1, width)
        return residual.add_(self.down(self.up(seen)).view(residual.shape))

    def _normalised(self, residual: Tensor, eps: float) -> Tensor:
        return functional.layer_norm(residual, residual.shape[-1:], eps=eps).to(self.out.bias.dtype)


class PackedVision:
    """The picture half of a model in bfloat16 or float32, the residual stream always in float32.

    Args:
        model: transformers' CLIPModel or SiglipModel, in float32 on the CPU.
        mean, std: of the model's image processor, for pixels of 0 to 1.
        dtype: of the products.

    Raises:
        UnknownArchitectureError: the model is built in another way.
    """

    @torch.inference_mode()
    def __init__(self, model: Any, mean: Tensor, std: Tensor, dtype: torch.dtype) -> None:
        try:
            vision = model.vision_model
            layers, width = vision.encoder.layers, vision.config.hidden_size
            embeddings, positions = vision.embeddings, vision.embeddings.position_embedding.weight.float()
            kernel: Tensor = embeddings.patch_embedding.weight.float()
            first = getattr(embeddings, "class_embedding", None)
            self._head = vision.post_layernorm if first is not None else _SiglipHead(vision.post_layernorm, vision.head)
            self._project = model.visual_projection if first is not None else torch.nn.Identity()
            self._before = vision.pre_layrnorm if first is not None else torch.nn.Identity()
            self._layers = [_layer(layer, dtype, first is not None and layer is layers[-1]) for layer in layers]
        except (AttributeError, KeyError) as error:
            raise UnknownArchitectureError(f"{type(model).__name__}: {error}") from error
        self.dtype, self.patch = dtype, int(kernel.shape[-1])
        bias = embeddings.patch_embedding.bias
        shift = (kernel * (mean / std)[:, None, None]).sum((1, 2, 3))
        scaled = (kernel / (255 * std)[:, None, None]).permute(0, 2, 3, 1).reshape(width, -1)
        self._embed = PackedLinear.of(scaled, torch.zeros(width), dtype)
        # Added in float32 after the product: in bfloat16 the shift would lose what it has to cancel.
        patches = positions if first is None else positions[1:]
        self._positions = patches - shift + (0 if bias is None else bias.float())
        self._first = None if first is None else first.float() + positions[0]

    @torch.inference_mode()
    def __call__(self, pixels: Tensor) -> Tensor:
        """The model's image features, not yet of unit length: float32 [n, dim].

        Args:
            pixels: uint8 [n, height, width, 3], of the model's own size. Every one is exact in bfloat16.
        """
        count, side, patch = len(pixels), pixels.shape[1] // self.patch, self.patch
        cut = pixels.view(count, side, patch, side, patch * 3).transpose(2, 3).reshape(count * side * side, -1)
        embedded = self._embed(cut.to(self.dtype)).view(count, side * side, -1)
        skip = 0 if self._first is None else 1
        residual = torch.empty(count, side * side + skip, embedded.shape[-1])
        if self._first is not None:
            residual[:, 0] = self._first
        torch.add(embedded, self._positions, out=residual[:, skip:])
        residual = self._before(residual)
        for layer in self._layers:
            residual = layer(residual)
        projected: Tensor = self._project(self._head(residual[:, 0] if skip else residual))
        return projected


class _SiglipHead:
    """SigLIP's pooling by attention, as transformers has it: a small part of the work."""

    def __init__(self, norm: Any, pool: Any) -> None:
        self.norm, self.pool = norm, pool

    def __call__(self, tokens: Tensor) -> Tensor:
        pooled: Tensor = self.pool(self.norm(tokens))
        return pooled


def _layer(layer: Any, dtype: torch.dtype, first_only: bool) -> _Layer:
    attention, mlp, norms = layer.self_attn, layer.mlp, (layer.layer_norm1, layer.layer_norm2)
    activation, algorithm, scale = ACTIVATIONS[mlp.config.hidden_act]
    query = _folded(attention.q_proj, norms[0], attention.head_dim**-0.5)
    both = [_folded(part, norms[0]) for part in (attention.k_proj, attention.v_proj)]
    mixed = both if first_only else [query, *both]
    return _Layer(
        first_only=first_only,
        query=PackedLinear.of(*query, dtype) if first_only else None,
        mixed=PackedLinear.of(
            torch.cat([weight for weight, _ in mixed]), torch.cat([bias for _, bias in mixed]), dtype
        ),
        out=PackedLinear.of(attention.out_proj.weight, attention.out_proj.bias, dtype),
        up=PackedLinear.of(*_folded(mlp.fc1, norms[1], scale), dtype, activation, algorithm),
        down=PackedLinear.of(mlp.fc2.weight / scale, mlp.fc2.bias, dtype),
        heads=attention.num_heads,
        eps=(norms[0].eps, norms[1].eps),
    )


def _folded(linear: Any, norm: Any, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """Weight and bias of `scale * linear(norm(x))` on an x that is normalised already."""
    weight = linear.weight.float()
    return weight * norm.weight * scale, (linear.bias + weight @ norm.bias) * scale


def _attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention of [heads, tokens, numbers], the query scaled already; two products and a softmax in float32.

    torch's own fused attention takes two to three times as long on the few tokens of a picture.
    """
    weights = torch.bmm(query, key.transpose(1, 2)).float().softmax(-1)
    return torch.bmm(weights.to(value.dtype), value)
