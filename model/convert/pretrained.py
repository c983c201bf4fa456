"""A pretrained model, from a Hugging Face folder or from one GGUF file: settings, tensors, tokeniser, chat template."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from model.convert.assemble import read_tokenizer, text_opening
from model.convert.chat import ChatFrame, chat_frame, folder_chat_frame, special_names
from model.convert.huggingface import Settings, backbone_tensors, read_settings, settings_of
from model.convert.tensors import ForeignModelError, Inventory, read_tensors
from model.tokenizer import TextTokenizer


@dataclass(frozen=True)
class Pretrained:
    """The backbone's part of a `ModelConfig`, its tensors by our names, its tokeniser.

    `frame` is what its chat template puts around a user's message; None where it has no template. `opening` are the
    tokens that stand in front of every text where there is no template, and `eos` is what ends one.
    """

    settings: Settings
    tensors: dict[str, Tensor]
    tokenizer: TextTokenizer
    frame: ChatFrame | None
    opening: tuple[int, ...] = ()
    eos: str = ""


def read_pretrained(source: Path) -> Pretrained:
    """Raises ForeignModelError where it cannot be read whole."""
    if source.is_file():
        return _from_gguf(source)
    settings = read_settings(source)
    tensors = _taken(settings, read_tensors(source))
    tokenizer, eos = read_tokenizer(source), special_names(source).get("eos_token", "")
    return Pretrained(settings, tensors, tokenizer, folder_chat_frame(source), text_opening(source), eos)


def _from_gguf(path: Path) -> Pretrained:
    if path.suffix != ".gguf":
        raise ForeignModelError(f"{path} is neither a folder nor a .gguf file")
    try:
        from model.convert.gguf import GgufFile
        from model.convert.gguf_tokenizer import chat_template, tokenizer_json
    except ModuleNotFoundError as error:
        raise ForeignModelError(f"reading {path} needs the package {error.name}: pip install gguf") from error
    file = GgufFile(path)
    settings = settings_of(file.configuration())
    tokenizer = TextTokenizer.from_json(tokenizer_json(file))
    template, names = chat_template(file)
    frame = None if template is None else chat_frame(template, names, path)
    return Pretrained(settings, _taken(settings, file.tensors()), tokenizer, frame, eos=names.get("eos_token", ""))


def _taken(settings: Settings, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    found = Inventory(tensors)
    named = backbone_tensors(settings, found)
    found.finish()
    return named
