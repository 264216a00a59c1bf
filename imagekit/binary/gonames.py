"""What the names in Go's function table tell of a program beyond cgo; they stay when it is stripped."""

from __future__ import annotations

import re

from imagekit.binary.facts import Evidence
from imagekit.binary.functions import FunctionTable

_MARKS = {
    "racefuncenter": ("instrumented", "race"),
    "runtime.racefuncenter": ("instrumented", "race"),
    "asancall": ("instrumented", "asan"),
    "runtime.asanread": ("instrumented", "asan"),
    "msancall": ("instrumented", "msan"),
    "runtime.msanread": ("instrumented", "msan"),
    "runtime/coverage.initHook": ("instrumented", "cover"),
    "net/http/pprof.": ("endpoints", "pprof"),
    "expvar.": ("endpoints", "expvar"),
    "google.golang.org/grpc/health.(*Server).": ("endpoints", "health"),
    "connectrpc.com/grpchealth.": ("endpoints", "health"),
    "k8s.io/apiserver/pkg/server/healthz.": ("endpoints", "health"),
    "sigs.k8s.io/controller-runtime/pkg/healthz.": ("endpoints", "health"),
    "github.com/alexliesenfeld/health.": ("endpoints", "health"),
    "github.com/hellofresh/health-go/": ("endpoints", "health"),
    "github.com/heptiolabs/healthcheck.": ("endpoints", "health"),
    "net/http.(*Server).Serve": ("serves", "http"),
    "plugin.Open": ("loads", "plugin.Open"),
    "github.com/ebitengine/purego.Dlopen": ("loads", "purego.Dlopen"),
    "crypto/internal/fips140/v1": ("fips", "GOFIPS140=v1"),
    "crypto/internal/boring._Cfunc__goboringcrypto_": ("fips", "boringcrypto"),
}
"""Beginning of a function's name -> trait, and its word there. Assembly functions have no package before Go 1.21."""
_BEGINNING = re.compile(b"\0(" + b"|".join(re.escape(mark.encode()) for mark in _MARKS) + b")")
NAME_SERVICE = (
    "getaddrinfo|getnameinfo|gethostby(?:name2?|addr)(?:_r)?|get(?:pw|gr)(?:nam|[ug]id|ent)(?:_r)?|getgrouplist"
    "|initgroups|getserv(?:byname|byport)(?:_r)?|getprotoby(?:name|number)(?:_r)?|getspnam(?:_r)?"
)
"""The functions by which C programs ask the name service (nsswitch.conf), as a regular expression."""
_NSS = re.compile(rb"\0((?:net|os/user)\._C(?:2?func)?_(?:my)?(?:" + NAME_SERVICE.encode() + rb"))(?=\0)")
_C_NAME = re.compile(r"\._C(?:2?func)?_(?:my)?(\w+)$")
_DLOPEN = b"._Cfunc_dlopen\0"

Found = dict[str, Evidence]
"""Word of a trait -> the first place that shows it."""


def marks(table: FunctionTable) -> dict[str, Found]:
    """Trait -> its words, in one pass over the names; `serves` is a hint for `endpoints`, no trait."""
    found: dict[str, Found] = {}
    for at, name in table.hits(_BEGINNING):
        trait, word = _MARKS[name]
        _add(found.setdefault(trait, {}), word, at, name)
    return found


def c_loader(table: FunctionTable) -> Found:
    """`dlopen`, called through cgo: asked only where cgo is proven."""
    at, found = table.where(_DLOPEN), Found()
    if at is not None:
        _add(found, "dlopen", at, "_Cfunc_dlopen")
    return found


def name_service(table: FunctionTable) -> Found:
    """The C functions of the name service that `net` and `os/user` call: asked only where cgo is proven."""
    found: Found = {}
    for at, name in table.hits(_NSS):
        match = _C_NAME.search(name)
        _add(found, match[1] if match else name, at, name)
    return found


def _add(found: Found, word: str, at: int, name: str) -> None:
    if word not in found:
        found[word] = Evidence("function table", at, name)
