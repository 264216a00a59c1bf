"""What weakens the source, and who is said to have caused it."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagekit.source import gosum
from imagekit.source.git import GitState
from imagekit.source.gomod import Replace
from imagekit.source.weakness import Weakness
from imagekit.source.weaknesses import weaknesses

H1 = "h1:" + "A" * 43 + "="


def only(*found: Weakness) -> Weakness:
    (weakness,) = found
    return weakness


def test_nothing_weakens_the_defaults() -> None:
    settings = {"GOSUMDB": "sums.test", "GOPRIVATE": "", "GONOSUMDB": "", "GOINSECURE": "", "GOFLAGS": "-trimpath"}
    assert weaknesses(settings, ambient={}, file={}) == ()


@pytest.mark.parametrize(
    ("ambient", "file", "by", "undo"),
    [
        ({"GOSUMDB": "off"}, {}, "set by the environment", "`unset GOSUMDB`"),
        ({}, {"GOSUMDB": "off"}, "set by `go env -w`", "`go env -u GOSUMDB`"),
        ({}, {}, "go.env", "`go env -u GOSUMDB`"),
    ],
)
def test_gosumdb_off_and_who_said_so(ambient: dict[str, str], file: dict[str, str], by: str, undo: str) -> None:
    found = only(*weaknesses({"GOSUMDB": "off"}, ambient=ambient, file=file))
    assert found.rule == "sumdb-off"
    assert by in found.message
    assert found.hint == undo


@pytest.mark.parametrize("name", ["GONOSUMDB", "GOPRIVATE", "GOINSECURE"])
def test_patterns_and_what_they_cover(name: str) -> None:
    modules = ["corp.test/a", "corp.test/b", "public.test/c"]
    found = only(*weaknesses({name: "corp.test,*.none"}, ambient={name: "x"}, file={}, modules=modules))
    assert (found.rule, found.where) == ("sumdb-off", name)
    assert "in this build corp.test/a, corp.test/b;" in found.message
    found = only(*weaknesses({name: "other.test"}, ambient={}, file={name: "x"}, modules=modules))
    assert "none in this build; set by `go env -w`" in found.message


def test_goprivate_is_not_told_twice() -> None:
    settings = {"GOPRIVATE": "corp.test", "GONOSUMDB": "corp.test"}  # `go env` fills GONOSUMDB from GOPRIVATE
    assert [one.where for one in weaknesses(settings, ambient={"GOPRIVATE": "corp.test"}, file={})] == ["GOPRIVATE"]
    both = weaknesses(settings, ambient=settings, file={})
    assert [one.where for one in both] == ["GONOSUMDB", "GOPRIVATE"]


@pytest.mark.parametrize("flags", ["-insecure", "-v --insecure=true"])
def test_insecure_flags(flags: str) -> None:
    assert only(*weaknesses({"GOFLAGS": flags}, ambient={"GOFLAGS": flags}, file={})).where == "GOFLAGS"


def test_only_folders_are_local_replacements() -> None:
    path = Path("app/go.mod")
    replaces = [
        (path, Replace("a.b/c", "v1.0.0", "../c", "", 7)),
        (path, Replace("a.b/d", "", "a.b/fork", "v1.0.0", 8)),
        (path, Replace("a.b/e", "", "C:\\e", "", 9)),
    ]
    found = weaknesses({}, ambient={}, file={}, replaces=replaces)
    assert [(one.rule, one.where) for one in found] == [
        ("local-replace", "app/go.mod:7"),
        ("local-replace", "app/go.mod:9"),
    ]
    assert "a.b/c v1.0.0 is replaced by the folder ../c" in found[0].message


def test_missing_sums_are_named_once_together() -> None:
    sums = gosum.of({("a.b/c", "v1.0.0"): H1, ("a.b/d", "v1.0.0/go.mod"): H1})
    needed = [("a.b/c", "v1.0.0"), ("a.b/d", "v1.0.0"), *((f"a.b/{n}", "v1.0.0") for n in range(7))]
    found = only(*weaknesses({}, ambient={}, file={}, needed=needed, go_sum=sums))
    assert found.rule == "go-sum-missing"
    assert found.message == (
        "go.sum has no hash for a.b/0@v1.0.0, a.b/1@v1.0.0, a.b/2@v1.0.0, a.b/3@v1.0.0, a.b/4@v1.0.0 and 3 more"
    )


def test_a_dirty_tree() -> None:
    git = GitState(Path("/src"), "0" * 40, "0000000", "main", "", True, ("a.go", "b.go"), 1, "")
    found = only(*weaknesses({}, ambient={}, file={}, git=git))
    assert (found.rule, found.where) == ("dirty-tree", "/src")
    assert "commit 0000000" in found.message
    assert "a.go, b.go" in found.message
