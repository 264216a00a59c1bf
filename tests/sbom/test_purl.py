from __future__ import annotations

import pytest
from packageurl import PackageURL

from imagekit.sbom.purl import go_cpe, go_release, module_purl, pypi_purl, stdlib_purl

PURLS = {
    "plain": (("example.org/mod", "v1.2.3"), "pkg:golang/example.org/mod@v1.2.3"),
    "incompatible": (
        ("github.com/docker/docker", "v28.0.0+incompatible"),
        "pkg:golang/github.com/docker/docker@v28.0.0%2Bincompatible",
    ),
    "the case is kept": (
        ("github.com/BurntSushi/toml", "v1.4.0"),
        "pkg:golang/github.com/BurntSushi/toml@v1.4.0",
    ),
    "dots in the last element": (("gopkg.in/yaml.v3", "v3.0.1"), "pkg:golang/gopkg.in/yaml.v3@v3.0.1"),
    "one element": (("example.org", "v1.0.0"), "pkg:golang/example.org@v1.0.0"),
    "no version": (("example.org/mod", ""), "pkg:golang/example.org/mod"),
    "a package inside": (("example.org/mod", "v1.0.0", "cmd/app"), "pkg:golang/example.org/mod@v1.0.0#cmd/app"),
    "percent and space": (("example.org/a%b/c d", "v1.0.0"), "pkg:golang/example.org/a%25b/c%20d@v1.0.0"),
    "a question": (("example.org/a?b#c@d", "v1.0.0"), "pkg:golang/example.org/a%3Fb%23c%40d@v1.0.0"),
    "tilde": (("git.example/~user/x", "v0.1.0"), "pkg:golang/git.example/~user/x@v0.1.0"),
}


@pytest.mark.parametrize(("arguments", "purl"), PURLS.values(), ids=PURLS)
def test_module_purl(arguments, purl):
    assert module_purl(*arguments) == purl


@pytest.mark.parametrize(("arguments", "purl"), PURLS.values(), ids=PURLS)
def test_another_reader_reads_the_same_back(arguments, purl):
    read = PackageURL.from_string(purl)
    assert "/".join(filter(None, (read.namespace, read.name))) == arguments[0]
    assert (read.version or "") == arguments[1]
    assert (read.subpath or "") == (arguments[2] if len(arguments) > 2 else "")


@pytest.mark.parametrize("path", ["", "/abs/path", "../up", "a//b", "a/./b", "."])
def test_what_no_purl_can_spell_has_none(path):
    assert module_purl(path, "v1.0.0") == ""


RELEASES = {
    "release": ("go1.26.8", "1.26.8", "cpe:2.3:a:golang:go:1.26.8:*:*:*:*:*:*:*"),
    "candidate": ("go1.27rc1", "1.27rc1", "cpe:2.3:a:golang:go:1.27:rc1:*:*:*:*:*:*"),
    "experiment": ("go1.26.8 X:nodwarf5", "1.26.8", "cpe:2.3:a:golang:go:1.26.8:*:*:*:*:*:*:*"),
    "a vendor's": ("go1.26.8-acme", "1.26.8", "cpe:2.3:a:golang:go:1.26.8:*:*:*:*:*:*:*"),
    "development": ("devel go1.28-abcdef Mon Jan 1", "", ""),
    "nonsense": ("go1.26.8evil:*", "", ""),
    "nothing": ("", "", ""),
}


@pytest.mark.parametrize(("version", "release", "cpe"), RELEASES.values(), ids=RELEASES)
def test_go_s_own_names(version, release, cpe):
    assert go_release(version) == release
    assert go_cpe(version) == cpe


def test_stdlib_has_neither_go_nor_v():
    assert stdlib_purl("1.26.8") == "pkg:golang/stdlib@1.26.8"
    assert stdlib_purl("") == "pkg:golang/stdlib"


def test_wheels():
    assert pypi_purl("certifi", "2026.10.18") == "pkg:pypi/certifi@2026.10.18"
