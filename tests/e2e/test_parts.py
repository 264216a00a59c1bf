"""CI jobs build targets apart; merged they are what one run makes, byte for byte."""

from __future__ import annotations

import pytest


@pytest.fixture
def parts(module, imagekit, tmp_path):
    """A module, and its targets built in two parts."""
    place = module("hello")
    for name, selector in (("linux", "linux/*"), ("others", "!linux/*")):
        done = imagekit("build", "--target", selector, "--partial", tmp_path / name, cwd=place)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
    return place, tmp_path / "linux", tmp_path / "others"


def test_merged_is_what_one_run_makes(parts, imagekit, digests):
    place, linux, others = parts
    whole = imagekit("build", "--output", "whole", cwd=place)
    merged = imagekit("merge", linux, others, "--output", "merged", cwd=place, PATH="/usr/bin:/bin")
    assert merged.returncode == 0, merged.stderr
    assert merged.stdout == whole.stdout
    one, other = digests(place / "whole"), digests(place / "merged")
    differing = {path for path in one.keys() | other.keys() if one.get(path) != other.get(path)}
    assert {path.partition(".source")[0] for path in differing} <= {"Dockerfile.hello", "SHA256SUMS", "artifacts.json"}


def test_a_missing_part_is_named(parts, imagekit):
    place, linux, _ = parts
    done = imagekit("merge", linux, cwd=place)
    assert done.returncode == 2
    assert "no part has hello:darwin/arm64, hello:windows/amd64" in done.stderr
    assert not (place / "dist").exists()


def test_a_part_given_twice_is_refused(parts, imagekit):
    place, linux, others = parts
    done = imagekit("merge", linux, others, linux, cwd=place)
    assert done.returncode == 2
    assert "more than one part has" in done.stderr


def test_a_changed_binary_is_an_integrity_error(parts, imagekit):
    place, linux, others = parts
    program = linux / "bin/hello/linux_amd64/hello"
    program.write_bytes(program.read_bytes() + b"\0")
    done = imagekit("merge", linux, others, cwd=place)
    assert done.returncode == 5, done.stderr
    assert not (place / "dist").exists()


def test_a_part_of_another_commit_is_refused(parts, imagekit):
    place, linux, others = parts
    (place / "notes.txt").write_text("a change")
    done = imagekit("merge", linux, others, cwd=place)
    assert done.returncode == 2
    assert "another source" in done.stderr


def test_a_changed_x_value_is_found_by_the_gate_over_the_parts(parts, imagekit):
    place, linux, others = parts
    config = place / "imagekit.yaml"
    config.write_text(config.read_text().replace("{{ version }}", "9.9.9"))
    done = imagekit("merge", linux, others, cwd=place)
    assert done.returncode == 2
    assert not (place / "dist").exists()


def test_not_a_part(module, imagekit, tmp_path):
    done = imagekit("merge", tmp_path, cwd=module("hello"))
    assert done.returncode == 4
    assert "--partial" in done.stderr
