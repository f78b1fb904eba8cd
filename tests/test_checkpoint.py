"""Checkpoints appear whole or not at all, give back every bit, and say what is wrong with a broken one."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from torch import nn

from jobs import assert_same_bits, weights
from seqward.checkpoint import (
    Progress,
    copy_checkpoint,
    load_checkpoint,
    load_weights,
    newest_checkpoint,
    read_progress,
    replace_folder,
    save_checkpoint,
    save_weights,
)
from seqward.errors import SeqwardError

PROGRESS = Progress(step=7, events=70, phase=1, phase_events=20, seconds=1.5, best=0.25, best_step=5, stale=2)


def trained(seed: int = 0, width: int = 3) -> tuple[nn.ModuleList, torch.optim.Adam]:
    """Two networks of which one has learned for three steps: the other has no moments."""
    torch.manual_seed(seed)
    networks = nn.ModuleList([nn.Linear(width, 2), nn.Linear(width, 2)])
    optimiser = torch.optim.Adam(networks.parameters(), lr=0.1, fused=True)
    for _ in range(3):
        networks[0](torch.randn(4, width)).square().sum().backward()
        optimiser.step()
        optimiser.zero_grad()
    return networks, optimiser


def saved(folder: Path, seed: int = 0) -> tuple[nn.ModuleList, torch.optim.Adam]:
    networks, optimiser = trained(seed)
    save_checkpoint(folder, networks, optimiser, PROGRESS)
    return networks, optimiser


def refusal(folder: Path) -> str:
    with pytest.raises(SeqwardError) as error:
        load_checkpoint(folder, *trained(9))
    assert error.value.exit_status == 2
    assert len(str(error.value).splitlines()) <= 3
    return str(error.value)


def test_everything_comes_back(tmp_path: Path) -> None:
    networks, optimiser = saved(tmp_path / "last")
    others, other_optimiser = trained(1)
    assert load_checkpoint(tmp_path / "last", others, other_optimiser) == PROGRESS
    assert_same_bits(dict(networks.state_dict()), dict(others.state_dict()))
    state, other = optimiser.state_dict()["state"], other_optimiser.state_dict()["state"]
    assert state.keys() == other.keys() == {0, 1}
    for index in state:
        assert_same_bits(state[index], other[index])
    for step in range(2):
        for nets, adam in ((networks, optimiser), (others, other_optimiser)):
            torch.manual_seed(step)
            nets[0](torch.randn(4, 3)).square().sum().backward()
            adam.step()
            adam.zero_grad()
    assert_same_bits(dict(networks.state_dict()), dict(others.state_dict()))


def test_no_pickle_is_written(tmp_path: Path) -> None:
    saved(tmp_path / "last")
    names = sorted(file.name for file in (tmp_path / "last").iterdir())
    assert names == ["model.safetensors", "optimiser.safetensors", "state.json"]
    assert json.loads((tmp_path / "last" / "state.json").read_text()) == asdict(PROGRESS)


def test_a_checkpoint_replaces_the_one_before(tmp_path: Path) -> None:
    saved(tmp_path / "last", seed=0)
    networks, _ = saved(tmp_path / "last", seed=1)
    assert [folder.name for folder in tmp_path.iterdir()] == ["last"]
    others, adam = trained(2)
    load_checkpoint(tmp_path / "last", others, adam)
    assert_same_bits(dict(networks.state_dict()), dict(others.state_dict()))


@pytest.mark.parametrize("name", ["model.safetensors", "optimiser.safetensors"])
@pytest.mark.parametrize("kept", [0, 4, 60, 0.5, 0.99])
def test_cut_off_tensors_are_refused(tmp_path: Path, name: str, kept: float) -> None:
    saved(tmp_path / "last")
    file = tmp_path / "last" / name
    whole = file.read_bytes()
    file.write_bytes(whole[: int(kept * len(whole)) if kept < 1 else int(kept)])
    assert refusal(tmp_path / "last").startswith(f"{file} cannot be read (")
    assert "it was cut off or edited" in refusal(tmp_path / "last")
    file.unlink()
    assert refusal(tmp_path / "last") == (
        f"{file} is missing: the run holds no such checkpoint. Train again, or use `--resume`."
    )


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", '{"steps": 4}', '{"step": "four"}', '{"step": -1}', '{"step": 1.5}', '{"phase": null}'],
)
def test_an_edited_state_is_refused(tmp_path: Path, text: str) -> None:
    saved(tmp_path / "last")
    file = tmp_path / "last" / "state.json"
    file.write_text(text)
    message = refusal(tmp_path / "last")
    assert message.startswith(f"{file} cannot be read (")
    assert message.endswith("): the checkpoint was cut off or edited.")


def test_a_missing_state_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SeqwardError, match="cut off or edited"):
        read_progress(tmp_path)


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "last", *trained(width=5), PROGRESS)
    assert refusal(tmp_path / "last") == (
        f"{tmp_path}/last/model.safetensors holds another model: 0.weight has shape (2, 5), expected (2, 3) "
        "(2 tensors differ). It was trained on another catalogue or with other settings."
    )


def test_weights_with_other_tensors_are_refused(tmp_path: Path) -> None:
    save_weights(nn.Linear(3, 2), tmp_path / "best", {})
    with pytest.raises(SeqwardError, match=r"bias has shape \(2,\), expected None"):
        load_weights(nn.Linear(3, 2, bias=False), tmp_path / "best" / "model.safetensors")


def test_the_newest_whole_checkpoint_is_found(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path) is None
    saved(tmp_path / "last")
    assert newest_checkpoint(tmp_path) == tmp_path / "last"


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path: Path) -> None:
    """``last`` is gone, ``last.new`` whole and ``last.old`` of before: the new one counts, else the old one."""
    saved(tmp_path / "last.old", seed=0)
    networks, _ = saved(tmp_path / "last.new", seed=1)
    assert newest_checkpoint(tmp_path) == tmp_path / "last.new"
    others, adam = trained(2)
    load_checkpoint(tmp_path / "last.new", others, adam)
    assert_same_bits(dict(networks.state_dict()), dict(others.state_dict()))
    (tmp_path / "last.new" / "state.json").unlink()
    assert newest_checkpoint(tmp_path) == tmp_path / "last.old"


def test_a_kill_while_writing_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state is written last: a ``last.new`` without it is no checkpoint, and the next one starts afresh."""
    saved(tmp_path / "last", seed=0)
    before = weights(tmp_path / "last")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(OSError, match="No space"):
            saved(tmp_path / "last", seed=1)
    assert newest_checkpoint(tmp_path) == tmp_path / "last"
    assert_same_bits(weights(tmp_path / "last"), before)
    assert not (tmp_path / "last.new" / "state.json").exists()
    networks, _ = saved(tmp_path / "last", seed=2)
    assert [folder.name for folder in tmp_path.iterdir()] == ["last"]
    others, adam = trained(3)
    load_checkpoint(tmp_path / "last", others, adam)
    assert_same_bits(dict(networks.state_dict()), dict(others.state_dict()))


