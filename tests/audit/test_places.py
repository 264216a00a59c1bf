"""Where programs can run: table cases by facts; real starts in empty and in filled roots are in test_explain.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from imagekit.audit.places import RELEASES, on_glibc, places
from imagekit.binary.facts import BinaryFacts, CgoUse, Linkage, Traits
from imagekit.platform import Platform

GLIBC, MUSL = "/lib64/ld-linux-x86-64.so.2", "/lib/ld-musl-x86_64.so.1"
DYNAMIC: dict[str, Any] = {
    "linkage": Linkage.DYNAMIC,
    "interpreter": GLIBC,
    "needed": ("libc.so.6",),
    "libc": "glibc",
    "glibc_min": "2.34",
}
MakeFacts = Callable[..., BinaryFacts]


@pytest.mark.parametrize(
    ("changes", "verdicts"),
    [
        pytest.param(
            {}, "scratch yes, distroless/static yes, distroless/base yes, alpine yes, any glibc yes", id="static"
        ),
        pytest.param(
            DYNAMIC,
            "scratch no, distroless/static no, distroless/base yes, alpine no, glibc 2.34 or newer yes, "
            "glibc before 2.34 no",
            id="dynamic glibc",
        ),
        pytest.param(
            {**DYNAMIC, "glibc_min": "2.38"},
            "scratch no, distroless/static no, distroless/base yes, alpine no, glibc 2.38 or newer yes, "
            "glibc before 2.38 no",
            id="too new for debian12",
        ),
        pytest.param(
            {**DYNAMIC, "needed": ("libsqlite3.so.0", "libc.so.6")},
            "scratch no, distroless/static no, distroless/base no, alpine no, glibc 2.34 or newer unknown, "
            "glibc before 2.34 no",
            id="another library",
        ),
        pytest.param(
            {**DYNAMIC, "glibc_min": None},
            "scratch no, distroless/static no, distroless/base yes, alpine no, any glibc unknown",
            id="no version said",
        ),
        pytest.param(
            {"linkage": Linkage.LOADER_ONLY, "interpreter": GLIBC},
            "scratch no, distroless/static no, distroless/base yes, alpine no, any glibc yes",
            id="loader only",
        ),
        pytest.param(
            {"linkage": Linkage.LOADER_ONLY, "interpreter": "/nix/store/x/ld-linux-x86-64.so.2"},
            "scratch no, distroless/static no, distroless/base no, alpine no, any glibc no",
            id="a loader of one machine",
        ),
        pytest.param(
            {"linkage": Linkage.DYNAMIC, "interpreter": MUSL, "needed": ("libc.musl-x86_64.so.1",), "libc": "musl"},
            "scratch no, distroless/static no, distroless/base no, alpine yes, any glibc no",
            id="dynamic musl",
        ),
        pytest.param(
            {"linkage": Linkage.DYNAMIC, "interpreter": MUSL, "needed": ("libz.so.1", "libc.so"), "libc": "musl"},
            "scratch no, distroless/static no, distroless/base no, alpine unknown, any glibc no",
            id="musl and another library",
        ),
        pytest.param(
            {"linkage": Linkage.DYNAMIC, "needed": ("libc.so.6",)},
            "scratch no, distroless/static no, distroless/base no, alpine no, any glibc no",
            id="libraries without a loader",
        ),
        pytest.param({"linkage": Linkage.LIBRARY}, "scratch no, distroless/static no, alpine no", id="library"),
        pytest.param({"linkage": Linkage.BROKEN}, "scratch no, distroless/static no, alpine no", id="broken"),
        pytest.param(
            {"linkage": Linkage.UNKNOWN}, "scratch unknown, distroless/static unknown, alpine unknown", id="unknown"
        ),
        pytest.param(
            {"platform": None}, "scratch unknown, distroless/static unknown, alpine unknown", id="no platform"
        ),
        pytest.param(
            {"platform": Platform("freebsd", "amd64")},
            "scratch yes, distroless/static no, alpine no",
            id="static for freebsd",
        ),
        pytest.param(
            {"platform": Platform("windows", "amd64"), "linkage": Linkage.SYSTEM, "needed": ("kernel32.dll",)},
            "scratch no, distroless/static no, alpine no, windows yes",
            id="windows",
        ),
        pytest.param(
            {"platform": Platform("darwin", "arm64"), "linkage": Linkage.DYNAMIC, "needed": ("@rpath/libx.dylib",)},
            "scratch no, distroless/static no, alpine no, darwin unknown",
            id="darwin with a library of others",
        ),
    ],
)
def test_verdicts(facts: MakeFacts, changes: dict[str, Any], verdicts: str) -> None:
    found = places(facts(**changes))
    assert ", ".join(f"{place.name} {place.verdict}" for place in found) == verdicts
    assert all(place.why for place in found)


def test_the_reason_names_what_is_missing(facts: MakeFacts) -> None:
    by_name = {place.name: place.why for place in places(facts(**DYNAMIC))}
    assert GLIBC in by_name["scratch"]
    assert "musl" in by_name["alpine"]
    assert "Ubuntu 22.04 (2.35)" in by_name["glibc 2.34 or newer"]
    assert "Debian 11" in by_name["glibc before 2.34"]
    base = next(place for place in places(facts(**{**DYNAMIC, "glibc_min": "2.38"})) if place.name == "distroless/base")
    assert base.why == "needs glibc 2.38: debian12 has 2.36, debian13 has 2.41"


def test_static_glibc_with_a_name_service_says_so(facts: MakeFacts) -> None:
    traits = Traits(nss=("getaddrinfo", "getpwnam_r"))
    found = places(facts(cgo=CgoUse.PROVEN, libc="glibc", traits=traits))
    assert all(place.verdict == "yes" and "getaddrinfo" in place.why for place in found)


@pytest.mark.parametrize(
    ("changes", "version", "verdict"),
    [
        ({}, "2.28", "yes"),
        (DYNAMIC, "2.34", "yes"),
        (DYNAMIC, "2.33", "no"),
        ({**DYNAMIC, "glibc_min": "2.4"}, "2.28", "yes"),
        ({**DYNAMIC, "needed": ("libz.so.1", "libc.so.6")}, "2.41", "unknown"),
        ({"linkage": Linkage.LOADER_ONLY, "interpreter": GLIBC}, "2.28", "yes"),
        ({"linkage": Linkage.DYNAMIC, "interpreter": MUSL, "needed": ("libc.so",), "libc": "musl"}, "2.41", "no"),
        ({"linkage": Linkage.UNKNOWN}, "2.41", "unknown"),
        ({"linkage": Linkage.BROKEN}, "2.41", "no"),
        ({"platform": Platform("windows", "amd64"), "linkage": Linkage.SYSTEM}, "2.41", "no"),
        ({"platform": None}, "2.41", "no"),
    ],
)
def test_on_one_version_of_glibc(facts: MakeFacts, changes: dict[str, Any], version: str, verdict: str) -> None:
    place = on_glibc(facts(**changes), version)
    assert (place.name, place.verdict) == (f"glibc {version}", verdict)


def test_releases_are_in_order() -> None:
    versions = [tuple(map(int, version.split("."))) for version, _ in RELEASES]
    assert versions == sorted(versions)
