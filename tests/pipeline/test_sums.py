"""SHA256SUMS of a dist/, read back and by sha256sum."""

from __future__ import annotations

import subprocess
from pathlib import Path

from imagekit.content import digest_of, hex_of
from imagekit.pipeline.sums import SUMS, listed_in, sums_in, write_sums


def test_every_file_but_two_is_listed_by_path(tmp_path: Path) -> None:
    for inside in ("bin/app", "a b.txt", ".gitignore", "oci/index.json"):
        (tmp_path / inside).parent.mkdir(exist_ok=True)
        (tmp_path / inside).write_bytes(inside.encode())
    digest = write_sums(tmp_path, {"bin/app": digest_of(b"bin/app")})
    assert digest == digest_of((tmp_path / SUMS).read_bytes())
    wanted = {inside: hex_of(digest_of(inside.encode())) for inside in ("a b.txt", "bin/app", "oci/index.json")}
    assert list(listed_in(sums_in(tmp_path)).items()) == list(wanted.items())
    subprocess.run(["sha256sum", "--strict", "--quiet", "-c", SUMS], cwd=tmp_path, check=True)


def test_a_known_digest_and_a_blob_s_name_are_not_read_again(tmp_path: Path) -> None:
    blob = tmp_path / "oci/blobs/sha256" / ("0" * 64)
    blob.parent.mkdir(parents=True)
    blob.write_bytes(b"x")
    (tmp_path / "known").write_bytes(b"y")
    write_sums(tmp_path, {"known": digest_of(b"z")})
    assert listed_in(sums_in(tmp_path)) == {
        "known": hex_of(digest_of(b"z")),
        f"oci/blobs/sha256/{'0' * 64}": "0" * 64,
    }
