"""cache key: the same for the same inputs, another for others. cache prune: what nobody used, never what is in use."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

DAY = 86400


def key(imagekit, root: Path, *words: str) -> str:
    done = imagekit("cache", "key", *words, cwd=root)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    return done.stdout.strip()


@pytest.mark.real
@pytest.mark.parametrize(
    ("file", "old", "new", "same"),
    [
        ("cmd/app/main.go", "println", "print", 3),
        ("go.mod", "go 1.21", "go 1.22", 2),
        ("imagekit.yaml", "tags: [special]", "tags: [other]", 1),
        ("imagekit.yaml", "linux/arm64]", "linux/arm64], levels: {amd64: v2}", 1),
        ("imagekit.yaml", "tags: [", "cgo: allow, tags: [", 1),
        ("imagekit.yaml", "tags: [", "gcflags: [all=-l], tags: [", 1),
        ("imagekit.yaml", "tags: [", "ldflags: {set: {main.x: y}}, tags: [", 3),
        ("imagekit.yaml", ", linux/arm64]", "]", 1),
    ],
)
def test_what_the_key_depends_on(choosy, imagekit, file: str, old: str, new: str, same: int) -> None:
    """`same`: 3 the whole key, 2 all but the modules' digest, 1 only what is before the targets' digest."""
    before = key(imagekit, choosy)
    text = (choosy / file).read_text()
    assert old in text
    (choosy / file).write_text(text.replace(old, new))
    after = key(imagekit, choosy)
    parts = [one == other for one, other in zip(before.split("-")[-2:], after.split("-")[-2:], strict=True)]
    assert before.split("-")[:-2] == after.split("-")[:-2]
    assert parts == {3: [True, True], 2: [True, False], 1: [False, True]}[same]


@pytest.mark.real
def test_the_key_is_that_of_any_place_and_go_sum_counts(choosy, imagekit, tmp_path) -> None:
    before = key(imagekit, choosy)
    other = tmp_path / "elsewhere"
    choosy.rename(other)
    assert key(imagekit, other) == before
    (other / "go.sum").write_text("example.org/y v1.0.0 h1:" + "A" * 43 + "=\n")
    assert key(imagekit, other) != before
    assert key(imagekit, other, "--target", "windows") != key(imagekit, other)


@pytest.mark.real
def test_key_as_json(choosy, imagekit, tmp_path) -> None:
    told = json.loads(imagekit("cache", "key", "--format", "json", cwd=choosy).stdout)
    assert told["key"] == key(imagekit, choosy)
    assert all(told["key"].startswith(prefix) and prefix.endswith("-") for prefix in told["restore_keys"])
    assert sorted(told["restore_keys"], key=len, reverse=True) == told["restore_keys"]
    assert told["paths"][-1] == str(tmp_path / "cache" / "imagekit")
    assert len(told["paths"]) == 3


def aged(path: Path, days: float) -> None:
    """Everything in a tree looks as if it was last used then (but for ctime, which nobody can set)."""
    moment = time.time() - days * DAY
    for one in (path, *path.rglob("*")):
        os.utime(one, (moment, moment), follow_symlinks=False)


def pruned(cache: Path, *words: str) -> dict[str, object]:
    argv = [sys.executable, "-m", "imagekit", "cache", "prune", "--cache-dir", cache, "--format", "json", *words]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{cache}: freed " in done.stderr
    return json.loads(done.stdout)


def counts(told: dict[str, object]) -> dict[str, int]:
    return {one["kind"]: one["count"] for one in told["removed"] if one["count"]}


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """A cache directory with one old thing of every kind."""
    cache = tmp_path / "filled"
    for name in ("one", "two"):
        (cache / "kept" / name).mkdir(parents=True)
        (cache / "kept" / name / "lock").touch()
        (cache / "kept" / name / "app").write_bytes(b"x" * 1000)
    for name in ("facts", "asked", "contents", "modules", "written"):
        (cache / name).mkdir()
        (cache / name / "record").write_bytes(b"{}")
    tree = cache / "published" / "tree"
    (tree / "inside").mkdir(parents=True)
    (tree / "inside" / "file.go").write_text("package x\n")
    (tree / "inside").chmod(0o555)
    (cache / "published" / "spec.json").write_text(json.dumps({"root": str(tree)}))
    (cache / "bases/blobs/sha256").mkdir(parents=True)
    (cache / "bases/blobs/sha256" / ("0" * 64)).write_bytes(b"layer")
    (cache / "bases" / f".{'1' * 64}.part").write_bytes(b"lay")
    (cache / "bases/oci-layout").write_bytes(b"{}")
    (cache / "scratch" / "left").mkdir(parents=True)
    (cache / "zig" / "h").mkdir(parents=True)
    (cache / "zig" / "h" / "x").write_bytes(b"y")
    (cache / "sumdb" / "name").mkdir(parents=True)
    (cache / "sumdb" / "name" / "latest").write_bytes(b"tree")
    aged(cache, 40)
    return cache


def test_everything_old_goes_but_the_memory_of_the_checksum_database(filled: Path) -> None:
    told = pruned(filled)
    assert counts(told) == {
        "kept outputs": 2,
        "records": 5,
        "blobs of bases": 2,
        "scratch": 1,
        "compiler caches": 1,
    }
    assert told["freed"] >= 2000
    assert (told["busy"], told["held"]) == (False, 0)
    left = {path.relative_to(filled).as_posix() for path in filled.rglob("*") if path.is_file()}
    stay = {"in-use", "sumdb/name/latest", "bases/oci-layout"}
    assert left == stay | {"published/tree/inside/file.go"}, "the tree's own ctime is new"
    assert counts(pruned(filled, "--older-than", "0s")) == {"extracted modules": 1}
    assert counts(pruned(filled)) == {}


def test_what_was_used_stays(filled: Path) -> None:
    aged(filled, 20)
    assert counts(pruned(filled)) == {}
    assert counts(pruned(filled, "--older-than", "2w"))["kept outputs"] == 2


def test_a_kept_output_that_is_locked_stays(filled: Path) -> None:
    with (filled / "kept" / "one" / "lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        told = pruned(filled)
    assert told["held"] == 1
    assert [path.name for path in (filled / "kept").iterdir()] == ["one"]
    assert (filled / "kept" / "one" / "app").is_file()


def test_beside_a_running_imagekit_only_the_really_old_goes(filled: Path) -> None:
    (filled / "kept" / "two" / "lock").write_bytes(b"")
    with (filled / "in-use").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        told = pruned(filled, "--older-than", "0s")
    assert told["busy"]
    assert counts(told) == {"kept outputs": 1, "records": 5}
    assert (filled / "kept" / "two").is_dir()
    assert (filled / "published" / "tree").is_dir()
    assert (filled / "scratch" / "left").is_dir()


@pytest.mark.real
def test_packed_layers_go_with_the_last_key_that_names_them_and_the_next_build_gives_the_same(
    choosy, imagekit, tmp_path
) -> None:
    assert imagekit("build", "--target", "linux/amd64", cwd=choosy).returncode == 0
    sums = (choosy / "dist" / "SHA256SUMS").read_bytes()
    cache = tmp_path / "cache" / "imagekit"
    assert counts(pruned(cache)) == {}
    gone = counts(pruned(cache, "--older-than", "0s"))
    assert gone["kept outputs"] >= 1
    assert gone["packed layers"] >= 1
    assert gone["records of layers"] >= 1
    assert not [path for path in (cache / "layers" / "packed" / "blobs").rglob("*") if path.is_file()]
    done = imagekit("build", "--target", "linux/amd64", cwd=choosy)
    assert done.returncode == 0, done.stderr
    assert (choosy / "dist" / "SHA256SUMS").read_bytes() == sums


def test_who_waits_for_a_lock_that_is_removed_starts_anew(tmp_path: Path) -> None:
    """`golang.kept` looks again after waiting: a lock in no folder locks nothing."""
    import threading

    from imagekit.golang.kept import held

    folder = tmp_path / "kept" / "one"
    folder.mkdir(parents=True)
    entered = threading.Event()

    def wait() -> None:
        with held(folder, "app") as kept:
            assert kept.temporary.is_dir()
            entered.set()

    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiter = threading.Thread(target=wait)
        waiter.start()
        time.sleep(0.1)
        folder.rename(tmp_path / "trash")
    waiter.join(10)
    assert entered.is_set()
    assert (folder / "lock").is_file()


@pytest.mark.parametrize("age", ["30", "x", "-1d", "1.5d", "30y"])
def test_an_age_is_a_number_and_a_unit(tmp_path: Path, imagekit, age: str) -> None:
    done = imagekit("cache", "prune", f"--older-than={age}", cwd=tmp_path)
    assert done.returncode == 2
    assert "write 12h, 30d or 8w" in done.stderr.splitlines()[-1]
