"""The folder of a causal language model: where it is, whether it may be opened, and what identifies it.

Weights are taken from safetensors alone, because the older formats are pickles and run code when they are read; and
code that comes with a model is never run unless the user says so. Nothing here needs torch.

>>> folder = model_folder("HuggingFaceTB/SmolLM2-135M")  # a local folder is returned as it is
>>> identity(folder)
'5f1c...'
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

TOKENIZER_FILES = (
    "added_tokens.json",
    "merges.txt",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
)
_INDEX = "model.safetensors.index.json"
_SINGLE = "model.safetensors"
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


def model_folder(name: str, revision: str | None = None, trust_remote_code: bool = False) -> Path:
    """The local folder of a model: ``name`` itself, or the hub's snapshot of it (config, safetensors, tokenizer).

    Raises ValueError if it is neither a folder nor a model that the hub can give.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return path.absolute()
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    wanted = ["config.json", "generation_config.json", "model*.safetensors", _INDEX, *TOKENIZER_FILES]
    if trust_remote_code:
        wanted.append("*.py")
    try:
        # Files in subfolders are other forms of the same model.
        return Path(snapshot_download(name, revision=revision, allow_patterns=wanted, ignore_patterns=["*/*"]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"language model {name!r} is neither a local folder nor on the hub: {reason}") from None


def check_folder(folder: Path, trust_remote_code: bool = False) -> None:
    """Raises ValueError if the folder lacks a config or safetensors, or brings code that nobody vouched for."""
    if not (folder / "config.json").is_file():
        raise ValueError(f"{folder} has no config.json; expected the folder of a Hugging Face causal language model")
    if (folder / "adapter_config.json").is_file():
        raise ValueError(
            f"{folder} holds an adapter; name its base model, and the folder as `adapter` where one may "
            "be given, or merge the two and name the merged folder"
        )
    weight_files(folder)
    if trust_remote_code:
        return
    for name in ("config.json", "tokenizer_config.json"):
        if (folder / name).is_file() and _read(folder / name).get("auto_map"):
            raise ValueError(
                f"{folder / name} names code of its own (auto_map) and code is not run unasked; read that code and set "
                "trust_remote_code, or use a copy of the folder without auto_map if transformers has the architecture"
            )


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that are loaded, sorted. Raises ValueError if there are none or one of them is missing."""
    # The order in which transformers looks for them.
    if (folder / _SINGLE).is_file():
        return [folder / _SINGLE]
    if (folder / _INDEX).is_file():
        names = sorted(set(_read(folder / _INDEX).get("weight_map", {}).values()))
        missing = [name for name in names if not (folder / name).is_file()]
        if missing or not names:
            raise ValueError(f"{folder / _INDEX} lists {missing[0] if missing else 'no files'}; download it again")
        return [folder / name for name in names]
    pickles = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
    found = f"only {pickles[0]}, a pickle, which runs code when it is read" if pickles else "no weights"
    raise ValueError(
        f"{folder} has no {_SINGLE} but {found}; expected safetensors: convert it with save_pretrained, or name a "
        "revision that has them"
    )


def model_files(folder: Path, trust_remote_code: bool = False) -> list[Path]:
    """The files that decide what a model says: config, weights, tokenizer and, if it is trusted, its code. Sorted."""
    files = [folder / "config.json", *weight_files(folder)]
    files += [folder / name for name in TOKENIZER_FILES if (folder / name).is_file()]
    if not (folder / _SINGLE).is_file():
        files.append(folder / _INDEX)
    if trust_remote_code:
        files += folder.glob("*.py")
    return sorted(files)


def identity(folder: Path, trust_remote_code: bool = False) -> str:
    """sha256 over names and contents of ``model_files``, in hex: the same model elsewhere has the same identity."""
    whole = hashlib.sha256()
    for path in model_files(folder, trust_remote_code):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        whole.update(f"{path.name} {digest}\n".encode())
    return whole.hexdigest()


def _read(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from None
