"""Module paths, versions and private patterns, as golang.org/x/mod/module means them."""

from __future__ import annotations

import pytest

from imagekit.errors import UnreadableError
from imagekit.source.modpath import check_file, check_module, covered, escape_module, is_version, version_key

# From the table of TestMatchPrefixPatterns and the documentation of `go help module-private` and path.Match.
COVERED = [
    ("", "rsc.io/quote", False),
    ("/", "rsc.io/quote", False),
    ("*/quote", "rsc.io/quote", True),
    ("*/quo", "rsc.io/quote", False),
    ("*/quo??", "rsc.io/quote", True),
    ("*/quo*", "rsc.io/quote", True),
    ("*quo*", "rsc.io/quote", False),
    ("rsc.io", "rsc.io/quote", True),
    ("*.io", "rsc.io/quote", True),
    ("rsc.io/", "rsc.io/quote", True),
    ("rsc", "rsc.io/quote", False),
    ("rsc*", "rsc.io/quote", True),
    ("rsc.io", "rsc.io/quote/v3", True),
    ("*/quote", "rsc.io/quote/v3", True),
    ("*/quote/", "rsc.io/quote/v3", True),
    ("*/quote/*", "rsc.io/quote/v3", True),
    ("*/quote/*/", "rsc.io/quote/v3", True),
    ("*/v3", "rsc.io/quote/v3", False),
    ("*/*/v3", "rsc.io/quote/v3", True),
    ("*/*/*", "rsc.io/quote/v3", True),
    ("*/*/*", "rsc.io/quote", False),
    ("*/*/*,", "rsc.io/quote", False),
    ("*/*/*,,rsc.io/quote", "rsc.io/quote", True),
    ("*/*/*,rsc.io/quote", "rsc.io/quote", True),
    ("[", "rsc.io/quote", False),
    ("[a-", "rsc.io/quote", False),
    ("[]", "rsc.io/quote", False),
    ("[]a]", "rsc.io/quote", False),
    ("rsc.io/[a-q]uote", "rsc.io/quote", True),
    ("rsc.io/[^a-p]uote", "rsc.io/quote", True),
    ("rsc.io/[^q]uote", "rsc.io/quote", False),
    ("rsc.io/[z-a]uote", "rsc.io/quote", False),
    ("rsc[./]io", "rsc.io", False),
    ("rsc[^x]io", "rsc/io", False),
    ("rsc.io/[!q]uote", "rsc.io/quote", True),
    (r"rsc.io/\quote", "rsc.io/quote", True),
    ("rsc.io/quote\\", "rsc.io/quote", False),
    ("rsc.io/{quote}", "rsc.io/quote", False),
    ("RSC.io", "rsc.io/quote", False),
]


@pytest.mark.parametrize(("patterns", "module", "expected"), COVERED)
def test_private_patterns(patterns: str, module: str, expected: bool) -> None:
    assert covered(patterns, module) is expected


@pytest.mark.parametrize(
    "version",
    ["v0.0.0", "v1.2.3", "v1.2.3-rc.1", "v2.0.0+incompatible", "v0.0.0-20191109021931-daa7c04131f5", "v1.0.0-0.2a"],
)
def test_fixed_versions(version: str) -> None:
    assert is_version(version)


@pytest.mark.parametrize(
    "version",
    ["latest", "v1", "v1.2", "1.2.3", "v01.2.3", "v1.2.3-01", "v1.2.3+meta", "main", "", "v1.2.3\n", "v1.2.３"],
)
def test_what_can_move_or_is_no_version(version: str) -> None:
    assert not is_version(version)


def test_versions_sort_as_semver_orders_them() -> None:
    ordered = ["v0.9.0", "v1.0.0-alpha", "v1.0.0-alpha.1", "v1.0.0-alpha.beta", "v1.0.0-beta.2", "v1.0.0-beta.11"]
    ordered += ["v1.0.0-rc.1", "v1.0.0", "v1.2.0", "v1.10.0", "v2.0.0+incompatible"]
    shuffled = ordered[3:] + ordered[:3]
    assert sorted(shuffled, key=version_key) == ordered


def test_upper_case_is_escaped() -> None:
    assert escape_module("github.com/BurntSushi/toml", "v1.0.0-RC1") == "github.com/!burnt!sushi/toml@v1.0.0-!r!c1"


@pytest.mark.parametrize(
    "path",
    [
        "",
        "fmt",
        "/a.b",
        "a.b/",
        "a.b//c",
        "a.b/../c",
        "a.b/.c",
        "a.b/c.",
        "-a.b/c",
        "A.b/c",
        "a.b/c d",
        "a.b/é",
        "a.b/con",
        "a.b/!c",
    ],
)
def test_no_module_path(path: str) -> None:
    with pytest.raises(UnreadableError):
        check_module(path)


@pytest.mark.parametrize(
    "path", ["x/../y", "x//y", "x/", "/x", "a:b", "a\\b", "aux.go", "x/COM1", "a\nb", "a*b", "a.", "x/\0"]
)
def test_no_file_of_a_module(path: str) -> None:
    with pytest.raises(UnreadableError):
        check_file(path)


@pytest.mark.parametrize("path", ["a b/c", "ü/x.go", ".hidden", "_x", "a~1", "[x]{y}", "x#1"])
def test_a_file_of_a_module(path: str) -> None:
    check_file(path)


@pytest.mark.parametrize(
    ("module", "version"), [("a.b/c", "v1/x"), ("a.b/c", "../x"), ("a.b/c", "v1!x"), ("a b", "v1.0.0")]
)
def test_what_is_asked_for_cannot_leave_its_folder(module: str, version: str) -> None:
    with pytest.raises(UnreadableError):
        escape_module(module, version)
