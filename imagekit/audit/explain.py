"""Why a program is as it is, where it can run, and what a scratch image must hold for it. `explain` touches disk."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from imagekit.audit.places import Place as Place
from imagekit.audit.places import foreign, places

if TYPE_CHECKING:
    from imagekit.audit.chains import ImportGraph
    from imagekit.binary.facts import BinaryFacts
    from imagekit.binary.functions import FunctionTable

_MOST_NAMES = 1 << 19
_MOST_FUNCTIONS, _MOST_CHAINS, _MOST_PACKAGES, _SHOWN = 50, 10, 200, 5
_RUNTIME = "runtime/cgo"
_WRAPPERS = ("._Cfunc_", "._C2func_", "_cgoexp_")
"""What the cgo tool names the Go side of a call into C, and of one out of C."""
_RESOLVER = ("net._C", "os/user._C")
"""The standard library's own calls into libc; darwin has these names without cgo, too."""
_PURE = {"net": "netgo", "os/user": "osusergo"}
_STATIC = ("static", "static-pie")
_IMPORTS_WITHOUT_CGO = "github.com/ebitengine/purego"
_INSTRUMENTS = {"libasan.so": "-asan", "libtsan.so": "-race", "libmsan.so": "-msan", "libubsan.so": "a C sanitizer"}
_COMPILER = ("libgcc_s.so", "libstdc++.so", "libgcc_s_", "libstdc++-", "libwinpthread-")


class File(msgspec.Struct, frozen=True):
    """A file that the program looks for while it runs, and the function by which that is known."""

    path: str
    why: str


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """All that can be said beyond the facts."""

    cgo_functions: tuple[str, ...] = ()
    """Function names that prove cgo, sorted, at most 50."""
    cgo_packages: tuple[str, ...] = ()
    chains: tuple[tuple[str, ...], ...] = ()
    """Shortest import chains, main first, where the source is at hand."""
    packages: tuple[str, ...] = ()
    """Without the source, where a chain would be needed: what is linked in beyond Go's library, at most 200 names."""
    libraries: dict[str, str] = {}
    """Library -> what asks for it."""
    places: tuple[Place, ...] = ()
    files: tuple[File, ...] = ()
    fixes: tuple[str, ...] = ()


def explain(facts: BinaryFacts, path: Path | None, *, graph: ImportGraph | None = None) -> Explanation:
    """What can be said of the program at `path`, whose facts (of one slice) these are; `graph` is that of its source.

    Without `path` nothing is said that stands in the function table. Raises `UnreadableError` if it cannot be opened.
    """
    table = _table(facts, path) if path else None
    names = _names(table) if table and _asks(facts) else ()
    functions, packages = _cgo(facts, names)
    found = Explanation(
        cgo_functions=functions,
        cgo_packages=packages,
        packages=_linked(names),
        libraries={library: _asked(library, facts, packages, table) for library in facts.needed},
        places=places(facts),
        files=tuple(_files(facts, table)),
        fixes=tuple(dict.fromkeys(_fixes(facts, packages, table))),
    )
    return with_source(found, facts, graph) if graph else found


def with_source(explanation: Explanation, facts: BinaryFacts, graph: ImportGraph) -> Explanation:
    """The same, once the source of the program is known: import chains, who names a library, what to change where."""
    from imagekit.audit.named import asking
    from imagekit.audit.why import reasons

    chains = _chains(facts, explanation.cgo_packages, graph)
    named = {library: asking(library, graph.libraries) for library in facts.needed}
    hints = () if facts.linkage in _STATIC else tuple(why.hint for why in reasons(facts, lambda: graph) if why.hint)
    return msgspec.structs.replace(
        explanation,
        chains=chains,
        packages=() if chains else explanation.packages,
        libraries={
            library: f"named in the source of {_some(named[library])}" if named.get(library) else asked
            for library, asked in explanation.libraries.items()
        },
        fixes=tuple(dict.fromkeys(hints)) or explanation.fixes,
    )


def _table(facts: BinaryFacts, path: Path) -> FunctionTable | None:
    """The function table of the slice; None where there is none or the file is damaged."""
    from imagekit.binary.functions import find
    from imagekit.binary.sizes import named_programs
    from imagekit.binary.window import open_window
    from imagekit.errors import FormatError

    view = open_window(path)
    try:
        found = (find(program.view, program.layout) for name, program in named_programs(view) if name == facts.slice)
        return next(found, None)
    except FormatError:
        return None


