"""JSON that threads read, whose types are taught to msgspec by one of them at a time; files that appear whole."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from imagekit.content import whole_file, write_whole
from imagekit.errors import UsageError

ROOT = Path(__file__).parents[1] / "imagekit"
RACE = """
import sys, threading
import msgspec
from imagekit.content import parse_json

sys.setswitchinterval(1e-6)
RAW = b'{"a":{"a":"x","b":["y"]},"x":[{"a":"q"}]}'

def new_type():
    class A(msgspec.Struct, rename="camel"):
        a: str = ""
        b: list[str] | None = None
        c: dict[str, int] = {}

    class B(msgspec.Struct):
        a: A | None = None
        x: tuple[A, ...] = ()

    return B

for _ in range(1500):
    kind, barrier = new_type(), threading.Barrier(4)

    def read():
        barrier.wait()
        assert parse_json(RAW, kind).x[0].a == "q"

    threads = [threading.Thread(target=read) for _ in range(4)]
    [each.start() for each in threads]
    [each.join() for each in threads]
print("all read")
"""


@pytest.mark.real
def test_threads_may_read_a_type_that_none_has_read_before() -> None:
    """msgspec alone dies of SIGSEGV here."""
    done = subprocess.run([sys.executable, "-c", RACE], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (0, "all read\n"), done.stderr


def test_no_room_teaches_msgspec_a_type_by_itself() -> None:
    alone = re.compile(r"json\.decode\([^\n]*type=|Decoder\((?!prepared\()|msgspec\.convert\((?![^\n]*prepared\()")
    found = [path for path in sorted(ROOT.rglob("*.py")) if alone.search(path.read_text(encoding="utf-8"))]
    names = [str(path.relative_to(ROOT)) for path in found]
    assert names == ["audit/subjects/processes.py", "content.py"], "the first prepares its type a line before"


KILLED = """
import os, signal, sys
from pathlib import Path
from imagekit.content import whole_file, write_whole
from imagekit.errors import UsageError

with whole_file(Path(sys.argv[1])) as stream:
    stream.write(b"half")
    stream.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_of_a_file_goes_with_the_next(tmp_path: Path) -> None:
    path = tmp_path / "a[1].tar"
    for _ in range(2):
        assert subprocess.run([sys.executable, "-c", KILLED, path], check=False).returncode == -9
        assert [left.suffix for left in tmp_path.iterdir()] == [".part"]
    with whole_file(path) as stream:
        stream.write(b"whole")
    assert [left.name for left in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"whole"


def test_what_a_living_process_writes_stays(tmp_path: Path) -> None:
    foreign = tmp_path / ".a.tar.part"
    foreign.write_bytes(b"not ours")
    with whole_file(tmp_path / "a.tar") as first:
        first.write(b"first")
        with whole_file(tmp_path / "a.tar") as second:
            second.write(b"second")
        assert (tmp_path / "a.tar").read_bytes() == b"second"
    assert (tmp_path / "a.tar").read_bytes() == b"first"
    assert foreign.exists()


def test_a_pipe_or_device_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for path in (tmp_path / "pipe", tmp_path / "link", Path("/dev/stdout"), Path("/dev/imagekit-test")):
        before = path.is_symlink(), path.is_fifo()
        with pytest.raises(UsageError, match="is a device or a pipe"):
            write_whole(path, b"x")
        with pytest.raises(UsageError, match="is a device or a pipe"), whole_file(path):
            pass
        assert (path.is_symlink(), path.is_fifo()) == before


def test_a_link_to_a_file_or_to_nothing_is_replaced(tmp_path: Path) -> None:
    for path in (tmp_path / "to a file", tmp_path / "to nothing"):
        path.symlink_to("there" if path.name == "to a file" else "nothing")
        (tmp_path / "there").write_bytes(b"kept")
        write_whole(path, b"x")
        assert (path.is_symlink(), path.read_bytes()) == (False, b"x")
    assert (tmp_path / "there").read_bytes() == b"kept"
