"""Checkpoints: tensors as safetensors, everything else as JSON; no pickle. A checkpoint appears whole or not at all."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from seqward.errors import SeqwardError


@dataclass
class Progress:
    """Where a training run stands. With the weights and moments, all that a resumed run needs."""

    step: int = 0
    events: int = 0
    """Training events whose loss was counted."""
    phase: int = 0
    phase_events: int = 0
    seconds: float = 0.0
    best: float | None = None
    """Best value of the declared metric."""
    best_step: int = 0
    stale: int = 0
    """Validations since the best one, in this phase."""
    validated_step: int = -1
    norm_count: int = 0
    """Gradients whose norms were seen in this phase, if train.clip_zscore is set; their running mean and variance."""
    norm_mean: float = 0.0
    norm_variance: float = 0.0
    stopped: str | None = None
    """Why the run ended; None while it has not."""
    guard: dict[str, Any] | None = None
    """What the guard has to remember."""


def finite(networks: nn.Module) -> bool:
    """Whether every weight is a finite number; what is not is never saved."""
    return all(bool(torch.isfinite(parameter).all()) for parameter in networks.parameters())


def save_checkpoint(folder: Path, networks: nn.ModuleList, optimiser: torch.optim.Adam, progress: Progress) -> None:
    """Replace ``folder`` by a checkpoint of this moment."""
    new = _fresh(folder)
    _save(networks.state_dict(), new / "model.safetensors")
    names = _names(networks, optimiser)
    moments = {
        f"{names[index]}/{key}": value
        for index, state in optimiser.state_dict()["state"].items()
        for key, value in state.items()
    }
    _save(moments, new / "optimiser.safetensors")
    (new / "state.json").write_text(json.dumps(asdict(progress), indent=2) + "\n")
    replace_folder(folder, new)


def load_checkpoint(folder: Path, networks: nn.ModuleList, optimiser: torch.optim.Adam) -> Progress:
    """Put networks and optimiser into the state of ``folder`` and return its progress.

    Raises:
        SeqwardError: the checkpoint is broken or of another model.
    """
    load_weights(networks, folder / "model.safetensors")
    device = next(networks.parameters()).device
    numbers = {name: index for index, name in enumerate(_names(networks, optimiser))}
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in _read(folder / "optimiser.safetensors").items():
        name, _, moment = key.rpartition("/")
        # Adam keeps its step counts where they were made; only moments belong to the device.
        state.setdefault(numbers[name], {})[moment] = value.to(device)
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    return read_progress(folder)


def _names(networks: nn.ModuleList, optimiser: torch.optim.Adam) -> list[str]:
    """The parameters' names in the order in which the optimiser numbers them, group after group."""
    name_of = {parameter: name for name, parameter in networks.named_parameters()}
    return [name_of[parameter] for group in optimiser.param_groups for parameter in group["params"]]


def read_progress(folder: Path) -> Progress:
    """The progress stored in a checkpoint.

    Raises:
        SeqwardError: the file is missing, cut off, or holds something else.
    """
    try:
        progress = Progress(**json.loads((folder / "state.json").read_text()))
        numbers = (progress.step, progress.events, progress.phase, progress.phase_events, progress.stale)
        if not all(isinstance(n, int) and n >= 0 for n in numbers):
            raise ValueError("a count is no whole number")
        return progress
    except (OSError, ValueError, TypeError) as error:
        raise SeqwardError(
            f"{folder}/state.json cannot be read ({error}): the checkpoint was cut off or edited."
        ) from None


def newest_checkpoint(run: Path) -> Path | None:
    """The folder of a run's last whole checkpoint; a replacement that was cut off half-way may have left it aside."""
    for name in ("last", "last.new", "last.old"):
        if (run / name / "state.json").is_file():
            return run / name
    return None


def save_weights(model: nn.Module, folder: Path, about: dict[str, Any]) -> None:
    """Replace ``folder`` by a model's weights and what is to be known of them."""
    new = _fresh(folder)
    _save(model.state_dict(), new / "model.safetensors")
    (new / "state.json").write_text(json.dumps(about, indent=2) + "\n")
    replace_folder(folder, new)


def copy_checkpoint(folder: Path, to: Path) -> None:
    """Replace ``to`` by a copy of ``folder``."""
    new = _fresh(to)
    shutil.copytree(folder, new, dirs_exist_ok=True)
    replace_folder(to, new)


def replace_folder(folder: Path, new: Path) -> None:
    """Put ``new`` in the place of ``folder``; a moment without either leaves ``folder``.old beside ``new``."""
    old = folder.with_name(folder.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def load_weights(model: nn.Module, file: Path) -> None:
    """Raises SeqwardError where the file is broken or holds another model."""
    weights = _read(file)
    if hasattr(model, "make_room"):  # a method that is fitted has buffers of the size of what it read
        model.make_room(weights)  # type: ignore[operator]
    own = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    if own != found:
        differs = sorted(name for name in own.keys() | found.keys() if own.get(name) != found.get(name))
        name = differs[0]
        raise SeqwardError(
            f"{file} holds another model: {name} has shape {found.get(name)}, expected {own.get(name)} "
            f"({len(differs)} tensors differ). It was trained on another catalogue or with other settings."
        )
    model.load_state_dict(weights)


def _read(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except FileNotFoundError:
        raise SeqwardError(
            f"{file} is missing: the run holds no such checkpoint. Train again, or use `--resume`."
        ) from None
    except Exception as error:  # safetensors raises its own type for every kind of damage
        raise SeqwardError(f"{file} cannot be read ({error}): it was cut off or edited.") from None


def _save(tensors: dict[str, Tensor], file: Path) -> None:
    # Through bytes, because ``save_file`` makes files that their owner alone may read.
    file.write_bytes(save({name: value.detach().cpu().contiguous() for name, value in tensors.items()}))


def _fresh(folder: Path) -> Path:
    new = folder.with_name(folder.name + ".new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    return new
