"""Makes a virtual environment for each peer: python benchmarks/bench_peers.py install [NAME ...]

One folder a peer, ``benchmarks/peers/.venvs/NAME``, made one after the other; each takes 1 to 2 GB and a few minutes.
What is there already is left alone, and one that fails is told and removed and does not stop the others. torch goes in
first, at the version that Seqward is tested with, and nothing may change it: so all peers multiply with the same torch.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Annotated

import typer

HERE = Path(__file__).resolve().parent
VENVS = HERE / ".venvs"
REQUIREMENTS = HERE / "requirements"
CONSTRAINTS = HERE.parents[1] / "constraints.txt"
PEERS = sorted(file.stem for file in REQUIREMENTS.glob("*.txt"))
DONE = "installed"
"""Written last into an environment."""
NEEDED_GB = 2.5
"""Free space without which none is begun."""


def python_of(name: str) -> Path | None:
    """The interpreter of a peer's environment; None where there is none or it was not finished."""
    place = VENVS / name
    return place / "bin" / "python" if (place / DONE).is_file() else None


def install(
    names: Annotated[list[str] | None, typer.Argument(help=f"Of {', '.join(PEERS)}; all by default.")] = None,
    again: Annotated[bool, typer.Option(help="Make anew what is there.")] = False,
) -> None:
    """Make what is missing; exits with 1 where one failed."""
    if unknown := set(names or ()) - set(PEERS):
        typer.echo(f"unknown: {', '.join(sorted(unknown))}. Known: {', '.join(PEERS)}.", err=True)
        raise SystemExit(2)
    failed = [name for name in names or PEERS if not installed(name, again)]
    if failed:
        typer.echo(f"not installed: {', '.join(failed)}; the benchmark goes without.", err=True)
        raise SystemExit(1)


def installed(name: str, again: bool) -> bool:
    """Make one environment, and say whether it is there."""
    place = VENVS / name
    if python_of(name) and not again:
        typer.echo(f"{name}: is there")
        return True
    if (free := shutil.disk_usage(HERE).free / 2**30) < NEEDED_GB:
        typer.echo(f"{name}: {free:.1f} GB free, {NEEDED_GB} needed", err=True)
        return False
    typer.echo(f"{name}: installing")
    try:
        fill(place, REQUIREMENTS / f"{name}.txt")
    except subprocess.CalledProcessError as error:
        typer.echo(f"{name}: {shortened(error.stderr)}", err=True)
        shutil.rmtree(place, ignore_errors=True)
        return False
    (place / DONE).touch()
    return True


def fill(place: Path, requirements: Path) -> None:
    """A fresh environment with torch and then the peer."""
    venv.create(place, clear=True, with_pip=True)
    torch = place / "torch.txt"
    torch.write_text(pinned("torch") + "\n")
    pip = [str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", "-c", str(torch)]
    for what in (["torch"], ["-r", str(requirements)]):
        subprocess.run([*pip, *what], check=True, stdout=sys.stderr, stderr=subprocess.PIPE, text=True)


def pinned(package: str) -> str:
    """The line of ``constraints.txt`` that names the package."""
    (line,) = re.findall(rf"^{package}==\S+$", CONSTRAINTS.read_text(), flags=re.MULTILINE)
    return line


def shortened(text: str | None) -> str:
    """The last lines of what pip said."""
    return " / ".join((text or "pip failed").strip().splitlines()[-3:])
