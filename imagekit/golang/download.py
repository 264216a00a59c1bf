"""What `go mod download -json` says, and what its failures mean. Touches disk for scratch folders only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from imagekit.content import parse_json
from imagekit.errors import ImagekitError, IntegrityError, NetworkError, ToolError
from imagekit.processes import Completed
from imagekit.text import plain
from imagekit.unfinished import temporary_folder

_SHOWN = 8
"""Lines of a failed go command that are shown."""
_UNTRUE = ("SECURITY ERROR", "checksum mismatch")
_FORBIDDEN = ("GOPROXY=off", "GOPROXY list is not the empty string, but contains no entries")
_NO_NETWORK = (
    *("dial tcp", "no such host", "connection refused", "i/o timeout", "TLS handshake", "Could not resolve host"),
    *("connection reset", "network is unreachable", "Bad Gateway", "Service Unavailable", "Gateway Timeout"),
    *("proxyconnect", "deadline exceeded", "unexpected EOF", "failed to verify certificate", "Too Many Requests"),
)


class FetchedModule(msgspec.Struct, frozen=True, rename="pascal"):
    """One module as `go mod download -json` tells it; paths are absolute. `error` is Go's, '' if there is none."""

    path: str
    version: str = ""
    error: str = ""
    info: str = ""
    go_mod: str = ""
    zip: str = ""
    dir: str = ""
    sum: str = ""
    go_mod_sum: str = ""


def read_answer(answer: Completed) -> list[FetchedModule]:
    """The JSON objects that were printed one after the other; raise `ToolError` if they are none."""
    pieces = answer.stdout.split(b"\n}\n")[:-1]
    try:
        return [parse_json(piece + b"\n}", FetchedModule) for piece in pieces]
    except msgspec.DecodeError as error:
        raise ToolError(f"`go mod download -json` did not answer with JSON ({error})") from error


def words(answer: Completed) -> str:
    """The first lines of what a go command complained about."""
    lines = [line for line in answer.stderr.decode(errors="replace").splitlines() if line.strip()]
    return "\n".join(lines[:_SHOWN]) or f"go ended with {answer.returncode} and without a word"


def failure(errors: Sequence[str]) -> ImagekitError:
    """What went wrong, from Go's own words: integrity before network before everything else."""
    rest = f"\nand {len(errors) - _SHOWN} more" if len(errors) > _SHOWN else ""
    text = "\n".join(errors)
    shown = plain("\n".join(errors[:_SHOWN]).replace("\t", "  ")) + rest
    if any(said in text for said in _UNTRUE):
        return IntegrityError(
            f"a module is not what go.sum or the checksum database says:\n{shown}",
            hint="do not build: find out whether the module, the proxy or go.sum was changed",
        )
    if any(said in text for said in _FORBIDDEN):
        return NetworkError(
            f"modules are missing, and GOPROXY allows no request:\n{shown}",
            hint="fill the module cache where there is a network (`go mod download`), or set GOPROXY",
        )
    if any(said in text for said in _NO_NETWORK):
        return NetworkError(f"modules could not be fetched:\n{shown}", hint="look at `go env GOPROXY` and the network")
    return ToolError(f"modules could not be fetched:\n{shown}", hint="the lines above are Go's own; try `go mod tidy`")


@contextmanager
def scratch(cache_dir: Path) -> Iterator[Path]:
    """An empty folder of our own, gone afterwards."""
    parent = cache_dir / "scratch"
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with temporary_folder("tmp", parent) as folder:
        yield folder.resolve()
