"""Downloads: from a server on this machine, whole and as published, or not at all."""

import hashlib
import io
import os
import socket
import stat
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from datasets import downloads
from datasets.downloads import Download, PublishedFile, check_present, complete
from datasets.errors import InputError

TABLE = bytes(range(256)) * 5000
LIST = b"3 4 17\n"


def zipped(**members: bytes) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return archive.getvalue()


class Server:
    """Serves `answers`: path -> status, length that it declares, and body."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, int | None, bytes]] = {}
        answers = self.answers

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, length, body = answers[self.path]
                self.send_response(status)
                if length is not None:
                    self.send_header("Content-Length", str(length))
                self.end_headers()
                self.wfile.write(body)

            def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
                del code, size  # in silence

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def answer(self, path: str, body: bytes, status: int = 200) -> None:
        self.answers[path] = (status, len(body), body)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """One that answers with the published content."""
    monkeypatch.setenv("no_proxy", "*")
    server = Server()
    server.answer("/all.zip", zipped(table=TABLE, other=b"not asked for"))
    server.answer("/7", LIST)
    thread = threading.Thread(target=server.http.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.http.shutdown()
    server.http.server_close()
    thread.join()


def published(name: str, content: bytes) -> PublishedFile:
    return PublishedFile(name, len(content), hashlib.sha256(content).hexdigest())


def wanted(server: Server) -> list[Download]:
    return [
        Download(f"{server.url}/all.zip", "all.zip", [published("table", TABLE)]),
        Download(f"{server.url}/7", "list.txt", [published("list.txt", LIST)]),
    ]


def completed(server: Server, folder: Path) -> list[str]:
    """Completes the folder; returns what was said."""
    said: list[str] = []
    complete(wanted(server), folder, said.append, "or do without")
    return said


def test_missing_files_are_downloaded_unpacked_and_told(server: Server, tmp_path: Path, capfd):
    said = completed(server, tmp_path / "raw")
    assert (tmp_path / "raw" / "table").read_bytes() == TABLE
    assert (tmp_path / "raw" / "list.txt").read_bytes() == LIST
    assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == ["list.txt", "table"]
    assert said == [
        f"downloaded {server.url}/all.zip, 0.0 MB",
        f"downloaded {server.url}/7, 0.0 MB",
    ]
    assert capfd.readouterr() == ("", ""), "no bar where there is no terminal"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_a_bar(server: Server, tmp_path: Path, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    completed(server, tmp_path)
    assert "download all.zip:   0%|" in terminal.getvalue()
    assert "/7.00 [" in terminal.getvalue(), "bytes of list.txt"


def test_the_files_may_be_read_by_whom_the_umask_lets(server: Server, tmp_path: Path):
    before = os.umask(0o022)
    try:
        completed(server, tmp_path)
    finally:
        os.umask(before)
    for name in ("table", "list.txt"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o644, name


def test_a_server_that_does_not_tell_the_length_is_fine(server: Server, tmp_path: Path):
    server.answers["/7"] = (200, None, LIST)
    completed(server, tmp_path)
    assert (tmp_path / "list.txt").read_bytes() == LIST


def test_what_is_there_is_not_downloaded_again(server: Server, tmp_path: Path):
    completed(server, tmp_path)
    server.answers.clear()
    assert completed(server, tmp_path) == []


def test_an_archive_that_the_user_saved_is_unpacked_and_kept(server: Server, tmp_path: Path):
    (tmp_path / "all.zip").write_bytes(zipped(table=TABLE))
    del server.answers["/all.zip"]
    assert len(completed(server, tmp_path)) == 1
    assert (tmp_path / "table").read_bytes() == TABLE
    assert (tmp_path / "all.zip").is_file()


def refusal(server: Server, folder: Path) -> str:
    with pytest.raises(InputError) as error:
        completed(server, folder)
    assert "\n" not in str(error.value)
    assert not (folder / "table").exists() or (folder / "table").read_bytes() == TABLE
    assert [path.name for path in folder.iterdir() if path.name not in ("table", "all.zip")] == []
    return str(error.value)


def test_an_address_that_is_gone_is_named_with_what_to_do(server: Server, tmp_path: Path):
    server.answer("/7", b"", status=403)
    assert refusal(server, tmp_path) == (
        f"cannot download {server.url}/7 (Forbidden): save {server.url}/7 as list.txt into "
        f"{tmp_path} and give the same command; or do without"
    )
    assert (tmp_path / "table").is_file(), "what came before stays"


def test_a_connection_that_closes_early_leaves_nothing(server: Server, tmp_path: Path):
    server.answers["/7"] = (200, 100, LIST)
    assert "the connection closed after 7 of 100 bytes" in refusal(server, tmp_path)


def test_a_server_that_is_away_is_named_with_the_system_s_reason(server: Server, tmp_path: Path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        away = f"http://127.0.0.1:{unused.getsockname()[1]}/7"
    download = Download(away, "list.txt", [published("list.txt", LIST)])
    with pytest.raises(InputError) as error:
        complete([download], tmp_path, print, "or do without")
    assert str(error.value) == (
        f"cannot download {away} ([Errno 111] Connection refused): save {away} as list.txt into "
        f"{tmp_path} and give the same command; or do without"
    )
    assert [*tmp_path.iterdir()] == []


def test_a_server_that_falls_silent_is_given_up(server: Server, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(downloads, "TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server.url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        (tmp_path / "table").write_bytes(TABLE)
        assert "/7 (timed out): save " in refusal(server, tmp_path)


def test_another_content_than_the_published_leaves_nothing(server: Server, tmp_path: Path):
    server.answer("/7", LIST[::-1])
    said = refusal(server, tmp_path)
    assert said.startswith("list.txt has the wrong checksum: its SHA-256 is ")
    assert said.endswith(f"this came from {server.url}/7: try again later")


def test_another_content_within_an_archive_leaves_nothing(server: Server, tmp_path: Path):
    server.answer("/all.zip", zipped(table=TABLE[:-1]))
    assert "table is truncated: it has 1,279,999 bytes" in refusal(server, tmp_path)


BROKEN = {
    "no archive": lambda _: b"<html>",
    "cut off": lambda archive: archive[:-30],
    "flipped": lambda archive: archive[:300] + b"????" + archive[304:],
    "without the file": lambda _: zipped(chair=TABLE),
    "locked": lambda archive: archive.replace(b"PK\1\2\x14\3\x14\0\0", b"PK\1\2\x14\3\x14\0\1"),
}


@pytest.mark.parametrize("case", BROKEN)
@pytest.mark.parametrize("saved", [False, True])
def test_a_broken_archive_leaves_nothing(case: str, saved: bool, server: Server, tmp_path: Path):
    broken = BROKEN[case](zipped(table=TABLE))
    server.answer("/all.zip", broken)
    if saved:
        (tmp_path / "all.zip").write_bytes(broken)
    said = refusal(server, tmp_path)
    assert said.startswith("all.zip cannot be unpacked (")
    assert said.endswith(
        f"remove {tmp_path / 'all.zip'} and it is downloaded again" if saved else "try again later"
    )


def test_files_that_lie_there_are_checked_and_missing_ones_are_not(server: Server, tmp_path: Path):
    check_present(wanted(server), tmp_path)
    (tmp_path / "table").write_bytes(TABLE + b"!")
    with pytest.raises(InputError, match=r"table is another file: it has 1,280,001 bytes, expect"):
        check_present(wanted(server), tmp_path)
