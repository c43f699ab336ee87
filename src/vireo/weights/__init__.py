"""Pretrained models: files of safetensors, each with a record of how it was made.

A stream names its weights by a hash of what a decoder needs of them: the exact layers' integers,
priors and steps, and networks of floats, which are kept in half precision. Those with `analysis`
in their names, which only an encoder has, are not in it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from vireo.errors import UsageError
from vireo.exact import ExactLayer, Grid

HASH_BYTES = 16
SUFFIX = ".safetensors"
FOLDERS = "VIREO_WEIGHTS"
"""The environment variable with more folders of weights, separated as in PATH."""


@dataclass(frozen=True)
class Weights:
    """A file of weights.

    Attributes:
        path: where it lies.
        name: of the model.
        identity: hash of what a decoder needs.
        lambdas: what the model's rate points were trained at, the lowest rate first.
        tensors: by name; grid numbers as integers, the rest in half precision.
    """

    path: Path
    name: str
    identity: bytes
    lambdas: tuple[float, ...]
    tensors: Mapping[str, Tensor]

    def load_into(self, model: nn.Module) -> None:
        """Fills a model; raises UsageError where it is another one's, or off its grids."""
        try:
            model.load_state_dict(self._values(model))
        except RuntimeError as error:
            raise UsageError(
                f"{self.path} has not the weights of such a model {self.name}"
            ) from error

    def start(self, model: nn.Module) -> list[str]:
        """Fills what a model, perhaps another one, has in common: names and shapes.

        Returns the names of what is left as it was. Raises UsageError for values off their grids.
        """
        own = model.state_dict()
        common = {
            name: value
            for name, value in self._values(model).items()
            if name in own and own[name].shape == value.shape
        }
        model.load_state_dict(common, strict=False)
        return [name for name in own if name not in common]

    def _values(self, model: nn.Module) -> dict[str, Tensor]:
        """All tensors in floats; raises UsageError for those that are off the model's grids."""
        grids = grids_of(model)
        state = {}
        for name, tensor in self.tensors.items():
            if name not in grids:
                state[name] = tensor.float()
                continue
            grid = grids[name]
            units = tensor.double()
            if tensor.dtype not in _WHOLE or bool(((units < grid.low) | (units > grid.high)).any()):
                raise UsageError(f"{self.path}: {name} has values that are not of its grid")
            state[name] = (units * grid.unit).float()
        return state


_WHOLE = torch.int16, torch.int32
_OPENED: dict[bytes, Weights] = {}
_NAMED_BY_CODEC = {"codebook"}


def grids_of(model: nn.Module) -> dict[str, Grid]:
    """The grid that each parameter of the decoder's side lies on, by the parameter's name."""
    grids: dict[str, Grid] = {}
    for name, module in model.named_modules():
        prefix = f"{name}." if name else ""
        if isinstance(module, ExactLayer):
            weight, bias = module.parameter_grids()
            grids |= {f"{prefix}weight": weight, f"{prefix}bias": bias}
        elif hasattr(module, "parameter_grids"):
            grids |= {prefix + k: grid for k, grid in module.parameter_grids().items()}
    return grids


def save(
    model: nn.Module, name: str, lambdas: Sequence[float], path: Path, record: Mapping[str, Any]
) -> Weights:
    """Writes a model's weights and, beside them, the record (`path` with .json)."""
    grids = grids_of(model)
    tensors = {
        key: _integers(value, grids[key]) if key in grids else value.detach().half()
        for key, value in model.state_dict().items()
    }
    _check_numbers(tensors, path)
    identity = _identity(tensors)
    metadata = {"model": name, "identity": identity.hex(), "lambdas": json.dumps(list(lambdas))}
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, metadata)
    partial.chmod(0o644)  # safetensors lets nobody else read it
    partial.replace(path)
    path.with_suffix(".json").write_text(json.dumps(dict(record), indent=1) + "\n")
    return Weights(path, name, identity, tuple(lambdas), tensors)


