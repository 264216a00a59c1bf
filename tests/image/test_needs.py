"""Which pieces a program needs: by hand-written tables, and by those of real programs."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from imagekit.audit.needs import Piece, needs
from imagekit.binary.functions import read_functions
from imagekit.image.needs import decide
from imagekit.image.recipe import Recipe


class Table:
    """A function table in memory: names closed by a zero byte, as in the file."""

    def __init__(self, *names: str) -> None:
        self._names = names

    def starts(self, *prefixes: str | bytes) -> bool:
        wanted = tuple(one.encode() if isinstance(one, str) else one for one in prefixes)
        return any(f"{name}\0".encode().startswith(wanted) for name in self._names)


ALL = set(Piece)


@pytest.mark.parametrize(
    ("names", "pieces"),
    [
        pytest.param(("main.main",), set(), id="nothing"),
        pytest.param(("crypto/x509.(*Certificate).Verify",), {Piece.CA}, id="certificates"),
        pytest.param(("crypto/x509/pkix.(*Name).String",), set(), id="another package below crypto/x509"),
        pytest.param(("time.LoadLocation",), {Piece.TZDATA}, id="zones"),
        pytest.param(("time.LoadLocationFromTZData",), set(), id="zones from elsewhere"),
        pytest.param(("time.LoadLocation", "time/tzdata.init.0"), set(), id="own zones"),
        pytest.param(("os/user.Current",), {Piece.USERS}, id="users"),
        pytest.param(("net.(*nsswitchConfig).init",), {Piece.NSSWITCH}, id="resolver"),
        pytest.param(("os.MkdirTemp",), {Piece.TMP}, id="temporary folders"),
        pytest.param(("os.TempDirectory",), set(), id="a longer name"),
        pytest.param(
            ("crypto/x509.init", "golang.org/x/crypto/x509roots/fallback.init.0"), set(), id="own certificates"
        ),
    ],
)
def test_linked_is_the_criterion(names: tuple[str, ...], pieces: set[Piece]) -> None:
    assert {need.piece for need in needs(Table(*names)) if need.needed} == pieces


def test_without_a_table_every_piece() -> None:
    assert {need.piece for need in needs(None) if need.needed} == ALL
    assert all("no readable" in need.why for need in needs(None))


def test_c_code_may_call_anything() -> None:
    found = needs(Table("main.main"), cgo=True)
    assert {need.piece for need in found if need.needed} == ALL
    assert all("C code" in need.why for need in found)


def test_the_reason_is_what_was_seen() -> None:
    why = {need.piece: need.why for need in needs(Table("os.CreateTemp", "time.LoadLocation", "time/tzdata.init.0"))}
    assert why[Piece.TMP] == "os.CreateTemp is linked: it writes to /tmp unless TMPDIR is set"
    assert why[Piece.TZDATA] == "time/tzdata is linked: the program carries its own zone data"
    assert why[Piece.CA] == "crypto/x509 is not linked"


@pytest.mark.parametrize(
    ("rootfs", "env", "names", "needed", "says"),
    [
        pytest.param({"tzdata": True}, {}, (), True, "is set", id="true"),
        pytest.param({"tzdata": False}, {}, ("time.LoadLocation",), False, "is false", id="false"),
        pytest.param({"tzdata": "zones"}, {}, (), True, "is zones", id="path"),
        pytest.param({}, {"TZ": "Europe/Berlin"}, (), True, "TZ=Europe/Berlin", id="TZ in the image"),
        pytest.param({}, {"TZ": "UTC"}, (), False, "not linked", id="TZ that needs no file"),
        pytest.param({}, {"TZ": "Asia/Tokyo"}, ("time/tzdata.init",), False, "carries", id="TZ and own zones"),
    ],
)
def test_settings_win_over_auto(
    rootfs: dict[str, object], env: dict[str, str], names: tuple[str, ...], needed: bool, says: str
) -> None:
    recipe = msgspec.convert({"id": "a", "build": "a", "rootfs": rootfs, "env": env}, Recipe)
    decided = {need.piece: need for need in decide(recipe, needs(Table(*names)))}[Piece.TZDATA]
    assert decided.needed is needed
    assert says in decided.why


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "pieces"),
    [
        ("hello", set()),
        ("https", {Piece.CA, Piece.NSSWITCH}),
        ("dial", {Piece.NSSWITCH}),
        ("zones", {Piece.TZDATA}),
        ("own_zones", set()),
        ("user", {Piece.USERS}),
        ("tempdir", {Piece.TMP}),
        ("tempfile", {Piece.TMP}),
    ],
)
def test_real_programs(go_programs: dict[str, Path], name: str, pieces: set[Piece]) -> None:
    found = {need.piece for need in needs(read_functions(go_programs[name])) if need.needed}
    assert pieces <= found
    assert found - pieces <= {Piece.TMP, Piece.USERS} if name == "https" else found == pieces
