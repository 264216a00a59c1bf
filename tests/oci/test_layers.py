"""Layers: the same entries give the same bytes, which foreign tools unpack to what was meant."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import random
import re
import resource
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path

import pytest
import zstandard

from imagekit.content import Digest, digest_of
from imagekit.errors import ConfigError, IntegrityError, UnreadableError
from imagekit.oci import documents as doc
from imagekit.oci.blobs import read_verified
from imagekit.oci.layers import Compression, Entry, complete, write_layer
from imagekit.oci.store import Layout, Memory

MIXED = random.Random(1).randbytes(500_000) + bytes(random.Random(2).choices(range(97, 113), k=2_500_000))
"""Half of it compresses, and it is longer than two pieces of the compressor's feed."""
ENTRIES = [
    Entry("usr/share/app/readme", content=b"hello\n"),
    Entry("app", mode=0o555, content=MIXED),
    Entry("tmp", "dir", 0o1777),
    Entry("usr/bin/link", "link", 0o777, target="../../app"),
    Entry("etc/owned", mode=0o600, uid=65532, gid=65533),
]


def packed(entries, compression=None, mtime=1_700_000_000):
    store = Memory()
    layer = write_layer(store, entries, mtime=mtime, compression=compression)
    return layer, read_verified(store, layer.descriptor, limit=1 << 30)


def unpacked(raw: bytes, algorithm: str) -> bytes:
    if algorithm == "none":
        return raw
    words = {"gzip": ["gzip", "-dc"], "zstd": [sys.executable, "-c", _UNZSTD]}[algorithm]
    return subprocess.run(words, input=raw, capture_output=True, check=True).stdout


_UNZSTD = "import sys, zstandard as z; z.ZstdDecompressor().copy_stream(sys.stdin.buffer, sys.stdout.buffer)"
GOLDEN = {
    "gzip": "sha256:bbd2dcef7ad78c9b98183b95edcecef7e255b6f5c989a2a99ecce8b7497a9472",
    "zstd": "sha256:56f170472be7d0b5c0f1a5db9492f6cd933c56798e2b0827df220ed204f1ddc8",
    "none": "sha256:d0057aba7e40e116b1cca792197a32589e76dbf32ec7bbc414ba80c05b88ddc1",
}
"""Digests of ENTRIES, packed. If one changes, so does every layer ever built: the CHANGELOG must say why."""


@pytest.mark.parametrize("algorithm", GOLDEN)
def test_the_bytes_are_the_recorded_ones(algorithm):
    layer, raw = packed(ENTRIES, Compression(algorithm))
    assert layer.diff_id == digest_of(unpacked(raw, algorithm)) == GOLDEN["none"]
    assert layer.descriptor == doc.Descriptor(Compression(algorithm).media_type, Digest(GOLDEN[algorithm]), len(raw))


def test_the_order_of_the_entries_does_not_matter():
    digests = set()
    for seed in range(5):
        shuffled = ENTRIES[:]
        random.Random(seed).shuffle(shuffled)
        digests.add(packed(shuffled)[0])
    assert len(digests) == 1


def test_bytes_and_files_give_the_same_layer(tmp_path):
    for number, entry in enumerate(ENTRIES):
        (tmp_path / str(number)).write_bytes(entry.content)
    files = [
        Entry(
            each.path,
            each.kind,
            each.mode,
            each.uid,
            each.gid,
            tmp_path / str(n) if each.kind == "file" else b"",
            each.target,
            digest_of(each.content) if each.kind == "file" else None,
        )
        for n, each in enumerate(ENTRIES)
    ]
    assert packed(files) == packed(ENTRIES)


@pytest.mark.parametrize("algorithm", GOLDEN)
def test_how_the_reader_reads_does_not_matter(algorithm):
    class Sipping(Memory):
        """A store that takes its stream in odd pieces."""

        def add(self, stream, expected=None):
            pieces = []
            while piece := stream.read(random.Random(len(pieces)).randrange(1, 90_000)):
                pieces.append(piece)
            return super().add(io.BytesIO(b"".join(pieces)), expected)

    layer = write_layer(Sipping(), ENTRIES, mtime=1_700_000_000, compression=Compression(algorithm))
    assert layer == packed(ENTRIES, Compression(algorithm))[0]


