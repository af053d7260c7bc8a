"""test-server as the few commands that pods of tests need, tar for `kubectl cp` among them."""

from __future__ import annotations

import io
import os
import signal
import tarfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import pytest

from pytest_kubernix.binaries import builder, bundles
from pytest_kubernix.binaries.cache import Cache
from tests.integration.binaries_tools import LIMIT, is_idle, run, running, wait_until

pytestmark = [pytest.mark.builds, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def programs() -> Path:
    """The directory of the built programs, from the user's cache."""
    return builder.build(bundles.programs(), Cache())


class TestCommands:
    """test-server as the few commands that pods of tests need."""

    @pytest.fixture
    def tool(self, programs: Path) -> Callable[..., tuple[int, bytes, bytes]]:
        """Run one command of it."""
        return lambda *arguments, stdin=b"": run([programs / "test-server", *arguments], stdin)

    def test_print_exit_env_and_files(self, tool: Callable[..., tuple[int, bytes, bytes]], tmp_path: Path) -> None:
        """Each simple command does what its name says."""
        path = str(tmp_path / "file")
        assert tool("print", "a", "b") == (0, b"a b\n", b"")
        assert tool("exit", "7")[0] == 7
        assert b"PATH=" in tool("env")[1]
        assert tool("write", path, "some", "text")[0] == 0
        assert tool("cat", path)[1] == b"some text\n"
        assert tool("write", path, stdin=b"from stdin")[0] == 0
        assert tool("cat", path)[1] == b"from stdin"
        assert tool("ls", str(tmp_path))[1] == b"file\n"
        assert (tool("test", "-d", str(tmp_path))[0], tool("test", "-d", path)[0]) == (0, 1)

    @pytest.mark.parametrize(
        "arguments",
        [["exit"], ["exit", "x"], ["exit", "256"], ["cat", "/no/such/file"], ["sleep", "long"],
         ["write"], ["tar", "z"], ["unknown"], ["get"], ["resolve", "no-such-host.invalid"]],
    )  # fmt: skip
    def test_mistakes_are_errors(self, tool: Callable[..., tuple[int, bytes, bytes]], arguments: list[str]) -> None:
        """What can't be done ends with a code and a line on standard error."""
        code, _, error = tool(*arguments)
        assert (code != 0, b"test-server: " in error) == (True, True)

    def test_get_and_resolve(self, programs: Path, tool: Callable[..., tuple[int, bytes, bytes]]) -> None:
        """`get` prints what a URL answers and fails with the status; `resolve` prints addresses."""
        with running([programs / "test-server", "-port", "0"]) as process:
            assert process.stdout is not None
            port = process.stdout.readline().rpartition(":")[2].strip()
            assert tool("get", f"http://localhost:{port}/healthz") == (0, b"ok\n", b"")
            assert tool("get", f"http://localhost:{port}/nowhere")[0] == 1
        assert set(tool("resolve", "localhost")[1].split()) & {b"127.0.0.1", b"::1"}

    def test_sleep_ends_in_time_or_on_sigterm(self, programs: Path) -> None:
        """Sleep ends by itself, and early when it is told to, as a container's first process must."""
        assert run([programs / "test-server", "sleep", "0.01"])[0] == 0
        codes = [-signal.SIGTERM]
        # Nothing outside shows the moment from which a signal is handled; before it, SIGTERM just kills.
        while codes[-1] == -signal.SIGTERM and len(codes) < 50:
            with running([programs / "test-server", "sleep", "infinity"]) as process:
                wait_until(partial(is_idle, process.pid), "sleep to sleep")
                process.terminate()
                codes.append(process.wait(LIMIT))
        assert codes[-1] == 128 + signal.SIGTERM

    def test_acts_by_the_name_it_is_called_under(self, programs: Path, tmp_path: Path) -> None:
        """A link named cat is cat."""
        (tmp_path / "cat").symlink_to(programs / "test-server")
        assert run([tmp_path / "cat"], b"through") == (0, b"through", b"")

    def test_tar_creates_what_kubectl_cp_reads(
        self, tool: Callable[..., tuple[int, bytes, bytes]], tmp_path: Path
    ) -> None:
        """`tar cf - PATH` archives files, folders and links under their path, without the leading slash."""
        folder = tmp_path / "folder"
        (folder / "below").mkdir(parents=True)
        (folder / "below" / "file").write_bytes(b"content" * 1000)
        (folder / "link").symlink_to("below/file")
        os.mkfifo(folder / "pipe")
        code, archive, _ = tool("tar", "cf", "-", str(folder))
        assert code == 0
        name = str(folder).lstrip("/")
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            assert sorted(tar.getnames()) == [name, f"{name}/below", f"{name}/below/file", f"{name}/link"]
            assert tar.getmember(f"{name}/link").linkname == "below/file"
            content = tar.extractfile(f"{name}/below/file")
            assert content is not None
            assert content.read() == b"content" * 1000

    def test_tar_extracts_what_kubectl_cp_writes(
        self, tool: Callable[..., tuple[int, bytes, bytes]], tmp_path: Path
    ) -> None:
        """`tar -xmf - -C DIR` makes files with their modes, also in folders that the archive doesn't name."""
        (tmp_path / "file").write_bytes(b"old and longer")
        archive = make_archive({"file": b"new", "deep/er/file": b"\0" * 100_000})
        assert tool("tar", "-xmf", "-", "-C", str(tmp_path), stdin=archive) == (0, b"", b"")
        assert (tmp_path / "file").read_bytes() == b"new"
        assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640
        assert (tmp_path / "deep" / "er" / "file").stat().st_size == 100_000

    def test_tar_gives_back_what_it_was_given(
        self, tool: Callable[..., tuple[int, bytes, bytes]], tmp_path: Path
    ) -> None:
        """A folder archived and extracted elsewhere is the same, times included without `m`."""
        for name in ("from", "to"):
            (tmp_path / name).mkdir()
        (tmp_path / "from" / "file").write_bytes(b"x")
        os.utime(tmp_path / "from" / "file", (1_000_000_000, 1_000_000_000))
        archive = tool("tar", "-c", "-f", "-", "-C", str(tmp_path / "from"), "file")[1]
        assert tool("tar", "xf", "-", "-C", str(tmp_path / "to"), stdin=archive)[0] == 0
        assert (tmp_path / "to" / "file").stat().st_mtime == 1_000_000_000

    @pytest.mark.parametrize("name", ["../evil", "a/../../evil", "out/evil"])
    def test_tar_never_writes_outside(
        self, tool: Callable[..., tuple[int, bytes, bytes]], tmp_path: Path, name: str
    ) -> None:
        """An archive can't leave the directory, neither by its names nor through a link."""
        inside = tmp_path / "inside"
        inside.mkdir()
        (inside / "out").symlink_to("..")
        assert tool("tar", "-xmf", "-", "-C", str(inside), stdin=make_archive({name: b"x"}))[0] == 1
        assert not (tmp_path / "evil").exists()


def make_archive(files: Mapping[str, bytes]) -> bytes:
    """A tar archive with mode 640 for each file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o640
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
