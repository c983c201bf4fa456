"""The sentence encoder against transformers' own BERT with random weights."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel

from model.evaluation.finding.dense import SentenceEncoder, installed


@pytest.fixture
def archive(tmp_path: Path) -> tuple[Path, BertModel]:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefghij"]
    tokenizer = Tokenizer(models.WordPiece({word: id_ for id_, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words), hidden_size=24, num_hidden_layers=2, num_attention_heads=12, intermediate_size=48
    )
    bert = BertModel(config, add_pooling_layer=False)
    bert.train(False)
    save_file(bert.state_dict(), tmp_path / "model.safetensors")
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as files:
        files.write(tmp_path / "model.safetensors", "model.safetensors")
        files.writestr("tokenizer.json", tokenizer.to_str())
    return tmp_path / "model.zip", bert


def test_vectors_are_the_normalised_means_of_berts_last_layer(archive: tuple[Path, BertModel]) -> None:
    path, bert = archive
    ids = {"a b": [2, 4, 5, 3], "c": [2, 6, 3], "j j a b c d": [2, 13, 13, 4, 5, 6, 7, 3]}
    with torch.inference_mode():
        means = torch.cat([bert(torch.tensor([each])).last_hidden_state.mean(1) for each in ids.values()])
    wanted = torch.nn.functional.normalize(means, dim=-1)
    torch.testing.assert_close(SentenceEncoder(path).encode(list(ids)), wanted, atol=1e-5, rtol=0)


def test_a_long_text_is_cut(archive: tuple[Path, BertModel]) -> None:
    encoder = SentenceEncoder(archive[0])
    assert encoder.encode(["a b " * 400]).tolist() == encoder.encode(["a b " * 900]).tolist()


def test_a_wheel_that_is_not_installed_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.evaluation.finding.dense._PACKAGE", "no_such_package_at_all")
    assert installed() is None