def test_the_tar_holds_what_was_meant():
    _, raw = packed(ENTRIES)
    with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
        listed = [(m.name, m.type, oct(m.mode), m.uid, m.gid, m.mtime, m.uname, m.linkname) for m in archive]
        content = archive.extractfile("app").read()
    folder, file, link = tarfile.DIRTYPE, tarfile.REGTYPE, tarfile.SYMTYPE
    time = 1_700_000_000
    assert listed == [
        ("app", file, "0o555", 0, 0, time, "", ""),
        ("etc", folder, "0o755", 0, 0, time, "", ""),
        ("etc/owned", file, "0o600", 65532, 65533, time, "", ""),
        ("tmp", folder, "0o1777", 0, 0, time, "", ""),
        ("usr", folder, "0o755", 0, 0, time, "", ""),
        ("usr/bin", folder, "0o755", 0, 0, time, "", ""),
        ("usr/bin/link", link, "0o777", 0, 0, time, "", "../../app"),
        ("usr/share", folder, "0o755", 0, 0, time, "", ""),
        ("usr/share/app", folder, "0o755", 0, 0, time, "", ""),
        ("usr/share/app/readme", file, "0o644", 0, 0, time, "", ""),
    ]
    assert content == MIXED


def test_the_gzip_header_says_nothing_about_here_and_now():
    _, raw = packed(ENTRIES)
    assert raw[:10] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
    assert gzip.decompress(raw)


@pytest.mark.parametrize("size", [0, 1, 511, 512, (1 << 20) - 512, 1 << 20, (1 << 20) + 1, 3 << 20])
@pytest.mark.parametrize("algorithm", GOLDEN)
def test_sizes_around_the_borders(tmp_path, size, algorithm):
    content = random.Random(size).randbytes(size)
    (tmp_path / "f").write_bytes(content)
    layer, raw = packed([Entry("f", content=tmp_path / "f")], Compression(algorithm))
    plain = unpacked(raw, algorithm)
    assert layer.diff_id == digest_of(plain)
    assert len(plain) % 512 == 0
    with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
        assert archive.extractfile("f").read() == content


def test_no_entries_are_an_empty_tar():
    _, raw = packed([], Compression("none"))
    assert raw == bytes(1024)


def test_an_explicit_folder_keeps_its_mode_and_stands_once():
    found = complete([Entry("a/b/c"), Entry("a", "dir", 0o700), Entry("a/b-x")])
    assert [(entry.path, entry.mode) for entry in found] == [
        ("a", 0o700),
        ("a/b", 0o755),
        ("a/b-x", 0o644),
        ("a/b/c", 0o644),
    ]


REFUSED = {
    "twice": [Entry("a"), Entry("a", content=b"x")],
    "twice the same": [Entry("a", "dir", 0o755), Entry("a", "dir", 0o755)],
    "inside a file": [Entry("a"), Entry("a/b")],
    "inside a link": [Entry("a", "link", target="/etc"), Entry("a/passwd")],
    "absolute": [Entry("/a")],
    "upwards": [Entry("a/../../b")],
    "a dot": [Entry("./a")],
    "empty": [Entry("")],
    "a slash too many": [Entry("a//b")],
    "a slash at the end": [Entry("a/")],
    "a newline": [Entry("a\nb")],
    "a null byte": [Entry("a\0b")],
    "an unpaired surrogate": [Entry("a\udcff")],
    "a link to nowhere": [Entry("a", "link")],
    "a file with a target": [Entry("a", target="b")],
    "a negative owner": [Entry("a", uid=-1)],
    "a mode beyond bits": [Entry("a", mode=0o100644)],
}


@pytest.mark.parametrize("entries", REFUSED.values(), ids=REFUSED)
def test_entries_that_cannot_be_are_refused(entries):
    store = Memory()
    with pytest.raises(ConfigError):
        write_layer(store, entries, mtime=0)


