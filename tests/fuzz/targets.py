"""What is fuzzed: for each reader a function from bytes that raises only what hostile bytes may cause.

`TARGETS` maps a name to such a function; a function that returns False was not given its own kind of bytes.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from seeds import wrapped

from imagekit.audit import policy
from imagekit.binary.functions import read_functions
from imagekit.binary.reader import read
from imagekit.binary.sizes import by_package
from imagekit.binary.variables import string_at, string_variable
from imagekit.content import Digest
from imagekit.errors import ConfigError, FormatError, IntegrityError, UnreadableError
from imagekit.oci import documents
from imagekit.oci.documents import Descriptor
from imagekit.oci.headers import FILE, FOLDER, HARD_LINK, LINK, heads
from imagekit.oci.inflate import Inflated
from imagekit.oci.members import foreign
from imagekit.oci.sealed import Opened

Target = Callable[[bytes], bool]
_SHARED = Path("/dev/shm")  # memory, where there is such a folder: a run writes millions of files
_FILE = tempfile.NamedTemporaryFile(prefix="fuzzed-", dir=_SHARED if _SHARED.is_dir() else None)  # noqa: SIM115  # for the process's life
_PATH = Path(_FILE.name)
_LAYERS = ("", "+gzip", "+zstd")
_MAGICS = {
    "elf": (b"\x7fELF",),
    "macho": tuple(
        bytes.fromhex(word) for word in ("feedface", "feedfacf", "cefaedfe", "cffaedfe", "cafebabe", "cafebabf")
    ),
    "pe": (b"MZ",),
}


def _written(content: bytes) -> Path:
    _FILE.seek(0)
    _FILE.write(content)
    _FILE.truncate(len(content))
    _FILE.flush()
    return _PATH


def program(content: bytes) -> bool:
    """All that imagekit.binary can be asked of a file; facts that say `broken` name the offset."""
    path = _written(content)
    for facts in read(path):
        if facts.linkage == "broken" and facts.evidence["linkage"].offset is None:
            raise AssertionError("broken, but nobody says where")
    by_package(path)
    for ask in (_functions, lambda p: string_variable(p, "main.version"), lambda p: string_at(p, 0x401000)):
        with suppress(FormatError):
            ask(path)
    return True


def _functions(path: Path) -> None:
    table = read_functions(path)
    if table is not None:
        for _ in table.names():
            pass
        table.packages()


def _only(name: str) -> Target:
    def run(content: bytes) -> bool:
        return content.startswith(_MAGICS[name]) and program(content)

    return run


def build_info(content: bytes) -> bool:
    """Build info that the reader has to find in a program's writable bytes."""
    return program(wrapped(content))


def functions(content: bytes) -> bool:
    """A function table in a program of the byte order and width that the first byte says."""
    return program(wrapped(content[1:], "<>"[content[0] & 1], not content[0] & 2)) if content else False


class _Bytes:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def __str__(self) -> str:
        return "bytes"

    def read_at(self, offset: int, size: int, /) -> bytes:
        return self._content[offset : offset + size]


def tar(content: bytes) -> bool:
    """The heads of a layer, and the members of an archive, none of which leaves it."""
    with suppress(UnreadableError):
        for head in heads(_Bytes(content), (FILE, FOLDER, LINK, HARD_LINK, b"3", b"4", b"6")):
            if head.end < head.content or head.content < head.start:
                raise AssertionError("an entry that ends before it begins")
    with suppress(UnreadableError), Opened(_written(content)) as source:
        for name in foreign(source):
            if name.startswith("/") or ".." in name.split("/"):
                raise AssertionError(f"{name!r} leaves the archive")
    return True


class _Store:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def has(self, _: Digest, /) -> bool:
        return True

    def open(self, _: Digest, /) -> io.BytesIO:
        return io.BytesIO(self._content)


def inflate(content: bytes) -> bool:
    """A layer of the compression that the first byte says, to its end."""
    if not content or content[0] > 2:
        return False
    body = content[1:]
    digest = Digest("sha256:" + hashlib.sha256(body).hexdigest())
    layer = Descriptor(documents.LAYER_TAR + _LAYERS[content[0]], digest, len(body))
    with suppress(IntegrityError, UnreadableError), Inflated(_Store(body), layer) as source:
        for _ in heads(source, (FILE, FOLDER, LINK, HARD_LINK)):
            pass
        source.finish()
    return True


def deflated(content: bytes) -> bool:
    """A tar that is compressed as it should be, so that the fuzzer need not find out how."""
    return inflate(b"\1" + gzip.compress(content, 1, mtime=0))


def document(content: bytes) -> bool:
    """Every document of an image, read as each kind, written and read again."""
    for kind in (documents.MANIFEST, documents.INDEX, documents.DOCKER_INDEX):
        with suppress(UnreadableError):
            found = documents.decode_document(content, kind)
            if documents.decode_document(documents.encode(found), kind) != found:
                raise AssertionError("written otherwise than it was read")
            tuple(found.children)
    with suppress(UnreadableError):
        config = documents.decode_config(content)
        if documents.decode_config(documents.encode(config)) != config:
            raise AssertionError("written otherwise than it was read")
    return True


def policy_file(content: bytes) -> bool:
    """policy.yaml: a policy with a digest, or all its mistakes."""
    with suppress(ConfigError, UnreadableError):
        found = policy.load(str(_written(content)))
        str(found.digest)
    return True


TARGETS: dict[str, Target] = {
    "elf": _only("elf"),
    "macho": _only("macho"),
    "pe": _only("pe"),
    "buildinfo": build_info,
    "functions": functions,
    "tar": tar,
    "inflate": inflate,
    "deflated": deflated,
    "documents": document,
    "policy": policy_file,
}
CORPUS = {"deflated": "tar"}
"""Targets that share another's corpus."""


def corpus(name: str) -> list[Path]:
    """The kept inputs of a target, by name."""
    folder = Path(__file__).parent / "corpus" / CORPUS.get(name, name)
    return [folder / entry for entry in sorted(e.name for e in folder.iterdir())]
