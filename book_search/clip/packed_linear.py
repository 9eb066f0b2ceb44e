"""Linear layers packed for oneDNN, with the activation that follows them; knows torch's operators and no model."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

QUICK_GELU = 1.702  # x * sigmoid(1.702 x) in OpenAI's CLIP (Hendrycks and Gimpel 2016): swish of 1.702 x, over 1.702
# transformers' names of activations, as oneDNN's post-operation, its algorithm, and what its argument is scaled by.
ACTIVATIONS: dict[str, tuple[str, str, float]] = {
    "quick_gelu": ("swish", "", QUICK_GELU),
    "gelu": ("gelu", "none", 1.0),
    "gelu_pytorch_tanh": ("gelu", "tanh", 1.0),
}


@dataclass(frozen=True)
class PackedLinear:
    """A linear layer with packed weights, and an activation after it."""

    weight: Tensor
    bias: Tensor
    activation: str = "none"
    algorithm: str = ""

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor, dtype: torch.dtype, activation: str = "none", algorithm: str = "") -> Any:
        packed = torch.ops.mkldnn._reorder_linear_weight(weight.to(dtype).contiguous(), None)
        return cls(packed, bias.to(dtype), activation, algorithm)

    def __call__(self, rows: Tensor) -> Tensor:
        product: Tensor = torch.ops.mkldnn._linear_pointwise(
            rows, self.weight, self.bias, self.activation, [], self.algorithm
        )
        return product
