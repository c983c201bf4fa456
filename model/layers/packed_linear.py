"""Linear maps of fixed weights, packed for the processor: of half the size or a quarter, and with no float32 copy.

`int8` keeps each row of the matrix in 8 bits with a scale, and feeds it each input row in two parts of 7 bits, so that
the rounding of inputs is lost in that of the weights. Sums are exact in int32: a row's result does not depend on
the rows beside it. 7 bits, because processors without VNNI add pairs of products in 16 bits.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Packing = Literal["float32", "float16", "bfloat16", "int8"]
# x (M, in) times a packed matrix (out, in), transposed: (M, out) in float32.
Product = Callable[[Tensor], Tensor]

# Input rows are rounded to steps of 1 / STEPS of their largest value, what is left over to 1 / (2 * STEPS) of a step.
STEPS = 63
WEIGHT_STEPS = 127
ENGINE = "fbgemm"
# No input row is divided by zero.
SMALLEST = 1e-30
# So many input rows, a batch of decode, are multiplied as few, more of them as many.
FEW_ROWS = 8


class Float32Product:
    """Nothing is packed."""

    def __init__(self, weight: Tensor) -> None:
        self._weight = weight

    def __call__(self, rows: Tensor) -> Tensor:
        return F.linear(rows, self._weight)


class Float16Product:
    """Weights in float16, sums in float32."""

    def __init__(self, weight: Tensor) -> None:
        limit = torch.finfo(torch.float16).max
        with _engine():
            self._packed = torch.ops.quantized.linear_prepack_fp16(weight.float().clamp(-limit, limit), None)

    def __call__(self, rows: Tensor) -> Tensor:
        return torch.ops.quantized.linear_dynamic_fp16(rows, self._packed)  # type: ignore[no-any-return]


class BFloat16Product:
    """Weights and inputs in bfloat16, as processors with AVX-512 BF16 or AMX multiply them."""

    def __init__(self, weight: Tensor) -> None:
        self._weight = weight.to(torch.bfloat16)

    def __call__(self, rows: Tensor) -> Tensor:
        return F.linear(rows.to(torch.bfloat16), self._weight).float()


class Int8Product:
    """Weights in 8 bits by row, inputs in two parts of 7 bits by row, sums in int32."""

    def __init__(self, weight: Tensor) -> None:
        weight = weight.float()
        scales = (weight.abs().amax(dim=1) / WEIGHT_STEPS).clamp_min(SMALLEST)
        steps = (weight / scales[:, None]).round().to(torch.int8)
        zeros = torch.zeros(len(scales), dtype=torch.int64)
        with _engine():
            whole = torch._make_per_channel_quantized_tensor(steps, scales.double(), zeros, 0)
            self._packed = torch.ops.quantized.linear_prepack(whole, None)

    def __call__(self, rows: Tensor) -> Tensor:
        count = len(rows)
        sizes = torch.linalg.vector_norm(rows, float("inf"), dim=1, keepdim=True).clamp_min_(SMALLEST)
        parts = rows.new_empty(2, *rows.shape)
        scaled, rest = torch.div(rows, sizes, out=parts[0]), parts[1]
        torch.sub(scaled, torch.fake_quantize_per_tensor_affine(scaled, 1 / STEPS, 0, -STEPS, STEPS), out=rest)
        rest.mul_(2 * STEPS)
        made = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(
            parts.flatten(0, 1), 1 / STEPS, STEPS + 1, self._packed
        )
        return torch.add(made[:count], made[count:], alpha=1 / (2 * STEPS)).mul_(sizes)


PRODUCTS: Mapping[Packing, Callable[[Tensor], Product]] = {
    "float32": Float32Product,
    "float16": Float16Product,
    "bfloat16": BFloat16Product,
    "int8": Int8Product,
}


class PackedLinear(nn.Module):
    """In place of nn.Linear where weights learn no more: x (..., in), float32, to (..., out).

    Few rows take as long as the matrix takes to be fetched, many as long as the sums: the packing may differ.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, many: Packing, few: Packing) -> None:
        super().__init__()
        self.in_features, self.out_features = weight.shape[1], weight.shape[0]
        self.bias = None if bias is None else nn.Parameter(bias.detach().float(), requires_grad=False)
        self._many = PRODUCTS[many](weight.detach())
        self._few = self._many if few == many else PRODUCTS[few](weight.detach())

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, self.in_features)
        made = (self._few if len(rows) <= FEW_ROWS else self._many)(rows)
        if self.bias is not None:
            made += self.bias
        return made.view(*x.shape[:-1], self.out_features)


def pack(module: nn.Module, many: Packing, few: Packing) -> None:
    """Replaces every nn.Linear in the module; each matrix is freed before the next is packed."""
    for name in [name for name, each in module.named_modules() if isinstance(each, nn.Linear)]:
        linear = module.get_submodule(name)
        assert isinstance(linear, nn.Linear)
        module.set_submodule(name, PackedLinear(linear.weight, linear.bias, many, few))


def packings() -> tuple[Packing, ...]:
    """Those that this processor can compute, the exact one first."""
    of_engine: tuple[Packing, ...] = ("float16", "int8") if ENGINE in torch.backends.quantized.supported_engines else ()
    native: tuple[Packing, ...] = ("bfloat16",) if torch.ops.mkldnn._is_mkldnn_bf16_supported() else ()
    return ("float32", *native, *of_engine)


@contextmanager
def _engine() -> Iterator[None]:
    """Packs by fbgemm, whatever torch would choose; its warning that quantized tensors will leave torch is known."""
    before = torch.backends.quantized.engine
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*quantized tensor creation.*", UserWarning)
        torch.backends.quantized.engine = ENGINE
        try:
            yield
        finally:
            torch.backends.quantized.engine = before
