"""What is unfinished when a process ends in the middle is undone; what is finished stays."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from imagekit.content import whole_file
from imagekit.unfinished import temporary_folder, uncut, unfinished

ENDING = """
import os, sys, threading, time
from pathlib import Path
from imagekit.content import whole_file, write_whole
from imagekit.staging import staged
from imagekit.unfinished import temporary_folder, uncut, undo, unfinished
from imagekit.processes import run
place = Path(sys.argv[1])
ready = threading.Semaphore(0)

def work():
{work}

threading.Thread(target=work, daemon=True).start()
ready.acquire()
start = time.monotonic()
undo()
print(time.monotonic() - start)
{after}
os._exit(7)
"""
STUCK = "ready.release(); time.sleep(600)"
WORK = {
    "a file": "    with whole_file(place / 'file') as stream: stream.write(b'half'); stream.flush(); STUCK",
    "files in a folder": """
    with temporary_folder('imagekit-test-', place) as folder:
        (folder / 'in').mkdir()
        (folder / 'in/file').write_bytes(b'x')
        (folder / 'in').chmod(0o500)
        STUCK""",
    "an output": """
    with staged(place / 'dist') as folder:
        (folder / 'file').write_bytes(b'x')
        STUCK""",
    "a child": """
    threading.Timer(0.5, ready.release).start()
    run(['sh', '-c', f'echo $$ > {place}/../pid; sleep 600'], env=dict(os.environ))""",
    "a child's child": """
    threading.Timer(0.5, ready.release).start()
    run(['sh', '-c', f'sleep 600 & echo $! > {place}/../pid; wait'], env=dict(os.environ))""",
}


def ending(place: Path, work: str, after: str = "") -> subprocess.CompletedProcess[str]:
    place.mkdir()
    script = ENDING.format(work=work.replace("STUCK", STUCK), after=after)
    done = subprocess.run([sys.executable, "-c", script, str(place)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (7, "")
    return done


def is_running(pid: int) -> bool:
    """Whether a process is there and not only waits to be reaped."""
    for _ in range(500):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return False
        if state == "Z":
            return False
        time.sleep(0.01)
    return True


@pytest.mark.parametrize("what", WORK)
def test_what_is_unfinished_at_the_end_is_undone(tmp_path: Path, what: str) -> None:
    ending(tmp_path / "place", WORK[what])
    assert list((tmp_path / "place").iterdir()) == []
    if "child" in what:
        assert not is_running(int((tmp_path / "pid").read_text()))


def test_nothing_is_begun_or_finished_once_the_process_is_ending(tmp_path: Path) -> None:
    work = """
    with whole_file(place / 'one') as stream: ready.release(); time.sleep(0.2)
    write_whole(place / 'two', b'whole')"""
    done = ending(tmp_path / "place", work, after="time.sleep(1)")
    assert done.stdout
    assert list((tmp_path / "place").iterdir()) == []


def test_a_step_that_must_not_be_cut_is_waited_for(tmp_path: Path) -> None:
    work = "    with uncut(): ready.release(); time.sleep(0.4); (place / 'whole').write_bytes(b'x')"
    done = ending(tmp_path / "place", work)
    assert float(done.stdout) > 0.3
    assert [path.name for path in (tmp_path / "place").iterdir()] == ["whole"]


def test_where_a_step_takes_too_long_nothing_is_undone_and_nobody_waits(tmp_path: Path) -> None:
    work = """
    with whole_file(place / 'file') as stream, uncut(): STUCK"""
    done = ending(tmp_path / "place", work)
    assert float(done.stdout) < 30
    assert len(list((tmp_path / "place").iterdir())) == 1


def test_what_failed_to_begin_and_what_is_over_is_not_undone() -> None:
    undone: list[str] = []

    def fail() -> str:
        raise OSError("no")

    with pytest.raises(OSError, match="no"), unfinished(fail, undone.append):
        pass
    with unfinished(lambda: "over", undone.append) as made:
        assert made == "over"
    assert undone == []


def test_a_fork_has_nothing_of_its_parents(tmp_path: Path) -> None:
    script = """
import os, sys, threading, time
from pathlib import Path
from imagekit.content import whole_file, write_whole
from imagekit.unfinished import uncut, undo
place = Path(sys.argv[1])
held = threading.Event()
def hold():
    with uncut(): held.set(); time.sleep(600)
with whole_file(place / 'file') as stream:
    threading.Thread(target=hold, daemon=True).start()
    held.wait()
    child = os.fork()
    if not child:
        write_whole(place / 'childs', b'x')
        undo()
        os._exit(0)
    code = os.waitpid(child, 0)[1]
    assert len(list(place.iterdir())) == 2, list(place.iterdir())
    os._exit(code)
"""
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_begun_together_from_many_threads(tmp_path: Path) -> None:
    def write(number: int) -> None:
        for each in range(20):
            with whole_file(tmp_path / f"{number}-{each}", durable=False) as stream, temporary_folder("imagekit-test-"):
                stream.write(b"x")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(tmp_path.iterdir())) == 160
    with uncut(), uncut():
        pass
