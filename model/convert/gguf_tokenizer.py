"""The tokeniser and the chat template that a GGUF file carries in its metadata, as Hugging Face's files have them."""

from __future__ import annotations

from gguf import TokenType
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

from model.convert.gguf import GgufFile
from model.convert.tensors import ForeignModelError

# By the names of tokenizer.ggml.pre: how a text is cut into the pieces that merges stay inside.
_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
PRE_TOKENIZERS = {
    "gpt-2": pre_tokenizers.ByteLevel(add_prefix_space=False),
    "smollm": pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    ),
    "llama-bpe": pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_LLAMA3), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    ),
}
_ENDS = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}


def tokenizer_json(file: GgufFile) -> str:
    """The text of tokenizer.json."""
    kind, pre = file.require("tokenizer.ggml.model"), file.get("tokenizer.ggml.pre")
    if kind != "gpt2" or pre not in PRE_TOKENIZERS:
        raise ForeignModelError(
            f"{file.path} has a tokeniser of the kind {kind!r} with the pre-tokeniser {pre!r}; supported is a "
            f"byte-level BPE, 'gpt2', with {' or '.join(map(repr, PRE_TOKENIZERS))}"
        )
    tokens: list[str] = file.require("tokenizer.ggml.tokens")
    kinds: list[int] = file.require("tokenizer.ggml.token_type")
    merges = [tuple(merge.split(" ", 1)) for merge in file.require("tokenizer.ggml.merges")]
    try:
        bpe = models.BPE(
            {token: id_ for id_, token in enumerate(tokens)},
            merges,
            # Llama 3 has tokens that its merges do not lead to.
            ignore_merges=pre == "llama-bpe",
        )
    except Exception as error:
        raise ForeignModelError(f"{file.path}: the merges do not fit the tokens: {error}") from error
    tokenizer = Tokenizer(bpe)
    tokenizer.pre_tokenizer = PRE_TOKENIZERS[pre]
    tokenizer.decoder = decoders.ByteLevel()
    # Whatever is not made of bytes must not come from a text.
    named = [token for token, kind in zip(tokens, kinds, strict=True) if kind != TokenType.NORMAL]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in named])
    return tokenizer.to_str()


def chat_template(file: GgufFile) -> tuple[str | None, dict[str, str]]:
    """The template, None where there is none, and the special tokens that a template can name."""
    tokens: list[str] = file.require("tokenizer.ggml.tokens")
    ids = {name: file.get(f"tokenizer.ggml.{theirs}_token_id") for name, theirs in _ENDS.items()}
    return file.get("tokenizer.chat_template"), {name: tokens[id_] for name, id_ in ids.items() if id_ is not None}
