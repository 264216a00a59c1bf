"""Same source, same bytes: wherever, whenever, by whomever."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("fixture", ["hello", "sqlite"])
def test_two_directories_times_umasks_homes_and_job_counts(
    module, imagekit, digests, tmp_path, shared_cache, fixture: str
):
    """The second has compiled everything itself: its caches are others, kept so that this is slow once a machine."""
    one, two = module(fixture, "one"), module(fixture, "elsewhere/two")
    first = imagekit("build", "--jobs", "1", cwd=one)
    assert first.returncode == 0, first.stderr
    (tmp_path / "home").mkdir()
    script = f"umask 0077; exec {sys.executable} -m imagekit build --jobs 2"
    second = subprocess.run(
        ["sh", "-c", script],
        cwd=two,
        capture_output=True,
        text=True,
        check=False,
        env={
            **{k: v for k, v in os.environ.items() if k not in ("GOFLAGS", "SOURCE_DATE_EPOCH")},
            "HOME": str(tmp_path / "home"),
            "GOMODCACHE": subprocess.check_output(["go", "env", "GOMODCACHE"], text=True).strip(),
            "XDG_CACHE_HOME": str(shared_cache / "elsewhere"),
            "TZ": "Pacific/Chatham",
            "LC_ALL": "C",
        },
    )
    assert second.returncode == 0, second.stderr
    assert first.stdout == second.stdout
    assert digests(one / "dist") == digests(two / "dist")


def test_twice_in_one_clone_without_a_gitignore(module, imagekit, digests):
    place = module("hello")
    assert imagekit("build", cwd=place).returncode == 0
    before = digests(place / "dist")
    done = imagekit("build", cwd=place)
    assert done.returncode == 0
    assert "dirty" not in done.stderr
    assert digests(place / "dist") == before


def test_a_dirty_tree_is_said_and_changes_the_version(module, imagekit):
    place = module("hello")
    (place / "notes.txt").write_text("not committed")
    done = imagekit("build", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "dirty-tree" in done.stderr


def test_a_module_without_a_repository(module, imagekit):
    place = module("hello", git=False)
    done = imagekit("build", "--config", "imagekit.yaml", cwd=place, SOURCE_DATE_EPOCH="1700000000")
    assert done.returncode == 0, done.stderr