def load(path: Path) -> Weights:
    """Raises UsageError for what is no file of weights, or a damaged one."""
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UsageError(f"{path} is no file of weights: {error}") from error
    name, lambdas = metadata.get("model"), _read_lambdas(metadata.get("lambdas"))
    if name is None or lambdas is None:
        raise UsageError(f"{path} is no file of weights: it doesn't say of which model")
    _check_numbers(tensors, path)
    identity = _identity(tensors)
    if metadata.get("identity") != identity.hex():
        raise UsageError(f"{path} is damaged: its weights are not those that were written")
    return Weights(path, name, identity, lambdas, tensors)


def _read_lambdas(text: str | None) -> tuple[float, ...] | None:
    try:
        values = json.loads(text or "")
    except json.JSONDecodeError:
        return None
    if not isinstance(values, list) or not values:
        return None
    if not all(isinstance(v, int | float) and 0 < v <= 1 for v in values):
        return None
    return tuple(values) if values == sorted(values, reverse=True) else None


def _check_numbers(tensors: Mapping[str, Tensor], path: Path) -> None:
    for name, tensor in tensors.items():
        if tensor.is_floating_point():
            if not bool(torch.isfinite(tensor).all()):
                raise UsageError(f"{path}: {name} has values that are no numbers")
        elif tensor.dtype not in _WHOLE:
            raise UsageError(f"{path}: {name} has integers of {tensor.dtype}")


def find(identity: bytes) -> Weights:
    """The weights that a stream names; raises UsageError where they are not here."""
    if identity in _OPENED:
        return _OPENED[identity]
    for path in _files():
        if _claims(path) == identity.hex():
            return load(path)
    raise UsageError(
        f"the stream needs weights {identity.hex()} that are not here; "
        f"put their file into a folder that {FOLDERS} names"
    )


def _claims(path: Path) -> str | None:
    """The identity that a file says it has; None of what is none of ours."""
    try:
        with safe_open(path, "pt") as file:
            identity: str | None = (file.metadata() or {}).get("identity")
            return identity
    except (SafetensorError, OSError):
        return None


def named(name: str, codec: str | None = None) -> Weights:
    """The weights of a model by its name, or a file's; `find` finds them from then on.

    Files of a codec whose models share their names with another's have its name in front, as in
    `codebook-small`.

    Raises UsageError.
    """
    path = Path(name)
    if path.suffix != SUFFIX:
        known = {path.stem: path for path in reversed(_files())}
        file = f"{codec}-{name}" if codec in _NAMED_BY_CODEC else name
        if file not in known:
            there = ", ".join(sorted(known)) or "none"
            raise UsageError(f"there are no weights of {file!r}; there is {there}")
        path = known[file]
    weights = load(path)
    _OPENED[weights.identity] = weights
    return weights


def _files() -> list[Path]:
    folders = [Path(f) for f in os.environ.get(FOLDERS, "").split(os.pathsep) if f]
    folders.append(Path(__file__).parent)
    return [path for folder in folders for path in sorted(folder.glob(f"*{SUFFIX}"))]


def _integers(value: Tensor, grid: Grid) -> Tensor:
    units = torch.round(grid.nearest(value.detach().double()) * 2.0**grid.bits).to(torch.int32)
    small = units.abs().max() < 1 << 15 if units.numel() else True
    return units.to(torch.int16) if small else units


def _identity(tensors: Mapping[str, Tensor]) -> bytes:
    """Of names, shapes and values, whatever the file has between them."""
    hashed = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        if tensor.is_floating_point() and "analysis" in name:
            continue
        values = tensor.cpu().numpy().astype("<f2" if tensor.is_floating_point() else "<i4")
        hashed.update(name.encode() + b"\0" + np.array(values.shape, "<i4").tobytes())
        hashed.update(values.tobytes())
    return hashed.digest()[:HASH_BYTES]
