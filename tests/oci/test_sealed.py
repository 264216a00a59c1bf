from __future__ import annotations

import os
from pathlib import Path

import pytest

from imagekit.content import CHUNK, digest_of
from imagekit.errors import IntegrityError, UnreadableError
from imagekit.oci.sealed import Opened, Sealed

CONTENT = bytes(range(256)) * (5 * CHUNK // 512) + b"and the rest"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "file").write_bytes(CONTENT)
    return tmp_path / "file"


@pytest.mark.parametrize(
    ("offset", "size"),
    [(0, 1), (0, len(CONTENT)), (CHUNK - 3, 7), (CHUNK, CHUNK), (len(CONTENT) - 5, 99), (len(CONTENT), 1), (1 << 40, 1),
     (17, 0)],
)  # fmt: skip
@pytest.mark.parametrize("kind", [Opened, Sealed])
def test_reads_at_any_place(path: Path, kind: type[Opened], offset: int, size: int) -> None:
    with kind(path) as opened:
        assert opened.read_at(offset, size) == CONTENT[offset : offset + size]
        with opened.open(offset, size) as stream:
            assert stream.read() == CONTENT[offset : offset + size]


def test_the_first_pass_gives_digest_and_size(path: Path) -> None:
    with Sealed(path) as sealed:
        assert (sealed.digest, sealed.size) == (digest_of(CONTENT), len(CONTENT))
        assert b"".join(sealed.pieces()) == CONTENT


@pytest.mark.parametrize("position", [0, CHUNK - 1, CHUNK, len(CONTENT) - 1])
def test_a_changed_byte_is_seen_before_it_is_given(path: Path, position: int) -> None:
    with Sealed(path) as sealed:
        with path.open("r+b") as stream:
            stream.seek(position)
            stream.write(bytes([CONTENT[position] ^ 1]))
        sealed.read_at((position + CHUNK) % (2 * CHUNK) // CHUNK * CHUNK, 1)
        given = bytearray()
        with pytest.raises(IntegrityError, match=f"in the MiB at byte {position // CHUNK * CHUNK}$"):
            for piece in sealed.pieces():
                given += piece
        assert given == CONTENT[: position // CHUNK * CHUNK]


def test_a_file_that_grows_or_is_cut(path: Path) -> None:
    with Sealed(path) as sealed:
        with path.open("ab") as stream:
            stream.write(b"more")
        assert b"".join(sealed.pieces()) == CONTENT
        os.truncate(path, 10)
        with pytest.raises(IntegrityError, match="changed after it was verified"):
            list(sealed.pieces())


def test_what_is_no_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "nothing", "."):
        with pytest.raises(UnreadableError):
            Sealed(tmp_path / name)


def test_closing_twice(path: Path) -> None:
    sealed = Sealed(path)
    sealed.close()
    sealed.close()
