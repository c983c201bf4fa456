"""Low-rank adaptation (Hu et al. 2106.09685): a backbone's matrices stay, and small ones beside them are learned.

It knows modules and their matrices, and nothing of batches or optimisers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from model.mechanisms.base import MemoryTransformer


class LowRank(nn.Module):
    """W + B A, with A (r, in) drawn and B (out, r) zero at the start: nothing changes before something is learned."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        rows, columns = weight.shape
        self.down = nn.Parameter(torch.randn(rank, columns, device=weight.device) * columns**-0.5)
        self.up = nn.Parameter(torch.zeros(rows, rank, device=weight.device))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.up @ self.down


def adapt(model: MemoryTransformer, rank: int) -> MemoryTransformer:
    """The model, its backbone frozen but for low-rank changes to the blocks' matrices; its memory learns whole."""
    for part in (model.embedding, model.position_embedding, model.blocks, model.final_norm, model.head):
        if part is not None:
            part.requires_grad_(False)
    for module in list(model.blocks.modules()):
        if isinstance(module, nn.Linear):
            parametrize.register_parametrization(module, "weight", LowRank(module.weight, rank))
    return model


def merged(model: nn.Module) -> dict[str, Tensor]:
    """The weights as they would be without adaptation: every W + B A under the name of W."""
    state = {name: tensor for name, tensor in model.state_dict().items() if ".parametrizations." not in name}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and parametrize.is_parametrized(module, "weight"):
            state[f"{name}.weight"] = module.weight.detach()
    return state
