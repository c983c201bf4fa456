"""Low-rank adaptation (Hu et al. 2106.09685): a backbone's matrices stay, and small ones beside them are learned."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from model.layers.fused_linear import FusedLinear
from model.mechanisms.base import MemoryTransformer


class LowRank(nn.Module):
    """W + B A, with A (r, in) drawn and B (out, r) zero at the start: nothing changes before something is learned.

    A matrix of several parts, `heights` rows each, has a B and an A for each of them.
    """

    def __init__(self, weight: Tensor, rank: int, heights: Sequence[int]) -> None:
        super().__init__()
        columns, device = weight.shape[1], weight.device
        self.downs = nn.ParameterList(torch.randn(rank, columns, device=device) * columns**-0.5 for _ in heights)
        self.ups = nn.ParameterList(torch.zeros(rows, rank, device=device) for rows in heights)

    def forward(self, weight: Tensor) -> Tensor:
        return weight + torch.cat([up @ down for up, down in zip(self.ups, self.downs, strict=True)])


def adapt(model: MemoryTransformer, rank: int) -> MemoryTransformer:
    """The model, its backbone frozen but for low-rank changes to the blocks' matrices; its memory learns whole."""
    for part in (model.embedding, model.position_embedding, model.blocks, model.final_norm, model.head):
        if part is not None:
            part.requires_grad_(False)
    for module in list(model.blocks.modules()):
        if isinstance(module, nn.Linear):
            heights = module.widths if isinstance(module, FusedLinear) else [module.out_features]
            parametrize.register_parametrization(module, "weight", LowRank(module.weight, rank, heights))
    return model


def merged(model: nn.Module) -> dict[str, Tensor]:
    """The weights as they would be without adaptation: every W + B A under the name of W."""
    state = {name: tensor for name, tensor in model.state_dict().items() if ".parametrizations." not in name}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and parametrize.is_parametrized(module, "weight"):
            state[f"{name}.weight"] = module.weight.detach()
    return state
