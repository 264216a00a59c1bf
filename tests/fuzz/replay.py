"""Run inputs through a target, each within its time and memory; tell which broke it, and exit 1.

    python tests/fuzz/replay.py TARGET [FILE …]              these inputs, or the kept corpus
    python tests/fuzz/replay.py TARGET --cut [FILE …]        and each cut at every byte of its headers, and elsewhere
    python tests/fuzz/replay.py TARGET --hostile [FILE …]    and with every field changed, and changed by seed

Time is that of the processor, so that a busy machine fails nothing; memory is what the kernel lets this process have.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import mutations
from targets import TARGETS, corpus

SECONDS = 1.0
MEMORY = 64 << 20
"""Bytes of anonymous memory for one input."""
DENSE, FAT = 1 << 13, 1 << 9
"""A file of up to 8 KiB is all headers and tables: it is cut at every byte, and every field is changed. Of a fat file
only its own header: its slices are files of the corpus too."""
_SHOWN = 20


def variants(content: bytes, cut: bool, hostile: bool) -> Iterator[tuple[str, bytes]]:
    """(name, bytes): the input as it is, then cut, changed field by field, and changed by seed."""
    dense = FAT if content[:3] == b"\xca\xfe\xba" else DENSE
    yield "as it is", content
    if cut or hostile:
        for end in mutations.cuts(len(content), dense, 1000):
            yield f"cut at {end:#x}", content[:end]
    if hostile:
        yield from mutations.fields(content, range(0, 0x200, 2), (2,))
        yield from mutations.fields(content, range(0, min(len(content), dense), 4))
        yield from mutations.flips(content, 500)


def bound(target: str) -> None:
    """Take no more anonymous memory than one input may, from here on: `MemoryError` for the one that wants more."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    taken = int(status.partition("VmData:")[2].split()[0]) << 10
    allowed = taken + MEMORY
    resource.setrlimit(resource.RLIMIT_DATA, (allowed, allowed))


def broken(target: str, content: bytes) -> str:
    """How the input broke the target; '' if it did not."""
    begun = time.process_time()
    try:
        TARGETS[target](content)
    except (Exception, MemoryError):
        return traceback.format_exc(limit=-4)
    spent = time.process_time() - begun
    return f"{spent:.1f} s" if spent > SECONDS else ""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--cut", action="store_true")
    parser.add_argument("--hostile", action="store_true")
    parser.add_argument("files", type=Path, nargs="*")
    asked = parser.parse_intermixed_args()
    count, failures = 0, 0
    contents = [(path, path.read_bytes()) for path in asked.files or corpus(asked.target)]
    for kept in corpus(asked.target):  # what is imported late is no input's memory
        broken(asked.target, kept.read_bytes())
    bound(asked.target)
    for path, content in contents:
        for name, variant in variants(content, asked.cut, asked.hostile):
            count += 1
            if said := broken(asked.target, variant):
                failures += 1
                print(f"{path}, {name}: {said}")
                if failures >= _SHOWN:
                    return 1
    print(f"{asked.target}: {count} inputs")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
