"""Is every hash in go.sum the one that the checksum database has? Touches disk, clock and network.

Go asks the database only when go.sum lacks a line; imagekit asks for every line, once: what is proven is kept, and a
go.sum that is proven as a whole costs one small file, `sumdb/<name>+<key hash>/proven/<digest>.json`.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from imagekit.cancellation import Cancellation
from imagekit.content import write_whole
from imagekit.errors import IntegrityError, NetworkError, UsageError
from imagekit.source.gosum import GoSum, Key
from imagekit.source.modpath import covered
from imagekit.source.note import VerifierKey
from imagekit.source.proxy import Web, database_base
from imagekit.source.sumlog import Client, Unreached
from imagekit.source.weakness import Weakness

KEY_FILE = "src/cmd/go/internal/modfetch/key.go"
"""Below GOROOT: the keys of the databases that Go knows by name."""
ALIAS_FILE = "src/cmd/go/internal/modfetch/sumdb.go"
_SECONDS = 120.0
"""For all questions together."""
_NAMED = 5
"""How many modules a message names before it counts the rest."""

__all__ = ["Client", "Database", "SumdbReport", "check", "database", "private_patterns"]


class Database(msgspec.Struct, frozen=True):
    """What GOSUMDB names: whose signature counts, and the URL if it gives one ('' means by GOPROXY)."""

    key: VerifierKey
    url: str = ""


class SumdbReport(msgspec.Struct, frozen=True):
    """What became of a go.sum: the modules that are proven, those never named to the database, and the warnings."""

    database: str
    proven: int = 0
    skipped: tuple[Key, ...] = ()
    weaknesses: tuple[Weakness, ...] = ()


def check(
    go_sum: GoSum,
    *,
    settings: Mapping[str, str],
    goroot: Path,
    env: Mapping[str, str],
    cache_dir: Path,
    cancellation: Cancellation | None = None,
) -> SumdbReport:
    """Prove every line of `go_sum`; what cannot be asked for is one warning, `sumdb-unreached`.

    `settings` are those of `go env` (GOSUMDB, GOPROXY, GONOSUMDB, GOPRIVATE); `env` is the fetch environment (HTTP
    proxies, HOME for .netrc). Modules that the patterns cover are skipped, and with GOSUMDB=off all are.
    Raises `IntegrityError` for a hash that differs and for a database that is caught lying, `UsageError` for a GOSUMDB
    that Go would refuse too.
    """
    patterns = private_patterns(settings)
    asked = tuple(module for module in go_sum.modules() if not covered(patterns, module[0]))
    skipped = tuple(module for module in go_sum.modules() if covered(patterns, module[0]))
    gosumdb = settings.get("GOSUMDB", "")
    if gosumdb == "off":
        return SumdbReport("off", 0, go_sum.modules())
    named = database(gosumdb, goroot)
    if named is None:
        return SumdbReport(gosumdb, 0, skipped, (_keyless(gosumdb, goroot),) if asked else ())
    stamp = _stamp(cache_dir, named.key, go_sum, patterns)
    if not asked or stamp.is_file():
        return SumdbReport(named.key.name, len(asked), skipped)
    unreached = _prove(go_sum, asked, named, settings, env, cache_dir, cancellation)
    if unreached:
        warning = _unreached(named.key.name, unreached, len(asked))
        return SumdbReport(named.key.name, len(asked) - len(unreached), skipped, (warning,))
    write_whole(stamp, msgspec.json.encode({"modules": len(asked)}), 0o600)
    return SumdbReport(named.key.name, len(asked), skipped)


def private_patterns(settings: Mapping[str, str]) -> str:
    """The globs of GONOSUMDB and GOPRIVATE together: what they cover is never named to the database."""
    return ",".join(filter(None, (settings.get("GONOSUMDB", ""), settings.get("GOPRIVATE", ""))))


def database(gosumdb: str, goroot: Path) -> Database | None:
    """What a value of GOSUMDB other than `off` means: `name`, `name+hash+key`, either followed by a URL.

    None if it is a name and the Go source tree, which has the keys of well-known names, is not there.
    Raises `UsageError` for a name that Go does not know and for anything malformed.
    """
    fields = _resolved(gosumdb, goroot).split()
    if not 1 <= len(fields) <= 2:
        raise UsageError(f"GOSUMDB={gosumdb!r} is not `name`, `name+hash+key` or either with a URL", hint="go help env")
    text, url = fields[0], fields[1] if len(fields) == 2 else ""
    if "+" not in text:
        known = _known_keys(goroot)
        if known is None:
            return None
        if text not in known:
            raise UsageError(
                f"GOSUMDB={gosumdb!r}: this Go has no key for a database of that name",
                hint="write its verifier key, name+hash+key, or unset it: `go env -u GOSUMDB`",
            )
        text = known[text]
    key = VerifierKey.parse(text)
    if not re.fullmatch(r"[A-Za-z0-9.-]+(:\d+)?(/[A-Za-z0-9._~-]+)*", key.name):
        raise UsageError(f"GOSUMDB={gosumdb!r}: {key.name!r} is not host or host/path", hint="go help module-auth")
    return Database(key, url)


def _known_keys(goroot: Path) -> dict[str, str] | None:
    """name -> verifier key, as the Go command has them compiled in; None without the source file."""
    source = _source(goroot / KEY_FILE)
    return dict(re.findall(r'^\s*"([^"]+)":\s*"([^"]+)"', source, re.MULTILINE)) if source is not None else None


def _resolved(gosumdb: str, goroot: Path) -> str:
    """GOSUMDB with Go's aliases replaced (one name stands for another database at a URL of its own)."""
    if not gosumdb or "+" in gosumdb or " " in gosumdb:
        return gosumdb
    known = _known_keys(goroot)
    if known is None or gosumdb in known:
        return gosumdb
    source = _source(goroot / ALIAS_FILE) or ""
    aliases: dict[str, str] = dict(re.findall(r'if gosumdb == "([^"]+)" \{\s*gosumdb = "([^"]+)"', source))
    return aliases.get(gosumdb, gosumdb)


