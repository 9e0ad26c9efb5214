from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from digitsum import torchvision_access
from digitsum.errors import OutputExistsError, UsageError
from digitsum.files import check_checkpoint_paths, check_output, whole_file
from digitsum.torchvision_access import unreachable


def test_whole_file_is_replaced_at_the_end() -> None:
    path = Path("out.pt")
    for old, new in ((None, b"a first one, longer"), (b"a first one, longer", b"second")):
        with whole_file(path) as stream:
            stream.write(new)
            stream.flush()
            assert (path.read_bytes() if path.exists() else None) == old
        assert path.read_bytes() == new
    assert list(Path().iterdir()) == [path]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("there", [[], [Path("out.pt")]])
def test_an_exception_leaves_things_as_they_were(there: list[Path], error: type) -> None:
    def write() -> None:
        with whole_file(Path("out.pt")) as stream:
            stream.write(b"half")
            raise error

    for path in there:
        path.write_bytes(b"old")
    with pytest.raises(error):
        write()
    assert list(Path().iterdir()) == there
    assert all(path.read_bytes() == b"old" for path in there)


@pytest.mark.parametrize("overwrite", [False, True])
def test_outputs_that_cannot_be_written_are_refused(overwrite: bool, tmp_path: Path) -> None:
    check_output(Path("new.pt"), overwrite)
    with pytest.raises(UsageError, match="is a folder"):
        check_output(tmp_path, overwrite)
    with pytest.raises(UsageError, match="create the folder absent first"):
        check_output(Path("absent/out.pt"), overwrite)
    with pytest.raises(UsageError, match=r"--out cnn\.last\.pt: name a checkpoint"):
        check_checkpoint_paths(Path("cnn.last.pt"), overwrite)


@pytest.mark.parametrize("there", ["cnn.pt", "cnn.last.pt"])
def test_nothing_is_written_over_unasked(there: str) -> None:
    check_checkpoint_paths(Path("cnn.pt"), overwrite=False)
    Path(there).touch()
    check_checkpoint_paths(Path("cnn.pt"), overwrite=True)
    with pytest.raises(OutputExistsError, match=f"{there} exists: .*--overwrite"):
        check_checkpoint_paths(Path("cnn.pt"), overwrite=False)


class Handler(BaseHTTPRequestHandler):
    """Answers with the status that the path names."""

    def do_HEAD(self) -> None:
        if self.path == "/nonsense":
            self.wfile.write(b"this is not HTTP\r\n\r\n")
        else:
            self.send_response(int(self.path[1:]))
            self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "*")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.02,)).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


@pytest.mark.parametrize("status", [200, 404, 503])
def test_a_server_that_answers_is_reachable(server: str, status: int) -> None:
    assert unreachable(f"{server}/{status}") is None


def test_silence_and_a_closed_port_are_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with monkeypatch.context() as patch:
            patch.setattr(torchvision_access, "SECONDS", 0.1)
            assert str(unreachable(url)).startswith(("no answer", "no network: timed out"))
    assert "refused" in str(unreachable(url))


def test_nonsense_is_a_reason(server: str) -> None:
    assert "not HTTP" in str(unreachable(f"{server}/nonsense"))
    assert "unknown url" in str(unreachable("nonsense"))