def test_a_file_that_is_not_there_names_it(tmp_path):
    with pytest.raises(UnreadableError, match="gone"):
        packed([Entry("a", content=tmp_path / "gone")])


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnreadableError, match="not a regular file"):
        packed([Entry("a", content=tmp_path / "pipe")])


def test_a_file_that_is_not_what_was_judged_is_not_packed(tmp_path):
    (tmp_path / "app").write_bytes(b"judged")
    judged = Entry("app", content=tmp_path / "app", digest=digest_of(b"judged"))
    packed([judged])
    (tmp_path / "app").write_bytes(b"swapped")
    layout = Layout.create(tmp_path / "layout")
    with pytest.raises(IntegrityError, match="no longer"):
        write_layer(layout, [judged], mtime=0)
    assert not list(layout.path.glob("blobs/sha256/*"))
    with pytest.raises(IntegrityError):
        packed([Entry("app", content=b"swapped", digest=digest_of(b"judged"))])


@pytest.mark.parametrize("change", [-1_000_000, 1], ids=["shorter", "longer"])
def test_a_file_that_changes_meanwhile_is_noticed(tmp_path, change):
    path = tmp_path / "app"
    path.write_bytes(bytes(3 << 20))

    class Disturbing(Memory):
        def add(self, stream, expected=None):
            first = stream.read(10)
            os.truncate(path, (3 << 20) + change)
            return super().add(io.BytesIO(first + stream.read()), expected)

    with pytest.raises(IntegrityError, match="became"):
        write_layer(Disturbing(), [Entry("app", content=path)], mtime=0)


LEVELS = {"gzip 3": ("gzip", 3), "gzip 0": ("gzip", 0), "zstd 20": ("zstd", 20), "none 1": ("none", 1)}


@pytest.mark.parametrize(("algorithm", "level"), LEVELS.values(), ids=LEVELS)
def test_a_level_that_is_not_reproducible_is_refused(algorithm, level):
    with pytest.raises(ConfigError, match=str(level)):
        Compression(algorithm, level)


def test_what_decides_the_bytes_can_be_recorded():
    sample = re.fullmatch(rf"isal {re.escape(version('isal'))} level 2, sample [0-9a-f]{{8}}", Compression().identity)
    assert sample, Compression().identity
    library = ".".join(map(str, zstandard.ZSTD_VERSION))
    assert Compression("zstd", 1).identity == f"zstandard {version('zstandard')} (zstd {library}) level 1"
    assert Compression("none").identity == "none"


_MEASURED = """
import resource, sys
from pathlib import Path
from imagekit.oci.layers import Compression, Entry, write_layer
from imagekit.oci.store import Layout

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

layout = Layout.create(Path(sys.argv[1]), durable=False)
compression = Compression(sys.argv[2])
write_layer(layout, [Entry("small", content=b"x")], mtime=0, compression=compression)
before = peak()
write_layer(layout, [Entry("large", content=Path(sys.argv[3]))], mtime=0, compression=compression)
print(peak() - before)
"""


@pytest.mark.parametrize("algorithm", GOLDEN)
def test_memory_does_not_grow_with_the_file(tmp_path, algorithm):
    block = random.Random(3).randbytes(1 << 20)
    with (tmp_path / "large").open("wb") as file:
        for _ in range(64):
            file.write(block)
    words = [sys.executable, "-c", _MEASURED, tmp_path / "layout", algorithm, tmp_path / "large"]
    grown = int(subprocess.run(words, capture_output=True, check=True).stdout)
    assert grown * resource.getpagesize() // 4096 < 8 << 10, f"{grown} KiB"


@pytest.mark.real
def test_a_real_program_survives(go_program: Path, tmp_path):
    layer, raw = packed([Entry("app", mode=0o555, content=go_program)])
    (tmp_path / "layer.tar.gz").write_bytes(raw)
    subprocess.run(["tar", "-xzf", tmp_path / "layer.tar.gz", "-C", tmp_path], check=True)
    assert (tmp_path / "app").read_bytes() == go_program.read_bytes()
    assert hashlib.sha256(gzip.decompress(raw)).hexdigest() == layer.diff_id.removeprefix("sha256:")
