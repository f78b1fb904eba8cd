"""What is installed, what a light import loads, and that the tested versions are the ones that are pinned."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import seqward
from seqward.catalogue import native

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), flags=re.MULTILINE))
HEAVY = {"torch", "numpy", "polars", "narwhals", "pandas", "matplotlib", "rich"}


def modules_after(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after running ``code``."""
    script = f"{code}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}}, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def test_import_is_light() -> None:
    assert not modules_after("import seqward") & HEAVY


def test_help_is_light() -> None:
    for arguments in ([], ["--help"], ["--version"], ["train", "--help"], ["data", "--help"]):
        assert not modules_after(f"import seqward.cli; seqward.cli.main({arguments})") & HEAVY


def test_core_needs_only_torch_and_numpy() -> None:
    core = ["model", "step", "methods", "train", "catalogue", "objectives", "backbones"]
    frames = {"polars", "narwhals", "pydantic", "pandas", "typer", "matplotlib"}
    assert not modules_after("\n".join(f"import seqward.{name}" for name in core)) & frames


def test_public_names_exist() -> None:
    for name in seqward.__all__:
        assert getattr(seqward, name).__name__ == name
    with pytest.raises(AttributeError, match="module 'seqward' has no attribute 'nothing'"):
        _ = seqward.nothing


def test_every_dependency_is_pinned_to_a_version_it_allows() -> None:
    pins = {canonicalize_name(name): version for name, version in PINS.items()}
    extras = PROJECT["optional-dependencies"].values()
    for text in [*PROJECT["dependencies"], *(text for extra in extras for text in extra)]:
        requirement = Requirement(text)
        if requirement.name != "seqward":
            assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), text


def test_constraints_are_exact() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert len(PINS) == len([line for line in lines if not line.startswith("#")])


def test_training_needs_no_extra() -> None:
    optional = {Requirement(text).name for extra in PROJECT["optional-dependencies"].values() for text in extra}
    assert not optional & {Requirement(text).name for text in PROJECT["dependencies"]}


@pytest.mark.parametrize("target", ["demo", "test", "test-all", "lint", "bench", "bench-peers"])
def test_make_has_the_target(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)


def wheel_of(folder: Path, **environment: str) -> tuple[str, set[str]]:
    """The name of a wheel that is built from a fresh copy of the sources, and the names of what it holds."""
    ignore = shutil.ignore_patterns("*.so", "__pycache__", "*.egg-info")
    for part in ("src", "native"):
        shutil.copytree(ROOT / part, folder / "sources" / part, ignore=ignore)
    for part in ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / part, folder / "sources")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder)]
    subprocess.run([*pip, str(folder / "sources")], check=True, env={**os.environ, **environment})
    (wheel,) = folder.glob("*.whl")
    return wheel.name, set(zipfile.ZipFile(wheel).namelist())


@pytest.mark.skipif(shutil.which(os.environ.get("CXX", "g++").split()[0]) is None, reason="no C++ compiler here")
def test_kernels_are_there_where_there_is_a_compiler() -> None:
    """A build that fails is no error, and the tests of the kernels would be skipped."""
    assert native.found().library is not None, native.found().why


@pytest.mark.slow
def test_wheel_holds_the_package_its_kernels_and_its_licence(tmp_path: Path) -> None:
    wheel, names = wheel_of(tmp_path)
    # One build serves every Python from 3.11 on.
    assert wheel.startswith(f"seqward-{seqward.__version__}-cp311-abi3-")
    sources = {str(file.relative_to(ROOT / "src")) for file in (ROOT / "src/seqward").rglob("*.py")}
    assert sources | {"seqward/py.typed"} <= names
    assert any(name.endswith("LICENSE") for name in names)
    assert not [name for name in names if name.startswith("tests")]
    if shutil.which(os.environ.get("CXX", "g++")):
        assert [name for name in names if name.startswith("seqward/catalogue/_native")]


@pytest.mark.slow
def test_without_a_compiler_the_package_installs_all_the_same(tmp_path: Path) -> None:
    _, names = wheel_of(tmp_path, CC="false", CXX="false")
    assert "seqward/catalogue/native.py" in names
    assert not [name for name in names if name.startswith("seqward/catalogue/_native")]