def _source(path: Path) -> str | None:
    try:
        with path.open(encoding="utf-8") as stream:
            return stream.read(1 << 20)
    except OSError:
        return None


def _stamp(cache_dir: Path, key: VerifierKey, go_sum: GoSum, patterns: str) -> Path:
    name = hashlib.sha256("\n".join((go_sum.digest, key.text, patterns)).encode()).hexdigest()
    return Client.folder_for(cache_dir, key) / "proven" / f"{name}.json"


def _prove(
    go_sum: GoSum,
    asked: Sequence[Key],
    named: Database,
    settings: Mapping[str, str],
    env: Mapping[str, str],
    cache_dir: Path,
    cancellation: Cancellation | None,
) -> tuple[Unreached, ...]:
    """Compare what is proven with go.sum; the modules for which nothing could be proven."""
    web = Web({**env, **{name: settings[name] for name in ("GOAUTH",) if name in settings}})
    web.limit_time(_SECONDS)
    try:
        remote = _Remote(web, settings.get("GOPROXY", ""), named)
        client = Client(cache_dir, named.key, remote.fetch, cancellation=cancellation)
        texts, unreached = client.verify(asked)
    finally:
        web.close()
    for module, text in texts.items():
        _compare(go_sum, module, text, named.key.name)
    return unreached


class _Remote:
    """The database's own paths, under a base URL that is found out by the first question."""

    def __init__(self, web: Web, goproxy: str, named: Database) -> None:
        self._web, self._goproxy, self._named = web, goproxy, named
        self._lock = threading.Lock()
        self._base: str | NetworkError = ""

    def fetch(self, path: str, limit: int) -> bytes:
        with self._lock:
            if self._base == "":
                self._base = self._find()
        if isinstance(self._base, NetworkError):
            raise self._base
        return self._web.fetch(f"{self._base}/{path}", limit)

    def _find(self) -> str | NetworkError:
        try:
            return database_base(self._goproxy, self._named.key.name, self._named.url, self._web.fetch)
        except NetworkError as error:
            return error


def _compare(go_sum: GoSum, module: Key, text: str, name: str) -> None:
    """Every hash that go.sum has for this module must be the record's."""
    path, version = module
    recorded = {
        fields[1]: fields[2] for line in text.splitlines() if len(fields := line.split()) == 3 and fields[0] == path
    }
    for kind in (version, f"{version}/go.mod"):
        here = go_sum.sums.get((path, kind))
        if here is None or recorded.get(kind) == here:
            continue
        there = recorded.get(kind, "no such line")
        raise IntegrityError(
            f"go.sum has {here} for {path} {kind}, the checksum database {name} has {there}",
            hint=f"what you have is not what was published: find out who changed it, or for a private module set "
            f"GOPRIVATE={path}",
        )


def _unreached(name: str, unreached: Sequence[Unreached], asked: int) -> Weakness:
    named = ", ".join(f"{path}@{version}" for path, version in (one.module for one in unreached[:_NAMED]))
    rest = f" and {len(unreached) - _NAMED} more" if len(unreached) > _NAMED else ""
    return Weakness(
        "sumdb-unreached",
        f"{len(unreached)} of {asked} modules are not proven by the checksum database {name}: {named}{rest} "
        f"({unreached[0].reason})",
        "go.sum",
        "build once with a network: what is proven is kept in the cache; name private modules in GOPRIVATE",
    )


def _keyless(gosumdb: str, goroot: Path) -> Weakness:
    return Weakness(
        "sumdb-unreached",
        f"the verifier key of {gosumdb} is not known: {goroot / KEY_FILE} is not there",
        "GOSUMDB",
        "install Go with its source tree, or set GOSUMDB to the whole verifier key (name+hash+key)",
    )
