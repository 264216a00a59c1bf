"""What cannot run in a scratch image is refused: exit 10, the reason, the chain, the way out, and no image."""

from __future__ import annotations

import pytest

CASES = {
    "imports C, cgo off": (
        "refused/cgo",
        [],
        ["cgo-required", "example.org/withcgo", "example.org/withcgo/direct", "example.org/withcgo/native"],
    ),
    "imports C, cgo on": (
        "refused/cgo",
        [("ldflags: {}", "")],
        ["linkage", "dynamic", "example.org/withcgo/direct", "example.org/withcgo/native"],
    ),
    "os/user, cgo on": ("refused/osuser", [], ["linkage", "dynamic", "os/user", "osusergo"]),
    "pie": ("refused/pie", [], ["linkage", "loader-only", "-buildmode=pie", "imagekit.yaml:6"]),
    "purego": ("refused/purego", [], ["linkage", "dynamic", "github.com/ebitengine/purego"]),
}


@pytest.mark.parametrize("case", CASES, ids=list(CASES))
def test_refused_with_its_reason_and_no_image(module, imagekit, case: str):
    fixture, _, words = CASES[case]
    place = module(fixture)
    if case == "imports C, cgo on":
        config = place / "imagekit.yaml"
        config.write_text(config.read_text().replace("[linux/amd64]}", "[linux/amd64], cgo: allow}"))
    done = imagekit("build", cwd=place)
    assert done.returncode == 10, done.stderr
    assert done.stdout == ""
    for word in words:
        assert word in done.stderr, done.stderr
    assert "far" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("imagekit: exit 10: ")
    assert not (place / "dist").exists()
    assert not (place / ".dist.imagekit").exists()


def test_removing_the_named_edge_makes_the_build_pass(module, imagekit):
    place = module("refused/cgo")
    done = imagekit("build", cwd=place)
    assert 'remove the import of "C" from example.org/withcgo/native' in done.stderr, done.stderr
    (place / "native/native.go").write_text("package native\n\nfunc Answer() int { return 42 }\n")
    done = imagekit("build", cwd=place)
    assert done.returncode == 0, done.stderr
    assert (place / "dist/oci/index.json").is_file()


def test_removing_the_named_import_of_a_library_makes_the_build_pass(module, imagekit):
    place = module("refused/purego")
    done = imagekit("build", cwd=place)
    named = 'remove the import of "github.com/ebitengine/purego" from example.org/withpurego'
    assert named in done.stderr, done.stderr
    (place / "main.go").write_text("package main\n\nfunc main() { println() }\n")
    done = imagekit("build", cwd=place)
    assert done.returncode == 0, done.stderr


def test_a_refusal_keeps_the_dist_that_was_there(module, imagekit):
    place = module("refused/osuser")
    config = place / "imagekit.yaml"
    refused = config.read_text()
    config.write_text(refused.replace(", cgo: allow", ""))
    assert imagekit("build", cwd=place).returncode == 0
    before = (place / "dist/SHA256SUMS").read_bytes()
    config.write_text(refused)
    assert imagekit("build", cwd=place).returncode == 10
    assert (place / "dist/SHA256SUMS").read_bytes() == before


def test_a_compile_error_is_a_tool_error_not_a_finding(module, imagekit):
    place = module("hello")
    (place / "main.go").write_text("package main\n\nfunc main() { undefined() }\n")
    done = imagekit("build", cwd=place)
    assert done.returncode == 3, done.stderr
    assert "main.go:3" in done.stderr
