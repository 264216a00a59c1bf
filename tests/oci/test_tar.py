"""Headers by hand, read back by Python's tarfile and by GNU tar."""

from __future__ import annotations

import io
import subprocess
import tarfile

import pytest

from imagekit.oci import tar

LONG = "d" * 99 + "/" + "f" * 101
CASES = {
    "a file": {"path": "usr/bin/app", "kind": "file", "mode": 0o755},
    "a folder": {"path": "tmp", "kind": "dir", "mode": 0o1777},
    "a link": {"path": "lib", "kind": "link", "mode": 0o777, "target": "usr/lib"},
    "100 bytes": {"path": "x" * 100, "kind": "file", "mode": 0o644},
    "split at a slash": {"path": "p" * 155 + "/" + "n" * 100, "kind": "file", "mode": 0o644},
    "a folder split at a slash": {"path": "p" * 120 + "/" + "n" * 90, "kind": "dir", "mode": 0o755},
    "too long to split": {"path": "x" * 101, "kind": "file", "mode": 0o644},
    "no slash where it is needed": {"path": LONG, "kind": "file", "mode": 0o644},
    "very long": {"path": "/".join(["part" * 20] * 10), "kind": "file", "mode": 0o644},
    "not ASCII": {"path": "straße/日本語", "kind": "file", "mode": 0o644},
    "a long folder, not ASCII": {"path": "ü" * 90, "kind": "dir", "mode": 0o755},
    "a long target": {"path": "l", "kind": "link", "mode": 0o777, "target": "t" * 200},
    "a target, not ASCII": {"path": "l", "kind": "link", "mode": 0o777, "target": "ziel/ß"},
    "large owners": {"path": "f", "kind": "file", "mode": 0o644, "uid": 2**21, "gid": 2**31 - 2},
    "owners that just fit": {"path": "f", "kind": "file", "mode": 0o644, "uid": 2**21 - 1, "gid": 65532},
    "a late time": {"path": "f", "kind": "file", "mode": 0o644, "mtime": 8**11},
    "set-user-id": {"path": "f", "kind": "file", "mode": 0o4755, "mtime": 1_700_000_000},
}
KINDS = {"file": tarfile.REGTYPE, "dir": tarfile.DIRTYPE, "link": tarfile.SYMTYPE}


def read(header: bytes) -> tarfile.TarInfo:
    with tarfile.open(fileobj=io.BytesIO(header + tar.END)) as archive:
        (member,) = archive.getmembers()
    return member


@pytest.mark.parametrize("entry", CASES.values(), ids=CASES)
def test_tarfile_reads_what_was_meant(entry):
    member = read(tar.header(**entry))
    found = (member.name, member.type, member.mode, member.uid, member.gid, member.mtime, member.linkname)
    wanted = [entry.get(key, 0) for key in ("mode", "uid", "gid", "mtime")]
    assert found == (entry["path"], KINDS[entry["kind"]], *wanted, entry.get("target", ""))
    assert (member.uname, member.gname) == ("", "")


@pytest.mark.parametrize("entry", CASES.values(), ids=CASES)
def test_gnu_tar_reads_the_same_name(entry):
    words = ["tar", "-tf", "-", "--quoting-style=literal"]
    shown = subprocess.run(words, input=tar.header(**entry) + tar.END, capture_output=True, check=True)
    assert shown.stderr == b""
    assert shown.stdout.decode() == entry["path"] + ("/\n" if entry["kind"] == "dir" else "\n")


def test_more_than_octal_digits_can_say():
    header = tar.header("big", "file", mode=0o644, size=8**11)
    member = tarfile.TarInfo.frombuf(header[-512:], "utf-8", "strict")
    assert (len(header), member.size) == (3 * 512, 0)
    assert b"\n" in header[512:1024]
    assert header[512:].startswith(b"19 size=8589934592\n")


@pytest.mark.parametrize("key", [name for name, entry in CASES.items() if entry["path"] in ("f", "tmp", "usr/bin/app")])
def test_a_pax_record_only_where_it_is_needed(key):
    assert len(tar.header(**CASES[key])) == (3 * 512 if key in ("large owners", "a late time") else 512)


def test_the_length_of_a_record_counts_its_own_digits():
    for size in range(80, 120):
        assert read(tar.header("ü" * size, "file", mode=0o644)).name == "ü" * size


def test_negative_numbers_are_refused():
    with pytest.raises(ValueError, match="mtime"):
        tar.header("f", "file", mode=0o644, mtime=-1)


@pytest.mark.parametrize(("size", "wanted"), [(0, 0), (1, 511), (512, 0), (513, 511)])
def test_content_is_filled_to_blocks(size, wanted):
    assert tar.padding(size) == wanted