def _names(table: FunctionTable) -> tuple[str, ...]:
    """The first half million names; () where the table turns out to be none."""
    from imagekit.errors import FormatError

    try:
        return tuple(islice(table.names(), _MOST_NAMES))
    except FormatError:
        return ()


def _asks(facts: BinaryFacts) -> bool:
    """Whether there is something to explain: C code, or a loader that the system does not bring by itself."""
    return facts.cgo == "proven" or facts.linkage in ("dynamic", "loader-only")


def _cgo(facts: BinaryFacts, names: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Functions that prove cgo, some of each package, and all their packages; runtime/cgo stands only for itself."""
    from imagekit.binary.goname import package_of

    if facts.cgo != "proven" or not names:
        return (), ()
    resolver = () if facts.platform and facts.platform.os in ("darwin", "ios") else _RESOLVER
    starts = (*resolver, _RUNTIME + ".")
    by_package: defaultdict[str, set[str]] = defaultdict(set)
    for name in names:
        if name.startswith(starts) or any(mark in name for mark in _WRAPPERS):
            by_package[package_of(name)].add(name)
    share = _MOST_FUNCTIONS // max(len(by_package), 1) or 1
    functions = sorted(name for found in by_package.values() for name in sorted(found)[:share])
    packages = sorted(by_package.keys() - {"", _RUNTIME}) or [_RUNTIME]
    return tuple(functions[:_MOST_FUNCTIONS]), tuple(packages)


def _linked(names: tuple[str, ...]) -> tuple[str, ...]:
    """The packages with a dot in their first element, which Go's own library never has.

    Neighbours mostly share their package: only a name that begins otherwise than the one before it is taken apart.
    """
    from imagekit.binary.goname import package_of

    found, prefix = set(), "\0"
    for name in names:
        if not name.startswith(prefix) or "/" in name[len(prefix) :]:
            package = package_of(name)
            found.add(package)
            prefix = f"{package}." if package and "%" not in name else "\0"
    return tuple(sorted(name for name in found if "." in name.partition("/")[0]))[:_MOST_PACKAGES]


def _chains(facts: BinaryFacts, packages: tuple[str, ...], graph: ImportGraph) -> tuple[tuple[str, ...], ...]:
    """The shortest way to each package that reaches for C, or for a library without cgo; the shorter ones first."""
    from imagekit.audit.chains import shortest

    goals = {graph.main if name == "main" else name for name in packages if name != _RUNTIME}
    if facts.linkage == "dynamic" and facts.cgo != "proven":
        goals = set(graph.dynamic) - set(graph.standard)
    chains = (shortest(graph.imports, graph.main, goal.__eq__) for goal in goals)
    return tuple(sorted((chain for chain in chains if chain), key=lambda chain: (len(chain), chain)))[:_MOST_CHAINS]


# --- libraries ----------------------------------------------------------------------------------------------------


def _asked(library: str, facts: BinaryFacts, packages: tuple[str, ...], table: FunctionTable | None) -> str:
    """Who asks for a library, from what the bytes prove."""
    instrument = next((flag for start, flag in _INSTRUMENTS.items() if library.startswith(start)), "")
    if instrument:
        return f"{instrument}: the runtime of the instrumentation"
    who = _asking(library, facts, packages, table)
    imports = facts.traits.imports.get(library, ())
    calls = f"; imports {_some(imports)}" if imports else ""
    version = f"; at least version {facts.glibc_min}" if library == "libc.so.6" and facts.glibc_min else ""
    return who + version + calls


def _asking(library: str, facts: BinaryFacts, packages: tuple[str, ...], table: FunctionTable | None) -> str:
    system = facts.platform.os if facts.platform else "this system"
    if facts.linkage == "system" and facts.cgo != "proven":
        return f"every program of {system} may ask for it"
    if table is None:
        return "no Go function table: the program's own code, or the linker's default"
    if facts.cgo == "proven":
        if library.startswith(_COMPILER):
            return "the C compiler's own runtime, for the C or C++ code that is linked in"
        if not foreign((library,)):
            return f"C code: {_some(packages)}"
        return f'an import "C" with this library: {_some(packages)}'
    if table.starts(_IMPORTS_WITHOUT_CGO + "."):
        return f"{_IMPORTS_WITHOUT_CGO}, which imports libraries without cgo"
    return "a //go:cgo_import_dynamic directive, though cgo is off; the source tells in which package"


# --- files --------------------------------------------------------------------------------------------------------

_PATHS = {
    "ca": ("etc/ssl/certs/ca-certificates.crt",),
    "tzdata": ("usr/share/zoneinfo/",),
    "users": ("etc/passwd", "etc/group"),
    "nsswitch": ("etc/nsswitch.conf",),
    "tmp": ("tmp/",),
}
"""Where each piece stands below the root."""


def _files(facts: BinaryFacts, table: FunctionTable | None) -> Iterator[File]:
    """Loader and libraries first, then what the functions read; only for systems whose images can be built here."""
    if facts.format != "elf" or facts.linkage in ("library", "broken", "unknown"):
        return
    if facts.linkage in ("loader-only", "dynamic"):
        if facts.interpreter:
            yield File(facts.interpreter, "the kernel starts this loader (PT_INTERP)")
        for library in facts.needed:
            yield File(library, "the loader looks for it in its library path (DT_NEEDED), and for what it needs itself")
    if table is not None or facts.go is not None:
        yield from _pieces(table, cgo=facts.cgo == "proven")


def _pieces(table: FunctionTable | None, *, cgo: bool) -> Iterator[File]:
    """What packing adds for the program; where that is because of C code, and Go's own functions say it too, these."""
    from imagekit.audit.needs import needs

    for packed, own in zip(needs(table, cgo=cgo), needs(table), strict=True):
        why = own.why if own.needed else packed.why
        yield from (File("/" + path, why) for path in _PATHS[packed.piece] if packed.needed)


# --- fixes --------------------------------------------------------------------------------------------------------


def _fixes(facts: BinaryFacts, packages: tuple[str, ...], table: FunctionTable | None) -> Iterator[str]:
    """What would make it run without a loader, or take away what is unsafe in it; nothing for what needs nothing."""
    from imagekit.audit.why import reasons

    match facts.linkage:
        case "static" | "static-pie":
            if facts.libc == "glibc" and (nss := facts.traits.nss):
                way = f"build with -tags {_tags(packages)}, or link musl" if table else "link musl"
                yield f"{_some(nss)} would load glibc's own modules while it runs: {way} instead"
        case "loader-only":
            hints = [cause.hint for cause in reasons(facts, None) if cause.hint]
            yield from hints or ["link it without -pie, or with -static-pie, so that it needs no loader"]
        case "dynamic":
            hints = [cause.hint for cause in reasons(facts, None) if cause.hint]
            yield from hints
            if not hints or packages != (_RUNTIME,):
                yield from _without_libraries(facts, packages, table)
        case "broken" if facts.format == "macho" and facts.evidence["linkage"].where != "damaged":
            yield "sign it again (`codesign -s - FILE`): macOS kills a program whose pages do not fit its signature"
        case _:
            pass


def _without_libraries(facts: BinaryFacts, packages: tuple[str, ...], table: FunctionTable | None) -> Iterator[str]:
    own = tuple(package for package in packages if package not in (*_PURE, _RUNTIME))
    if own:
        yield f"stop importing {_some(own)}, where Go calls C (`--source DIR` shows the way to it)"
        if facts.format == "elf":
            yield "set `cgo: static`, which links the C code and musl into the program"
    elif packages:
        tags = f" or -tags {_tags(packages)}" if packages != (_RUNTIME,) else ""
        yield f"build with CGO_ENABLED=0 (`cgo: off`){tags}: only Go's own library calls C here"
    elif table is not None:
        yield "stop importing the package that asks for libraries without cgo; `--source DIR` finds it"
    elif facts.format == "elf":
        yield "link it statically (-static, best against musl), or ship it in an image with its loader and libraries"
    else:
        yield f"ship {_some(facts.needed)} beside the program, or link statically"


def _tags(packages: tuple[str, ...]) -> str:
    return ",".join(sorted(tag for package, tag in _PURE.items() if package in packages)) or "netgo,osusergo"


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
