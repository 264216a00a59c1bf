"""A folder is the old whole or the new whole, whatever happens in between."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from imagekit.errors import UsageError
from imagekit.staging import exchange_paths, staged, wrapper_of


def no_exchange(one: Path, other: Path) -> bool:
    return False


@pytest.fixture(params=[exchange_paths, no_exchange], ids=["exchange", "journal"])
def exchange(request):
    return request.param


def write(output: Path, text: str, exchange=exchange_paths) -> None:
    with staged(output, exchange=exchange) as new:
        (new / "file").write_text(text)


def test_new_folder_takes_the_place_and_leaves_nothing_beside(tmp_path: Path, exchange):
    for text in ("one", "two", "three"):
        write(tmp_path / "dist", text, exchange)
        assert (tmp_path / "dist/file").read_text() == text
    assert [p.name for p in tmp_path.iterdir()] == ["dist"]


def test_an_error_keeps_the_old_and_removes_the_new(tmp_path: Path, exchange):
    write(tmp_path / "dist", "old", exchange)
    with pytest.raises(RuntimeError), staged(tmp_path / "dist", exchange=exchange) as new:
        (new / "file").write_text("half")
        raise RuntimeError
    assert (tmp_path / "dist/file").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["dist"]


def test_files_of_the_user_are_never_replaced(tmp_path: Path):
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist/thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="did not write"):
        write(tmp_path / "dist", "new")
    assert (tmp_path / "dist/thesis.txt").read_text() == "years of work"


def test_a_link_is_never_followed(tmp_path: Path):
    (tmp_path / "real").mkdir()
    (tmp_path / "dist").symlink_to(tmp_path / "real")
    with pytest.raises(UsageError, match="not a folder"):
        write(tmp_path / "dist", "new")


@pytest.mark.parametrize("moment", ["journal-written", "old-moved", "new-moved"])
def test_the_next_run_finishes_what_a_crash_left(tmp_path: Path, moment: str):
    output, wrapper = tmp_path / "dist", wrapper_of(tmp_path / "dist")
    write(output, "old")
    (wrapper / "new").mkdir(parents=True)
    (wrapper / "new/file").write_text("new")
    (wrapper / "new/.gitignore").write_text("*\n")
    (wrapper / "journal").write_text("x")
    if moment != "journal-written":
        output.rename(wrapper / "old")
    if moment == "new-moved":
        (wrapper / "new").rename(output)
    with staged(output) as new:
        assert (output / "file").read_text() == ("old" if moment == "journal-written" else "new")
        assert not (wrapper / "journal").exists()
        (new / "file").write_text("next")
    assert (output / "file").read_text() == "next"
    assert [p.name for p in tmp_path.iterdir()] == ["dist"]


def test_two_writers_wait_for_each_other(tmp_path: Path):
    threads = [threading.Thread(target=write, args=(tmp_path / "dist", str(n))) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "dist/file").read_text() in map(str, range(8))
    assert [p.name for p in tmp_path.iterdir()] == ["dist"]


def test_what_is_being_written_is_invisible_to_git(tmp_path: Path):
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    with staged(tmp_path / "dist") as new:
        (new / "file").write_text("x")
        status = subprocess.run(
            ["git", "-C", str(tmp_path), "status", "--porcelain"], check=True, capture_output=True, text=True
        )
        assert status.stdout == ""


KILLED = """
import os, sys
from pathlib import Path
from imagekit import staging
with staging.staged(Path(sys.argv[1])) as new:
    (new / "file").write_text("new")
    os.kill(os.getpid(), 9)
"""


def test_kill_leaves_the_old_whole_and_the_next_run_succeeds(tmp_path: Path):
    write(tmp_path / "dist", "old")
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "dist")], check=False)
    assert (tmp_path / "dist/file").read_text() == "old"
    write(tmp_path / "dist", "next")
    assert (tmp_path / "dist/file").read_text() == "next"
    assert [p.name for p in tmp_path.iterdir()] == ["dist"]
