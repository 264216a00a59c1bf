"""The main thread waits for the command: what a signal, a second one and the clock do, whatever the command does."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

SOON = 30.0
"""Seconds that nothing but a hang takes; what is waited for would take 600."""
SCRIPT = """
import os, sys, threading, time
from pathlib import Path
import imagekit.cli.main as main
from imagekit.cli.stopping import SWITCH, limit_time
from imagekit.content import whole_file
from imagekit.errors import ToolError
from imagekit.processes import run
from imagekit.workers import Workers, prefetched, waited
place = Path(sys.argv[1])

def ready(): (place / "ready").write_text("")

def command(arguments):
    limit_time(sys.argv[2] if len(sys.argv) > 2 else None)
{work}
    SWITCH.check()
    return 0

main._answered = lambda arguments: call(arguments)
def call(arguments):
    try:
        return command(arguments)
    except Exception as error:
        return main._failed(SWITCH.reason or error)
sys.argv[0] = "imagekit"
main.run()
"""
OBEDIENT = {
    "waits on the switch": "    ready(); SWITCH.wait(600)",
    "runs a child": "    ready(); run(['sleep', '600'], env=dict(os.environ), cancellation=SWITCH)",
    "runs a child that does not end": """
    words = ['sh', '-c', f'trap "" TERM; touch {place}/ready; while :; do sleep 1; done']
    run(words, env=dict(os.environ), cancellation=SWITCH)""",
    "runs tasks": """
    def task(_):
        ready(); SWITCH.wait(600); SWITCH.check()
    list(Workers(2, SWITCH).each(task, range(9)))""",
    "takes pieces": """
    def pieces():
        while True: yield b''
    for _ in prefetched(pieces(), SWITCH): ready(); time.sleep(0.001)""",
    "waits for pieces": """
    def pieces():
        yield b''
        SWITCH.wait(600)
    for _ in prefetched(pieces(), SWITCH): ready()""",
    "is left behind": "    waited(lambda: (ready(), time.sleep(600)), SWITCH)",
    "fails as it is stopped": "    ready(); SWITCH.wait(600); raise ToolError('the socket is closed')",
}
DEAF = {
    "computes": "    ready()\n    while True: sum(range(100000))",
    "sleeps": "    ready(); time.sleep(600)",
    "waits for a lock": "    ready(); lock = threading.Lock(); lock.acquire(); lock.acquire()",
    "waits for pieces that never come": "    for _ in prefetched(iter(lambda: (ready(), time.sleep(600)), 1)): pass",
    "waits for a reader": "    ready()\n    while True: os.write(1, bytes(1 << 20))",
    "writes a file": """
    with whole_file(place / 'file') as stream:
        stream.write(b'half'); stream.flush(); ready(); time.sleep(600)""",
    "runs a child that nobody stops": """
    run(['sh', '-c', f'echo $$ > {place}/pid; touch {place}/ready; sleep 600'], env=dict(os.environ))""",
}


class Ended:
    """How it ended, and what it said last."""

    def __init__(self, code: int, stderr: str, seconds: float) -> None:
        self.code, self.stderr, self.seconds = code, stderr, seconds
        last = stderr.splitlines()[-1] if stderr else ""
        found = re.fullmatch(r"imagekit: exit (\d+): ([^;]+); .+", last)
        self.said = (int(found[1]), found[2]) if found else (0, last)


Stop = Callable[..., Ended]


@pytest.fixture
def stop(tmp_path: Path) -> Stop:
    """Run a command, send it signals, one after the other with pauses before each, and see how it ends."""

    def run(work: str, *signals: signal.Signals | float, limit: str = "") -> Ended:
        argv = [sys.executable, "-c", SCRIPT.format(work=work), str(tmp_path), *([limit] if limit else [])]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
            deadline = time.monotonic() + SOON
            while child.poll() is None and not (tmp_path / "ready").exists() and time.monotonic() < deadline:
                time.sleep(0.005)
            start = time.monotonic()
            try:
                for each in signals:
                    if isinstance(each, signal.Signals):
                        child.send_signal(each)
                    else:
                        time.sleep(each)
                child.wait(SOON)
            except BaseException:
                child.kill()
                raise
            ended = Ended(child.returncode, child.stderr.read(), time.monotonic() - start)
        (tmp_path / "ready").unlink()
        return ended

    return run


@pytest.mark.parametrize("work", OBEDIENT)
@pytest.mark.parametrize(
    ("how", "code", "reason"),
    [
        (signal.SIGINT, 130, "interrupted (SIGINT)"),
        (signal.SIGTERM, 143, "terminated (SIGTERM)"),
        pytest.param(None, 124, "timed out after 1s (--timeout)", marks=pytest.mark.real),
    ],
    ids=["SIGINT", "SIGTERM", "timeout"],
)
def test_what_looks_at_the_switch_ends_by_itself(
    stop: Stop, work: str, how: signal.Signals | None, code: int, reason: str
) -> None:
    ended = stop(OBEDIENT[work], *([how] if how else []), limit="" if how else "1s")
    assert (ended.code, ended.said) == (code, (code, reason)), ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.real
@pytest.mark.parametrize("work", DEAF)
@pytest.mark.parametrize("how", ["once", "twice", "timeout"])
def test_what_does_not_is_ended_with_the_process(stop: Stop, tmp_path: Path, work: str, how: str) -> None:
    signals = {"once": [signal.SIGTERM], "twice": [signal.SIGTERM, 0.4, signal.SIGINT], "timeout": []}[how]
    ended = stop(DEAF[work], *signals, limit="500ms" if how == "timeout" else "")
    expected = (124, "timed out after 500ms (--timeout)") if how == "timeout" else (143, "terminated (SIGTERM)")
    assert (ended.code, ended.said) == (expected[0], expected), ended.stderr
    assert ended.stderr.count("\n") == 1
    left = [path.name for path in tmp_path.iterdir()]
    if "pid" in left:
        pid = int((tmp_path / "pid").read_text())
        assert not Path(f"/proc/{pid}/cmdline").exists() or not Path(f"/proc/{pid}/cmdline").read_bytes()
        left.remove("pid")
    assert left == []


def test_the_same_signal_twice_at_once_is_one(stop: Stop) -> None:
    """`timeout` sends it to the process and to its group."""
    work = "    ready(); SWITCH.wait(600); time.sleep(0.5); print('cleaned up', file=sys.stderr)"
    ended = stop(work, signal.SIGTERM, 0.02, signal.SIGTERM)
    assert ended.stderr.startswith("cleaned up\n")
    assert ended.code == 143


def test_a_stopped_process_waits_for_no_reader_of_its_last_words(tmp_path: Path) -> None:
    work = "    ready()\n    while True: os.write(2, bytes(1 << 20))"
    argv = [sys.executable, "-c", SCRIPT.format(work=work), str(tmp_path)]
    with subprocess.Popen(argv, stderr=subprocess.PIPE) as child:
        while not (tmp_path / "ready").exists():
            time.sleep(0.005)
        time.sleep(0.2)
        child.send_signal(signal.SIGINT)
        try:
            assert child.wait(SOON) == 130
        finally:
            child.kill()


def test_the_console_script_listens_before_it_imports() -> None:
    script = """
import sys
known = set(sys.modules)
import imagekit.cli.start
print(sorted(set(sys.modules) - known - {"imagekit", "imagekit.cli", "imagekit.cli.start"}))
import imagekit.cli.main
late = {"typer", "click", "msgspec", "subprocess", "json", "pathlib", "typing", "rich"}
print(sorted(late & set(sys.modules) - known))
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert (done.stdout, done.stderr) == ("[]\n[]\n", "")