def test_leftovers_of_a_kill_are_cleared(tmp_path: Path) -> None:
    for name in ("last", "last.new", "last.old"):
        saved(tmp_path / name)
    saved(tmp_path / "last")
    assert [folder.name for folder in tmp_path.iterdir()] == ["last"]


def test_copies(tmp_path: Path) -> None:
    saved(tmp_path / "best")
    shutil.copytree(tmp_path / "best", tmp_path / "aside.new")
    copy_checkpoint(tmp_path / "best", tmp_path / "aside")
    saved(tmp_path / "best", seed=1)
    assert not all(
        torch.equal(a, b) for a, b in zip(*[weights(tmp_path / n).values() for n in ("best", "aside")], strict=True)
    )
    aside = weights(tmp_path / "aside")
    replace_folder(tmp_path / "best", tmp_path / "aside")
    assert_same_bits(weights(tmp_path / "best"), aside)
    assert [folder.name for folder in tmp_path.iterdir()] == ["best"]


def test_a_checkpoint_may_be_read_by_whoever_may_read_its_folder(tmp_path: Path) -> None:
    networks = nn.ModuleList([nn.Linear(2, 2)])
    save_checkpoint(tmp_path / "last", networks, torch.optim.Adam(networks.parameters()), PROGRESS)
    (plain := tmp_path / "plain").write_text("")
    modes = {file.name: file.stat().st_mode for file in (tmp_path / "last").iterdir()}
    assert modes == dict.fromkeys(("model.safetensors", "optimiser.safetensors", "state.json"), plain.stat().st_mode)
