"""Files and trees, honest and hostile; the processes that look at many."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from imagekit.audit.subjects import Examined, Options, Wishes, examine
from imagekit.audit.subjects.processes import each
from imagekit.binary.facts import Linkage
from imagekit.cancellation import Cancellation
from imagekit.content import digest_of
from imagekit.errors import StoppedError, ToolError, UnreadableError, UsageError
from imagekit.oci.words import Kind, parse

PROGRAM = Path("/bin/true").resolve()
WASM = b"\0asm\x01\0\0\0" + bytes(40)


def examined(*words: str | Path, jobs: int = 1, wishes: Wishes | None = None) -> Examined:
    """All pieces of the answer as one."""
    options = Options(jobs=jobs, wishes=wishes or Wishes(), explain_single=False)
    pieces = list(examine([str(word) for word in words], options, Cancellation()))
    return Examined(
        subjects=tuple(one for piece in pieces for one in piece.subjects),
        skips=tuple(one for piece in pieces for one in piece.skips),
        other=sum(piece.other for piece in pieces),
        findings=tuple(one for piece in pieces for one in piece.findings),
        errors=tuple(one for piece in pieces for one in piece.errors),
    )


@contextmanager
def nobody() -> Iterator[None]:
    """As a user who may not read everything; root may."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can reach, as pytest's own cannot."""
    made = Path(tempfile.mkdtemp(prefix="imagekit-open-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture(autouse=True)
def no_child_is_left() -> Iterator[None]:
    """Other fixtures of a session may have started some before."""
    before = set(_children())
    yield
    assert set(_children()) <= before


def _children() -> list[str]:
    return [word for path in Path("/proc/self/task").glob("*/children") for word in path.read_text().split()]


# --- files ---------------------------------------------------------------------------------------------------------


def test_a_named_file_is_a_subject_with_digest_size_and_source() -> None:
    found = examined(PROGRAM)
    (subject,) = found.subjects
    assert (subject.path, subject.source.kind, subject.source.path) == (str(PROGRAM), "file", str(PROGRAM))
    assert (subject.digest, subject.size) == (digest_of(PROGRAM.read_bytes()), PROGRAM.stat().st_size)
    assert subject.facts.linkage is Linkage.DYNAMIC
    assert (found.skips, found.other, found.errors) == ((), 0, ())


def test_a_named_file_is_a_subject_whatever_it_is(tmp_path: Path) -> None:
    (tmp_path / "script").write_text("#!/bin/sh\n")
    (tmp_path / "empty").touch()
    found = examined(tmp_path / "script", tmp_path / "empty")
    assert [(one.facts.format, one.facts.linkage) for one in found.subjects] == [("unknown", Linkage.UNKNOWN)] * 2


def test_a_link_that_the_user_names_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(PROGRAM)
    assert examined(tmp_path / "link").subjects[0].digest == digest_of(PROGRAM.read_bytes())


def test_only_a_single_file_is_explained(tmp_path: Path) -> None:
    options = Options()
    (alone,) = examine([str(PROGRAM)], options, Cancellation())
    assert alone.subjects[0].explanation is not None
    for one in examine([str(PROGRAM), str(PROGRAM)], options, Cancellation()):
        assert one.subjects[0].explanation is None


def absent(folder: Path) -> Path:
    return folder / "absent"


def fifo(folder: Path) -> Path:
    os.mkfifo(folder / "fifo")
    return folder / "fifo"


def loop(folder: Path) -> Path:
    (folder / "loop").symlink_to("loop")
    return folder / "loop"


def dangling(folder: Path) -> Path:
    (folder / "dangling").symlink_to("nowhere")
    return folder / "dangling"


def device(folder: Path) -> Path:
    return Path("/dev/null")


@pytest.mark.parametrize("make", [absent, fifo, loop, dangling, device])
def test_an_argument_that_cannot_be_read_is_exit_4_and_a_skip(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    path = make(tmp_path)
    found = examined(path, PROGRAM)
    assert [error.exit_code for error in found.errors] == [4]
    assert [skip.path for skip in found.skips] == [str(path)]
    assert [one.path for one in found.subjects] == [str(PROGRAM)]


# --- trees ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Programs, other files, and what only looks like a way out of the tree."""
    root = tmp_path / "tree"
    (root / "b/deep").mkdir(parents=True)
    (root / "a").mkdir()
    outside = tmp_path / "outside"
    outside.mkdir()
    shutil.copy(PROGRAM, outside / "program")
    for name in ("b/deep/program", "a/program", "program"):
        shutil.copy(PROGRAM, root / name)
    (root / "a/asset.wasm").write_bytes(WASM)
    (root / "a/text").write_text("#!/bin/sh\n")
    (root / "a/package.deb").write_bytes(b"!<arch>\ndebian-binary   0           0     0     100644  4         `\n2.0\n")
    (root / "a/Some.class").write_bytes(bytes.fromhex("cafebabe00000041") + bytes(64))
    (root / "a/Some.class").chmod(0o755)
    (root / "a/empty").touch()
    (root / "a/link").symlink_to(outside / "program")
    (root / "a/out").symlink_to(outside)
    (root / "a/up").symlink_to("..")
    (root / "a/gone").symlink_to("nowhere")
    os.mkfifo(root / "a/fifo")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(root / "a/sock"))
    listening.close()
    if os.geteuid() == 0:
        os.mknod(root / "a/device", 0o600 | 0o020000, os.makedev(1, 5))  # endless zeros
    return root


def test_a_tree_in_its_order(tree: Path) -> None:
    found = examined(tree)
    names = [os.path.relpath(one.path, tree) for one in found.subjects]
    assert names == ["program", "a/asset.wasm", "a/program", "b/deep/program"]
    assert found.subjects[1].facts.format == "wasm"
    assert found.other == 4
    assert (found.skips, found.findings, found.errors) == ((), (), ())


def test_names_that_nobody_should_give(tmp_path: Path) -> None:
    names = [b"new\nline", b"\x1b[31mred", b"not-utf8-\xff", b"::error::x", "ü\u202e".encode(), b" ", b"-rf"]
    for name in names:
        shutil.copy(os.fsencode(PROGRAM), os.fsencode(tmp_path) + b"/" + name)
    found = examined(tmp_path)
    paths = [one.path.removeprefix(f"{tmp_path}/") for one in found.subjects]
    assert sorted(paths) == sorted(name.decode("utf-8", "backslashreplace") for name in names)
    for one in found.subjects:
        msgspec.json.encode(one.path)


def test_many_files_give_the_same_whatever_the_job_count(tmp_path: Path) -> None:
    for number in range(60):
        folder = tmp_path / f"d{number % 7}"
        folder.mkdir(exist_ok=True)
        (folder / f"f{number}").write_bytes(PROGRAM.read_bytes() if number % 3 else b"text")
    one = examined(tmp_path, jobs=1)
    assert len(one.subjects) == 40
    for jobs in (2, 7):
        assert examined(tmp_path, jobs=jobs) == one


def test_what_a_tree_does_not_let_us_read_is_a_finding(open_folder: Path) -> None:
    shutil.copy(PROGRAM, open_folder / "program")
    shutil.copy(PROGRAM, open_folder / "secret")
    (open_folder / "secret").chmod(0o200)
    (open_folder / "closed").mkdir(mode=0o300)
    with nobody():
        found = examined(open_folder)
    assert [(one.rule, one.subject) for one in found.findings] == [
        ("unreadable", f"{open_folder}/secret"),
        ("unreadable", f"{open_folder}/closed"),
    ]
    assert "Permission denied" in found.findings[0].message
    assert [one.path for one in found.subjects] == [f"{open_folder}/program"]
    assert found.errors == ()


def test_a_root_that_cannot_be_read_is_an_error(open_folder: Path) -> None:
    (open_folder / "closed").mkdir(mode=0o300)
    with nobody():
        found = examined(open_folder / "closed")
    assert [error.exit_code for error in found.errors] == [4]


def test_what_the_kernel_shows_is_no_tree() -> None:
    """Below /proc are files without an end (kcore), and some that wait (kmsg)."""
    began = time.monotonic()
    found = examined("/proc/self/net", "/sys/kernel/security")
    assert time.monotonic() - began < 30
    assert found.subjects == ()


def test_packages_sizes_and_explanation_are_read_where_asked(tmp_path: Path) -> None:
    shutil.copy(PROGRAM, tmp_path / "program")
    (subject,) = examined(tmp_path, wishes=Wishes(packages=True, sizes=True, explain=True)).subjects
    assert (subject.packages, subject.sizes) == (None, None)
    assert subject.explanation is not None
    assert examined(tmp_path).subjects[0].explanation is None


# --- processes -----------------------------------------------------------------------------------------------------


def _doubled(number: int) -> int:
    return 2 * number


def _slow(number: int) -> int:
    time.sleep(60)
    return number


def _killed(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def _wrong(number: int) -> int:
    raise ValueError(f"no {number}")


def test_results_come_in_order_whatever_begins_first() -> None:
    batches = [[1, 2], [3], [4, 5, 6]]
    for first in ([0, 1, 2], [2, 1, 0]):
        found = each(_doubled, batches, int, first=first, jobs=2, cancellation=Cancellation())
        assert list(found) == [(2, 4), (6,), (8, 10, 12)]


@pytest.mark.parametrize(
    ("task", "error", "said"),
    [(_killed, ToolError, "was killed"), (_wrong, RuntimeError, "ValueError: no ")],
    ids=["killed", "bug"],
)
def test_a_child_that_fails(task: Callable[[int], int], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        list(each(task, [[1], [2]], int, first=[0, 1], jobs=2, cancellation=Cancellation()))


def test_the_switch_stops_the_children() -> None:
    switch = Cancellation()
    threading.Timer(0.3, switch.stop, [StoppedError("timed out", exit_code=124)]).start()
    began = time.monotonic()
    with pytest.raises(StoppedError):
        list(each(_slow, [[1], [2], [3]], int, first=[0, 1, 2], jobs=2, cancellation=switch))
    assert time.monotonic() - began < 5


def test_who_stops_reading_leaves_no_children() -> None:
    found = each(_doubled, [[n] for n in range(500)], int, first=range(500), jobs=2, cancellation=Cancellation())
    next(found)
    found.close()  # type: ignore[attr-defined]  # it is a generator


def test_children_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    parent = os.fork()
    if parent == 0:

        def task(number: int) -> int:
            (tmp_path / str(os.getpid())).touch()
            time.sleep(0.05)
            return number

        list(each(task, [[n] for n in range(900)], int, first=range(900), jobs=2, cancellation=Cancellation()))
        os._exit(0)
    deadline = time.monotonic() + 10
    while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    children = [int(path.name) for path in tmp_path.iterdir()]
    while any(_runs(child) for child in children) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(children) == 2
    assert not any(_runs(child) for child in children)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# --- words ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind", "rest"),
    [
        ("here", Kind.PATH, "here"),
        ("./oci:odd", Kind.PATH, "./oci:odd"),
        ("oci:dist/oci:app", Kind.OCI, "dist/oci:app"),
        ("oci-archive:a.tar", Kind.OCI_ARCHIVE, "a.tar"),
        ("bundle:b.tar", Kind.BUNDLE, "b.tar"),
        ("docker-archive:s.tar", Kind.DOCKER_ARCHIVE, "s.tar"),
        ("docker:app:1.4", Kind.DOCKER, "app:1.4"),
        ("podman:localhost/app", Kind.PODMAN, "localhost/app"),
        ("registry.example/app:1.4", Kind.REGISTRY, "registry.example/app:1.4"),
        ("localhost:5000/app", Kind.REGISTRY, "localhost:5000/app"),
        ("localhost/app", Kind.REGISTRY, "localhost/app"),
    ],
)
def test_what_an_argument_means(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, kind: Kind, rest: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("here", "oci:odd"):
        (tmp_path / name).touch()
    word = parse(text)
    assert (word.kind, word.rest, word.text) == (kind, rest, text)


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("", UsageError, "empty"),
        ("oci:", UsageError, "nothing behind the colon"),
        ("app", UnreadableError, "not there"),
        ("dist/app", UnreadableError, "not there"),
        ("./a.b/app", UnreadableError, "not there"),
        ("app:1.4", UnreadableError, "not there"),
        ("registry.example/UPPER", UsageError, "not an image reference"),
    ],
)
def test_what_can_be_no_argument(text: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        parse(text)
