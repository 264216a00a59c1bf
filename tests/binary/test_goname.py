"""Import paths in symbol names: the linker's own escaping, and back."""

from __future__ import annotations

import pytest

from imagekit.binary import goname

PREFIXES = {
    "no dot": ("net/http", "net/http"),
    "dot in the host only": ("example.com/app", "example.com/app"),
    "dot in the last element": ("gopkg.in/yaml.v2", "gopkg.in/yaml%2ev2"),
    "dot without a slash": ("a.b", "a%2eb"),
    "percent": ("example.com/100%", "example.com/100%25"),
    "quote and space": ('x/a "b', "x/a%20%22b"),
    "not 7-bit": ("x/blé", "x/bl%c3%a9"),
    "control and delete": ("x/\t\x7f", "x/%09%7f"),
    "dot before a later slash": ("v1.2/in.fo", "v1.2/in%2efo"),
}
PACKAGES = {
    "function": ("net/http.Get", "net/http"),
    "method": ("net/http.(*Client).Do", "net/http"),
    "value method": ("time.Duration.String", "time"),
    "closure": ("main.main.func1.2", "main"),
    "package variable's closure": ("net/http.glob..func1", "net/http"),
    "initializer": ("example.com/a/b.init.0", "example.com/a/b"),
    "escaped": ("gopkg.in/yaml%2ev2.Unmarshal", "gopkg.in/yaml.v2"),
    "generic over a foreign type": ("slices.SortFunc[go.shape.[]example.com/x.T,go.shape.y/z.T]", "slices"),
    "generic method": ("example.com/q.(*box[...]).get", "example.com/q"),
    "host that looks like the compiler's prefix": ("go.uber.org/zap.New", "go.uber.org/zap"),
    "host alone": ("go.yaml.in/yaml/v3.init", "go.yaml.in/yaml/v3"),
    "vendored by the standard library": ("vendor/golang.org/x/net/idna.f", "vendor/golang.org/x/net/idna"),
    "cgo wrapper": ("main._Cfunc_twice", "main"),
    "assembly": ("gogo", ""),
    "generated equality": ("type:.eq.net/http.Header", ""),
    "generated equality before Go 1.20": ("type..eq.net/http.Header", ""),
    "method of a nameless struct": ("go:struct { io.Reader }.Read", ""),
    "the same before Go 1.20": ("go.(*struct { io.Reader }).Read", ""),
    "build id": ("go:buildid", ""),
    "broken escape": ("x/a%zz.f", "x/a%zz"),
}


@pytest.mark.parametrize(("path", "prefix"), PREFIXES.values(), ids=PREFIXES)
def test_escaped_and_back(path: str, prefix: str) -> None:
    assert goname.escaped(path) == prefix
    assert goname.unescaped(prefix) == path


@pytest.mark.parametrize(("function", "package"), PACKAGES.values(), ids=PACKAGES)
def test_package_of(function: str, package: str) -> None:
    assert goname.package_of(function) == package


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("main.version", "main.version"),
        ("example.com/zoo/in.fo.Build", "example.com/zoo/in%2efo.Build"),
        ("version", ""),
        (".version", ""),
        ("main.", ""),
    ],
)
def test_symbol(name: str, symbol: str) -> None:
    assert goname.symbol(name) == symbol
