"""Fetching public data sets, where their terms let a program do it.

No hash stands here that was not computed: the first fetch of an archive records its sha256 in ``hashes.json`` beside
the data and says so; every later fetch must bring the same bytes.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pooch
from requests.exceptions import ConnectionError as NoConnection
from requests.exceptions import HTTPError, RequestException, Timeout

from seqward.data.files import sha256_of
from seqward.data.sources import Archive, Source, find_source
from seqward.errors import SeqwardError

HASHES = "hashes.json"
"""Archive -> sha256 of what the first fetch brought."""
TIMEOUT_S = 30


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """A data set that was fetched."""

    source: str
    path: Path
    """The file that the reader of the source takes."""
    archive: str
    sha256: str
    """Of the archive."""
    is_first: bool
    """True where nothing was known to check the archive against."""

    @property
    def message(self) -> str:
        """What was fetched, whether it was checked, and what to do next."""
        said = (
            f"no hash was known, so its sha256 {self.sha256} was recorded in {HASHES} to hold later fetches against"
            if self.is_first
            else f"its sha256 {self.sha256} is the one recorded by the first fetch"
        )
        return f"{self.archive}: {said}.\nNext: seqward prepare {self.path} --source {self.source} --out DATA"


def fetch(name: str, folder: Path | str, *, base_url: str | None = None) -> Fetched:
    """Fetch a data set into ``folder/name`` and unpack the file that its reader takes.

    Args:
        name: a name of ``sources.SOURCES``.
        folder: where data sets and ``hashes.json`` lie.
        base_url: another server than the publisher's, such as a mirror.

    Raises:
        SeqwardError: unknown name; a set that is to be downloaded by hand (says which file, and where to put it); no
            connection; no such file there; other bytes than those of the first fetch; no place to write.
    """
    source, folder = find_source(name), Path(folder)
    if source.archive is None:
        raise SeqwardError(_by_hand(source, folder / name))
    archive = source.archive
    hashes = _read_hashes(folder)
    known = hashes.get(archive.name)
    url = f"{(base_url or archive.base_url).rstrip('/')}/{archive.name}"
    file = _retrieve(url, archive, known, folder)
    try:
        path = _unpack(file, archive.member)
        sha256 = sha256_of(file)
        if known is None:
            (folder / HASHES).write_text(json.dumps(hashes | {archive.name: sha256}, indent=2) + "\n")
    except OSError as error:
        raise SeqwardError(f"{archive.name} cannot be unpacked in {file.parent}: {error.strerror or error}.") from error
    return Fetched(source=name, path=path, archive=archive.name, sha256=sha256, is_first=known is None)


def _by_hand(source: Source, folder: Path) -> str:
    return (
        f"{source.name} is to be downloaded by hand ({source.terms}).\n"
        f"Get {source.obtain} from {source.home} and put it into {folder}, then:\n"
        f"seqward prepare {folder} --source {source.name} --out DATA"
    )


def _read_hashes(folder: Path) -> dict[str, str]:
    file = folder / HASHES
    if not file.exists():
        return {}
    try:
        hashes = json.loads(file.read_text())
        if all(isinstance(value, str) for value in hashes.values()):
            return hashes
    except (ValueError, AttributeError):
        pass
    raise SeqwardError(f"{file} is no map of archives to hashes. Restore it, or remove it to record the hashes anew.")


def _retrieve(url: str, archive: Archive, known: str | None, folder: Path) -> Path:
    """The archive under ``folder``, from there if its hash is right, else from ``url``."""
    pooch.get_logger().setLevel("WARNING")  # it would tell the user to paste the hash into code
    target = folder / Path(archive.name).stem
    downloader: Any = pooch.HTTPDownloader(timeout=TIMEOUT_S)  # its parameters are not named as pooch's own type says
    expected = None if known is None else f"sha256:{known}"
    try:
        return Path(pooch.retrieve(url, expected, fname=archive.name, path=target, downloader=downloader))
    except HTTPError as error:
        raise SeqwardError(
            f"{error}.\nHas the publisher moved the file? Its page is named by `seqward data list`."
        ) from error
    except Timeout as error:
        raise SeqwardError(f"{url} did not answer within {TIMEOUT_S} s. Try again later.") from error
    except NoConnection as error:
        raise SeqwardError(f"No connection to {url}. Is this machine online, and the address right?") from error
    except RequestException as error:
        raise SeqwardError(f"The download of {url} broke off: {error}. Try again.") from error
    except ValueError as error:
        raise SeqwardError(
            f"{url} is not the file of the first fetch (sha256 {known}): nothing was kept.\n"
            f"If its publisher has released another, remove {archive.name} from {folder / HASHES} and fetch again."
        ) from error
    except OSError as error:
        raise SeqwardError(f"{target} cannot be written: {error.strerror or error}.") from error


def _unpack(file: Path, member: str) -> Path:
    """The file ``member`` of the archive, beside it; an archive without it is removed."""
    path = file.with_name(Path(member).name)
    unfinished = path.with_name(path.name + ".part")
    try:
        with zipfile.ZipFile(file) as archive, archive.open(member) as packed, unfinished.open("wb") as out:
            shutil.copyfileobj(packed, out)
        return unfinished.replace(path)
    except (zipfile.BadZipFile, KeyError) as error:
        file.unlink()
        raise SeqwardError(f"What came as {file.name} is no zip archive with {member} in it: removed.") from error
    finally:
        unfinished.unlink(missing_ok=True)
