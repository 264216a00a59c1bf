"""The checksum database: what it proves, how it is caught lying, and what happens when nobody answers."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from imagekit.errors import IntegrityError, NetworkError, UsageError
from imagekit.source import gosum, proxy, sumdb

NAME = "sums.test"
APP = ("example.test/App", "v1.2.3")
LIB = ("example.test/lib", "v0.1.0")
SUMS = {APP: ("h1:" + "A" * 43 + "=", "h1:" + "B" * 43 + "="), LIB: ("h1:" + "C" * 43 + "=", "h1:" + "D" * 43 + "=")}


def go_sum(**changed: str) -> gosum.GoSum:
    lines = {}
    for (path, version), (zip_sum, mod_sum) in SUMS.items():
        lines[path, version] = changed.get(path.rpartition("/")[2], zip_sum)
        lines[path, f"{version}/go.mod"] = mod_sum
    return gosum.of(lines)


@pytest.fixture
def database(database_class: Any) -> Any:
    found = database_class(SUMS, 700)
    found.numbers["example.test/!app@v1.2.3"] = found.numbers["example.test/App@v1.2.3"]
    return found


@pytest.fixture
def check(tmp_path: Path, goroot: Path, serve: Any, database: Any) -> Iterator[Callable[..., sumdb.SumdbReport]]:
    url = serve(database)

    def run(sums: gosum.GoSum | None = None, **settings: str) -> sumdb.SumdbReport:
        return sumdb.check(
            sums or go_sum(),
            settings={"GOSUMDB": NAME, "GOPROXY": url, **settings},
            goroot=goroot,
            env={},
            cache_dir=tmp_path / "cache",
        )

    return run


@pytest.mark.parametrize("size", [2, 3, 255, 256, 257, 512, 700, 65537])
def test_proves_every_record_of_a_log_of_this_size(
    size: int, tmp_path: Path, goroot: Path, serve: Any, database_class: Any
) -> None:
    database = database_class(SUMS, size)
    database.numbers["example.test/!app@v1.2.3"] = database.numbers["example.test/App@v1.2.3"]
    settings = {"GOSUMDB": NAME, "GOPROXY": serve(database)}
    report = sumdb.check(go_sum(), settings=settings, goroot=goroot, env={}, cache_dir=tmp_path / "cache")
    assert report == sumdb.SumdbReport(NAME, 2)


def test_a_proven_go_sum_costs_no_question_and_hardly_any_time(check: Any, database: Any) -> None:
    check()
    asked = len(database.asked)
    times = []
    for _ in range(5):
        started = time.perf_counter()
        assert check().proven == 2
        times.append(time.perf_counter() - started)
    assert min(times) < 0.01  # 0.3 ms where nobody else computes
    assert len(database.asked) == asked


def test_kept_records_prove_a_changed_go_sum_without_a_network(check: Any, database: Any) -> None:
    check()
    fewer = gosum.of({key: value for key, value in go_sum().sums.items() if key[0] == LIB[0]})
    report = check(fewer, GOPROXY="off")
    assert (report.proven, report.weaknesses) == (1, ())


def test_kept_records_still_count_after_the_log_has_grown(
    check: Any, database: Any, database_class: Any, tmp_path: Path
) -> None:
    database.size = 600
    check(gosum.of({key: value for key, value in go_sum().sums.items() if key[0] == APP[0]}))
    database.size = 700
    assert check().proven == 2
    assert check(gosum.of({APP: SUMS[APP][0]}), GOPROXY="off").weaknesses == ()


def test_private_modules_are_never_named(check: Any, database: Any) -> None:
    for name in ("GONOSUMDB", "GOPRIVATE"):
        report = check(**{name: "example.test/[a-l]*,unrelated.test"})
        assert report.skipped == (LIB,)
        assert report.proven == 1
    assert not any("lib" in path for path in database.asked)


def test_gosumdb_off_asks_nothing(check: Any, database: Any) -> None:
    assert check(GOSUMDB="off") == sumdb.SumdbReport("off", 0, (APP, LIB))
    assert database.asked == []


def test_another_hash_in_go_sum_is_an_integrity_error_with_both(check: Any) -> None:
    with pytest.raises(
        IntegrityError, match=r"go\.sum has h1:E+= for example.test/lib v0\.1\.0.* has h1:C+="
    ) as caught:
        check(go_sum(lib="h1:" + "E" * 43 + "="))
    assert caught.value.exit_code == 5
    with pytest.raises(IntegrityError):  # nothing of it was kept as proven
        check(go_sum(lib="h1:" + "E" * 43 + "="))


def changed(old: bytes, new: bytes) -> Callable[[tuple[int, bytes]], tuple[int, bytes]]:
    return lambda answer: (answer[0], answer[1].replace(old, new, 1))


LOOKUP = "lookup/example.test/lib@v0.1.0"
OTHER_NOTE = f"— {NAME} {base64.b64encode(b'1234' + bytes(64)).decode()}\n".encode()
LIES: dict[str, tuple[str, Callable[[tuple[int, bytes]], tuple[int, bytes]], str]] = {
    "another hash in the record": (LOOKUP, changed(b"h1:CCC", b"h1:CCX"), "is not record"),
    "another number": (LOOKUP, lambda a: (200, b"5\n" + a[1].partition(b"\n")[2]), "is not record"),
    "a number beyond the log": (LOOKUP, lambda a: (200, b"700\n" + a[1].partition(b"\n")[2]), "not yet in its log"),
    "a number with 30 digits": (LOOKUP, lambda a: (200, b"9" * 30 + a[1]), "is not a record"),
    "a record of something else": (LOOKUP, changed(b"example.test/lib v0", b"example.test/lob v0"), "something else"),
    "another tree size": (LOOKUP, changed(b"\n700\n", b"\n701\n"), "signature"),
    "another signature": (LOOKUP, lambda a: (200, a[1][:-8] + b"AAAA" + a[1][-4:]), "signature"),
    "a signature by somebody else": (
        LOOKUP,
        lambda a: (200, a[1].rpartition("—".encode())[0] + OTHER_NOTE),
        "not signed",
    ),
    "no note": (LOOKUP, lambda a: (200, a[1].partition(b"\n\n")[0] + b"\n\n"), "not a signed note"),
    "a login page": (LOOKUP, lambda _: (200, b"<html>\n<body>log in</body>\n\n</html>"), "is not a record"),
    "an empty page": (LOOKUP, lambda _: (200, b""), "is not a record"),
    "control characters": (LOOKUP, changed(b"example", b"\x1b[2Jexample"), "control characters"),
    "bytes that are no text": (LOOKUP, changed(b"example", b"\xff\xfe"), "UTF-8"),
    "a huge record": (LOOKUP, lambda a: (200, a[1] + b"x" * (1 << 20)), "larger than"),
    "a truncated tile": ("tile", lambda a: (a[0], a[1][:-1]), "bytes, not"),
    "a tile with one bit changed": ("tile", lambda a: (a[0], bytes([a[1][0] ^ 1]) + a[1][1:]), "signed"),
    "a huge tile": ("tile", lambda a: (a[0], a[1] + bytes(1 << 20)), "larger than"),
    "an empty tile": ("tile", lambda a: (a[0], b""), "has 0 bytes"),
}


@pytest.mark.parametrize("case", LIES)
def test_a_lie_is_an_integrity_error(case: str, check: Any, database: Any, tmp_path: Path) -> None:
    path, lie, message = LIES[case]
    database.lies[path] = lie
    with pytest.raises(IntegrityError, match=message):
        check()
    assert not list(tmp_path.glob("cache/**/records/**/*.json"))
    database.lies.clear()
    assert check().proven == 2


def test_a_forked_history_is_caught_and_both_heads_are_shown(
    check: Any, database: Any, database_class: Any, tmp_path: Path, goroot: Path, serve: Any
) -> None:
    check()
    fork = database_class(SUMS, 900, seed="other")
    fork.numbers["example.test/!app@v1.2.3"] = fork.numbers["example.test/App@v1.2.3"]
    settings = {"GOSUMDB": NAME, "GOPROXY": serve(fork)}
    more = gosum.of({**go_sum().sums, ("filler.test/mother1", "v1.0.0"): "h1:" + "F" * 43 + "="})
    with pytest.raises(IntegrityError, match=r"two histories: its head of 700 records") as caught:
        sumdb.check(more, settings=settings, goroot=goroot, env={}, cache_dir=tmp_path / "cache")
    assert caught.value.message.count("go.sum database tree") == 2
    latest = next(tmp_path.glob("cache/sumdb/*/latest")).read_text()
    assert "\n700\n" in latest


def test_the_newest_head_never_goes_back(check: Any, database: Any, tmp_path: Path) -> None:
    check(gosum.of({LIB: SUMS[LIB][0]}))
    database.lies["lookup"] = lambda answer: (
        answer[0],
        answer[1].rpartition(b"go.sum database tree")[0] + database.note(650),
    )
    assert check().proven == 2
    assert "\n700\n" in next(tmp_path.glob("cache/sumdb/*/latest")).read_text()


def test_damaged_copies_of_our_own_are_replaced(check: Any, tmp_path: Path) -> None:
    check(gosum.of({LIB: SUMS[LIB][0]}))
    tiles = [path for path in tmp_path.glob("cache/sumdb/*/tile/**/*") if path.is_file()]
    assert tiles
    for path in tiles:
        path.write_bytes(bytes(8192))
    for path in tmp_path.glob("cache/sumdb/*/records/**/*.json"):
        path.write_text(path.read_text().replace("h1:C", "h1:X"))
    assert check().proven == 2


def test_a_forged_newest_head_is_refused(check: Any, tmp_path: Path) -> None:
    check(gosum.of({LIB: SUMS[LIB][0]}))
    latest = next(tmp_path.glob("cache/sumdb/*/latest"))
    latest.write_text(latest.read_text().replace("700", "800"))
    with pytest.raises(IntegrityError, match="signature"):
        check()


STATUSES = {"missing": 404, "gone": 410, "forbidden": 403, "broken": 500}


@pytest.mark.parametrize("case", STATUSES)
def test_one_module_without_an_answer_is_one_warning(case: str, check: Any, database: Any) -> None:
    database.lies[LOOKUP] = lambda _: (STATUSES[case], b"sorry")
    report = check()
    (weakness,) = report.weaknesses
    assert report.proven == 1
    assert weakness.rule == "sumdb-unreached"
    assert weakness.message.startswith(f"1 of 2 modules are not proven by the checksum database {NAME}: {LIB[0]}@")
    database.lies.clear()
    assert check().weaknesses == ()


def test_nobody_listens(check: Any) -> None:
    report = check(GOPROXY="http://127.0.0.1:1")
    (weakness,) = report.weaknesses
    assert (report.proven, weakness.rule) == (0, "sumdb-unreached")
    assert "Connection refused" in weakness.message


def test_goproxy_off_asks_nothing(check: Any, database: Any) -> None:
    (weakness,) = check(GOPROXY="off").weaknesses
    assert "GOPROXY=off" in weakness.message
    assert database.asked == []


def test_a_silent_server_is_not_asked_again_and_again(
    check: Any, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy, "_READ_SECONDS", 0.2)
    monkeypatch.setattr(proxy, "CONNECTIONS", 2)
    many = {(f"filler.test/m{n}", "v1.0.0"): "h1:" + "G" * 43 + "=" for n in range(60)}
    database.lies["lookup"] = lambda answer: (time.sleep(0.6), answer)[1]
    started = time.monotonic()
    report = check(gosum.of(many))
    assert time.monotonic() - started < 5
    assert report.proven == 0
    assert len(report.weaknesses) == 1
    assert "and 55 more" in report.weaknesses[0].message
    assert len(database.asked) < 20


def test_an_answer_in_drops_is_cut_off(check: Any, database: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy, "_ANSWER_SECONDS", 0.5)
    database.drip = 0.05
    started = time.monotonic()
    assert check().weaknesses[0].rule == "sumdb-unreached"
    assert time.monotonic() - started < 5


def test_a_proxy_that_is_a_folder(tmp_path: Path, goroot: Path, database: Any) -> None:
    top = tmp_path / "site" / "sumdb" / NAME
    for path in ["supported", LOOKUP, "lookup/example.test/!app@v1.2.3"]:
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_bytes(database.answer(path)[1])
    for level, count in ((0, 700), (1, 2)):
        for index in range(count // 256 + 1):
            width = min(256, count - index * 256)
            name = f"tile/8/{level}/{index:03d}" + ("" if width == 256 else f".p/{width}")
            (top / name).parent.mkdir(parents=True, exist_ok=True)
            (top / name).write_bytes(database.answer(name)[1])
    settings = {"GOSUMDB": NAME, "GOPROXY": (tmp_path / "site").as_uri()}
    report = sumdb.check(go_sum(), settings=settings, goroot=goroot, env={}, cache_dir=tmp_path / "cache")
    assert (report.proven, report.weaknesses) == (2, ())


def test_gosumdb_with_key_and_url_goes_past_the_proxy(check: Any, database: Any, serve: Any) -> None:
    base = f"{serve(database)}/sumdb/{NAME}"
    assert check(GOSUMDB=f"{database.key} {base}", GOPROXY="http://127.0.0.1:1").proven == 2


def test_a_go_without_its_source_tree_is_explained(check: Any, tmp_path: Path) -> None:
    report = sumdb.check(
        go_sum(), settings={"GOSUMDB": NAME}, goroot=tmp_path / "empty", env={}, cache_dir=tmp_path / "cache"
    )
    (weakness,) = report.weaknesses
    assert weakness.rule == "sumdb-unreached"
    assert "modfetch/key.go is not there" in weakness.message


@pytest.mark.parametrize(
    "value",
    {
        "unknown name": "other.test",
        "nothing": "",
        "three words": "a b c",
        "a key with another hash": "sums.test+00000000+AZZZ",
        "a scheme": "https://sums.test+11111111+AAAA",
    }.items(),
    ids=lambda value: value[0],
)
def test_a_gosumdb_that_go_refuses(value: tuple[str, str], goroot: Path) -> None:
    with pytest.raises(UsageError):
        sumdb.database(value[1], goroot)


def test_an_alias_leads_to_the_key_and_a_url(goroot: Path) -> None:
    found = sumdb.database("alias.test", goroot)
    assert found is not None
    assert (found.key.name, found.url) == (NAME, "https://alias.test")


class TestDatabaseBase:
    """Which base URL GOPROXY leads to (golang.org/design/25530-sumdb#proxying-a-checksum-database)."""

    ANSWERS: ClassVar = {
        "https://yes.test": None,
        "https://no.test": proxy.MissingError("404"),
        "https://down.test": NetworkError("x"),
    }

    def fetch(self, url: str, _: int) -> bytes:
        error = self.ANSWERS[url.removesuffix("/sumdb/sums.test/supported")]
        if error:
            raise error
        return b""

    @pytest.mark.parametrize(
        ("goproxy", "base"),
        [
            ("https://yes.test,direct", "https://yes.test/sumdb/sums.test"),
            ("https://yes.test/", "https://yes.test/sumdb/sums.test"),
            ("yes.test", "https://yes.test/sumdb/sums.test"),
            ("https://no.test,https://yes.test", "https://yes.test/sumdb/sums.test"),
            ("https://no.test,direct", "https://sums.test"),
            ("direct", "https://sums.test"),
            ("", "https://sums.test"),
            ("https://down.test|https://yes.test", "https://yes.test/sumdb/sums.test"),
            (" https://down.test|direct", "https://sums.test"),
        ],
    )
    def test_found(self, goproxy: str, base: str) -> None:
        assert proxy.database_base(goproxy, NAME, "", self.fetch) == base

    @pytest.mark.parametrize("goproxy", ["https://down.test,direct", "off", "https://no.test,off"])
    def test_unreached(self, goproxy: str) -> None:
        with pytest.raises(NetworkError):
            proxy.database_base(goproxy, NAME, "", self.fetch)


@pytest.mark.real
def test_the_database_that_go_uses_proves_a_real_module(tmp_path: Path) -> None:
    settings = json.loads(subprocess.run(["go", "env", "-json"], check=True, capture_output=True, cwd=tmp_path).stdout)
    sums = gosum.of(
        {
            ("github.com/google/go-containerregistry", "v0.22.1"): "h1:RZuuSYhTvlDvtsK+NkutoCZ//C0X2ebLK8X8l3ULs84=",
            (
                "github.com/google/go-containerregistry",
                "v0.22.1/go.mod",
            ): "h1:bJR35SK8XgisYmhg/FMQ/5RK0S/XrOAqLBV5/LR2XE0=",
        }
    )
    known = {"goroot": Path(settings["GOROOT"]), "env": dict(os.environ), "cache_dir": tmp_path}
    report = sumdb.check(sums, settings={**settings, "GOPRIVATE": "", "GONOSUMDB": ""}, **known)
    assert (report.proven, report.weaknesses) == (1, ())
    wrong = gosum.of({key: value.replace("h1:R", "h1:S") for key, value in sums.sums.items()})
    with pytest.raises(IntegrityError, match="has h1:RZuu"):
        sumdb.check(wrong, settings={**settings, "GOPROXY": "off", "GOPRIVATE": "", "GONOSUMDB": ""}, **known)
