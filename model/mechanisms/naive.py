"""The papers' equations in plain loops and float64: the twins that every fast path is compared with.

They share the weights with `model/mechanisms` and no line of computation; nothing here is fast.
"""

from __future__ import annotations

from model.config import Mechanism
from model.mechanisms.armt_naive import ArmtReference
from model.mechanisms.delta_naive import DeltaReference
from model.mechanisms.memformer_naive import MemformerReference
from model.mechanisms.rmt_naive import RmtReference

Reference = DeltaReference | ArmtReference | RmtReference | MemformerReference

REFERENCES: dict[Mechanism, type[Reference]] = {
    "delta": DeltaReference,
    "armt": ArmtReference,
    "rmt": RmtReference,
    "memformer": MemformerReference,
}
