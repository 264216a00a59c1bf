"""What reading programs may take of memory, and that the programs of this machine can be read."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from imagekit.binary.reader import read


@pytest.mark.real
def test_anonymous_memory_stays_small(zoo: Callable[..., Path], weight: Path) -> None:
    """A fresh interpreter that reads a 100 MB program and lists its packages: anonymous pages only, not the mapping."""
    script = (
        "import sys; from pathlib import Path; from imagekit.binary import functions, reader\n"
        "path = Path(sys.argv[1]); reader.read(path); table = functions.read_functions(path); table.packages()\n"
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('RssAnon')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(zoo("big"))],
        capture_output=True,
        text=True,
        check=True,
        env=dict(os.environ),
    )
    assert int(done.stdout) < 30 << 10


@pytest.mark.real
def test_the_programs_of_this_machine() -> None:
    programs = [path for path in sorted(Path("/usr/bin").iterdir()) if path.is_file() and not path.is_symlink()]
    programs = [path for path in programs if path.stat().st_size and path.open("rb").read(4) == b"\x7fELF"]
    assert len(programs) > 50
    assert {one.linkage for path in programs for one in read(path)} <= {"static", "static-pie", "dynamic"}
