"""Fetching from a server on this machine: success, other bytes, no file, no server; and what is to be got by hand."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import shutil
import socket
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import IO

import pytest

from seqward.data.fetch import HASHES, fetch
from seqward.data.sources import SOURCES, read_source
from seqward.errors import SeqwardError

RATINGS = "1::31::5::900000060\n1::42::3::900000109\n"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        pass


class Server:
    """What a publisher offers; ``url`` is its address."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def offer(self, name: str, files: dict[str, str]) -> str:
        """Offer a zip archive; returns its sha256."""
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for member, text in files.items():
                archive.writestr(member, text)
        (self.folder / name).write_bytes(packed.getvalue())
        return hashlib.sha256(packed.getvalue()).hexdigest()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (tmp_path / "server").mkdir()
    server = Server(tmp_path / "server")
    thread = threading.Thread(target=server.http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.http.shutdown()
    server.http.server_close()
    thread.join()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def test_the_first_fetch_records_the_hash_and_says_so(server: Server, data: Path) -> None:
    sha256 = server.offer("ml-1m.zip", {"ml-1m/ratings.dat": RATINGS, "ml-1m/README": "terms"})
    fetched = fetch("ml-1m", data, base_url=server.url)
    assert fetched.is_first
    assert fetched.message == (
        f"ml-1m.zip: no hash was known, so its sha256 {sha256} was recorded in hashes.json "
        "to hold later fetches against.\n"
        f"Next: seqward prepare {data / 'ml-1m' / 'ratings.dat'} --source ml-1m --out DATA"
    )
    assert json.loads((data / HASHES).read_text()) == {"ml-1m.zip": sha256}
    log, _ = read_source("ml-1m", data / "ml-1m")
    assert log.n_events == 2


def test_a_later_fetch_is_checked_and_needs_no_server_while_the_archive_is_whole(server: Server, data: Path) -> None:
    sha256 = server.offer("ml-100k.zip", {"ml-100k/u.data": "1\t2\t3\t4\n"})
    fetch("ml-100k", data, base_url=server.url)
    (server.folder / "ml-100k.zip").unlink()
    again = fetch("ml-100k", data, base_url=server.url)
    assert not again.is_first
    assert f"its sha256 {sha256} is the one recorded by the first fetch" in again.message


def test_hashes_of_several_sets_stand_beside_each_other(server: Server, data: Path) -> None:
    server.offer("ml-100k.zip", {"ml-100k/u.data": "1\t2\t3\t4\n"})
    server.offer("ml-1m.zip", {"ml-1m/ratings.dat": RATINGS})
    for name in ("ml-100k", "ml-1m"):
        fetch(name, data, base_url=server.url + "/")
    assert list(json.loads((data / HASHES).read_text())) == ["ml-100k.zip", "ml-1m.zip"]


def test_a_changed_file_is_refused(server: Server, data: Path) -> None:
    first = server.offer("ml-1m.zip", {"ml-1m/ratings.dat": RATINGS})
    fetch("ml-1m", data, base_url=server.url)
    shutil.rmtree(data / "ml-1m")
    server.offer("ml-1m.zip", {"ml-1m/ratings.dat": RATINGS + "9::9::9::9\n"})
    with pytest.raises(
        SeqwardError, match=rf"is not the file of the first fetch \(sha256 {first}\): nothing was kept"
    ) as error:
        fetch("ml-1m", data, base_url=server.url)
    assert f"remove ml-1m.zip from {data / HASHES} and fetch again" in str(error.value)
    assert list((data / "ml-1m").iterdir()) == []
    assert json.loads((data / HASHES).read_text()) == {"ml-1m.zip": first}


def test_an_archive_edited_on_disk_is_fetched_again(server: Server, data: Path) -> None:
    server.offer("ml-1m.zip", {"ml-1m/ratings.dat": RATINGS})
    path = fetch("ml-1m", data, base_url=server.url).path
    (data / "ml-1m" / "ml-1m.zip").write_bytes(b"PK edited")
    path.write_text("edited")
    assert fetch("ml-1m", data, base_url=server.url).path.read_text() == RATINGS


def test_a_file_that_is_not_there_is_told(server: Server, data: Path) -> None:
    with pytest.raises(
        SeqwardError, match=r"404 Client Error: File not found for url: http.*/ml-1m\.zip\.\nHas the publisher"
    ):
        fetch("ml-1m", data, base_url=server.url)
    assert not (data / HASHES).exists()


def test_a_refused_connection_is_told(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        with pytest.raises(SeqwardError, match=rf"No connection to http://127\.0\.0\.1:{port}/ml-1m\.zip"):
            fetch("ml-1m", data, base_url=f"http://127.0.0.1:{port}")


@pytest.mark.parametrize("content", [b"<html>Please log in</html>", None])
def test_a_page_instead_of_the_archive_leaves_nothing_behind(server: Server, data: Path, content: bytes | None) -> None:
    if content is None:
        server.offer("ml-1m.zip", {"other.txt": "x"})
    else:
        (server.folder / "ml-1m.zip").write_bytes(content)
    with pytest.raises(
        SeqwardError, match=r"What came as ml-1m\.zip is no zip archive with ml-1m/ratings\.dat in it: removed"
    ):
        fetch("ml-1m", data, base_url=server.url)
    assert list((data / "ml-1m").iterdir()) == []
    assert not (data / HASHES).exists()


def test_a_full_disk_leaves_no_half_file(server: Server, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(packed: object, out: IO[bytes]) -> None:
        out.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    server.offer("ml-1m.zip", {"ml-1m/ratings.dat": RATINGS})
    monkeypatch.setattr("seqward.data.fetch.shutil", SimpleNamespace(copyfileobj=fill))
    with pytest.raises(SeqwardError, match=r"ml-1m\.zip cannot be unpacked in .*ml-1m: No space left on device"):
        fetch("ml-1m", data, base_url=server.url)
    assert [file.name for file in (data / "ml-1m").iterdir()] == ["ml-1m.zip"]
    assert not (data / HASHES).exists()


def test_a_download_that_breaks_off_is_told(server: Server, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.offer("ml-1m.zip", {"ml-1m/ratings.dat": RATINGS})
    monkeypatch.setattr(Quiet, "copyfile", lambda self, source, out: out.write(source.read(20)))
    with pytest.raises(SeqwardError, match=r"The download of .*/ml-1m\.zip broke off: .*Try again"):
        fetch("ml-1m", data, base_url=server.url)
    assert list((data / "ml-1m").iterdir()) == []


def test_a_place_that_cannot_be_written_is_told(server: Server, tmp_path: Path) -> None:
    server.offer("ml-1m.zip", {"ml-1m/ratings.dat": RATINGS})
    (tmp_path / "file").write_text("x")
    with pytest.raises(SeqwardError, match="cannot be written"):
        fetch("ml-1m", tmp_path / "file", base_url=server.url)


@pytest.mark.parametrize("text", ["{", "[]", '{"ml-1m.zip": 3}'])
def test_a_broken_list_of_hashes_is_refused(data: Path, text: str) -> None:
    data.mkdir()
    (data / HASHES).write_text(text)
    with pytest.raises(SeqwardError, match=r"hashes\.json is no map of archives to hashes"):
        fetch("ml-1m", data)


@pytest.mark.parametrize("name", [name for name, source in SOURCES.items() if source.archive is None])
def test_what_a_program_may_not_fetch_is_said_with_file_place_and_next_step(name: str, data: Path) -> None:
    source = SOURCES[name]
    with pytest.raises(SeqwardError, match="is to be downloaded by hand") as error:
        fetch(name, data)
    lines = str(error.value).splitlines()
    assert len(lines) == 3
    assert source.obtain in lines[1] and source.home in lines[1] and f"put it into {data / name}" in lines[1]
    assert lines[2] == f"seqward prepare {data / name} --source {name} --out DATA"
    assert not data.exists()


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(SeqwardError, match=r"No source 'ml1m'.*Did you mean 'ml-1m'\?"):
        fetch("ml1m", "data")
