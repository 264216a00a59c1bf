"""What `go list -deps` says of a target: the import graph, and each package's files, chosen and left out.

Starts `go list` twice; reads headers of source files where a constraint is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from imagekit.cancellation import Cancellation
from imagekit.content import prepared
from imagekit.errors import ToolError
from imagekit.golang import constraints
from imagekit.golang.arguments import Main, mod_mode, selecting
from imagekit.golang.budget import pace
from imagekit.golang.environments import compile_environment
from imagekit.golang.settings import GoSettings
from imagekit.processes import run
from imagekit.targets.target import Target
from imagekit.text import plain
from imagekit.workers import cpus, memory

_DYNAMIC = re.compile(rb"^//go:cgo_import_dynamic[ \t]", re.MULTILINE)
_LARGEST_SOURCE = 2 << 20
_OWN = Main()
_END = b"\n}\n"
_CONTEXT = "".join(f"{{{{range context.{kind}Tags}}}}{{{{.}}}} {{{{end}}}}" for kind in ("Tool", "Release", "Build"))


class ListedModule(msgspec.Struct, frozen=True, rename="pascal"):
    """A module of the build list; `version` is '' for a main module. `replace` is what stands in for it."""

    path: str
    version: str = ""
    main: bool = False
    directory: str = msgspec.field(name="Dir", default="")
    go_mod: str = msgspec.field(name="GoMod", default="")
    sum: str = ""
    replace: ListedModule | None = None


class ListError(msgspec.Struct, frozen=True, rename="pascal"):
    """Why a package cannot be loaded; `stack` is the import chain that led to it."""

    err: str = ""
    pos: str = ""
    stack: tuple[str, ...] | None = msgspec.field(name="ImportStack", default=None)


class Package(msgspec.Struct, frozen=True, rename="pascal"):
    """One package as one target sees it. File names are relative to `directory`, in Go's order."""

    path: str = msgspec.field(name="ImportPath")
    name: str = ""
    folder: str = msgspec.field(name="Dir", default="")
    standard: bool = False
    dep_only: bool = False
    module: ListedModule | None = None
    go_files: tuple[str, ...] = ()
    cgo_files: tuple[str, ...] = ()
    c_files: tuple[str, ...] = msgspec.field(name="CFiles", default=())
    cxx_files: tuple[str, ...] = msgspec.field(name="CXXFiles", default=())
    m_files: tuple[str, ...] = msgspec.field(name="MFiles", default=())
    h_files: tuple[str, ...] = msgspec.field(name="HFiles", default=())
    f_files: tuple[str, ...] = msgspec.field(name="FFiles", default=())
    s_files: tuple[str, ...] = msgspec.field(name="SFiles", default=())
    swig_files: tuple[str, ...] = ()
    swig_cxx_files: tuple[str, ...] = msgspec.field(name="SwigCXXFiles", default=())
    syso_files: tuple[str, ...] = ()
    embed_files: tuple[str, ...] = ()
    ignored_go_files: tuple[str, ...] = ()
    ignored_other_files: tuple[str, ...] = ()
    imported: tuple[str, ...] = msgspec.field(name="Imports", default=())
    import_map: dict[str, str] = {}
    error: ListError | None = None
    deps_errors: tuple[ListError, ...] = ()

    @property
    def directory(self) -> Path:
        return Path(self.folder)

    @property
    def imports(self) -> tuple[str, ...]:
        """The import paths, `C` among them, as the packages that they mean here (vendored copies of the library)."""
        return tuple(self.import_map.get(path, path) for path in self.imported)

    @property
    def files(self) -> tuple[str, ...]:
        """Every file that is compiled or assembled into the package."""
        return (
            *self.go_files,
            *self.cgo_files,
            *self.c_files,
            *self.cxx_files,
            *self.m_files,
            *self.h_files,
            *self.f_files,
            *self.s_files,
            *self.swig_files,
            *self.swig_cxx_files,
            *self.syso_files,
        )

    @property
    def ignored(self) -> tuple[str, ...]:
        """The files that a constraint kept out (`_` and `.` files are nobody's)."""
        return (*self.ignored_go_files, *self.ignored_other_files)


class Excluded(msgspec.Struct, frozen=True, order=True):
    """A file that was left out, and the constraint that did it: `//go:build …`, `file name: …`, `import "C" …`."""

    name: str
    constraint: str


class Packages(msgspec.Struct, frozen=True):
    """All packages of one program on one target, dependencies first, as `go list -deps` orders them."""

    target: str
    tags: constraints.Tags
    by_path: dict[str, Package]

    @property
    def roots(self) -> tuple[Package, ...]:
        """The packages that were asked for."""
        return tuple(package for package in self.by_path.values() if not package.dep_only)

    def graph(self) -> Mapping[str, tuple[str, ...]]:
        """Each package's imports (`C` included, which `go list` leaves out of Deps), in the order of the source."""
        return {path: package.imports for path, package in self.by_path.items()}

    def excluded(self, package: Package) -> tuple[Excluded, ...]:
        """The files of a package that this target does not compile, each with what kept it out; reads their headers."""
        return tuple(Excluded(name, self._reason(package, name)) for name in package.ignored)

    def _reason(self, package: Package, name: str) -> str:
        path = package.directory / name
        return (
            constraints.reason(path, self.tags)
            or constraints.constraint_of(path)
            or "no constraint that imagekit reads"
        )

    def dynamic_importers(self) -> Mapping[str, str]:
        """The packages outside the standard library whose chosen files hold `//go:cgo_import_dynamic`, with the file.

        That directive makes a program ask for shared libraries although cgo is off. At most 2 MiB of a file is read.
        """
        held = ((path, self._importing_file(package)) for path, package in self.by_path.items() if not package.standard)
        return {path: name for path, name in held if name}

    def _importing_file(self, package: Package) -> str:
        return next((name for name in package.go_files if _holds_directive(package.directory / name)), "")


_FIELDS = ",".join(field.encode_name for field in msgspec.structs.fields(Package))


def list_packages(
    settings: GoSettings,
    target: Target,
    main: Main = _OWN,
    *,
    cache_dir: Path,
    cancellation: Cancellation | None = None,
) -> Packages:
    """What a target is made of, in the environment and with the flags that would compile it.

    A package that cannot be loaded is in the result with its `error` (`go list -e`). Arguments as in `compile_target`.
    Raises `ToolError` where Go lists nothing at all.
    """
    environment = compile_environment(settings, target, cache_dir=cache_dir.absolute())
    environment |= pace(0, memory() // (2 * cpus()), settings.ambient)
    flags = selecting(target, main.mode or mod_mode(settings))
    chosen = main.package or target.main or "."

    def listed(*words: str) -> bytes:
        argv = [*settings.isolation, str(settings.toolchain.go), "list", "-e", *flags, *words]
        done = run(argv, env=environment, cwd=settings.directory, cancellation=cancellation)
        if done.returncode and not done.stdout:
            said = plain("\n".join(done.stderr.decode(errors="replace").strip().splitlines()[:5]))
            raise ToolError(f"`go list` of {target.id}: {said}", hint="run `go list` in the module's folder")
        return done.stdout

    with ThreadPoolExecutor(1) as beside:
        context = beside.submit(listed, "-f", _CONTEXT, "--", "unsafe")
        found = {p.path: p for p in read_packages(listed("-deps", f"-json={_FIELDS}", "--", chosen))}
        tags = read_tags(context.result().decode(errors="replace"), environment)
    return Packages(target.id, tags, found)


def read_packages(stdout: bytes) -> Iterator[Package]:
    """The packages in the output of `go list -json`: one indented object after the other; else `ToolError`."""
    decoder = msgspec.json.Decoder(prepared(Package))
    start = 0
    while (end := stdout.find(_END, start)) >= 0:
        try:
            yield decoder.decode(stdout[start : end + 2])
        except msgspec.DecodeError as error:
            raise ToolError(f"`go list -json` wrote something unexpected: {error}") from error
        start = end + len(_END)
    if stdout[start:].strip():
        raise ToolError("`go list -json` ended in the middle of a package", hint="run it again")


def read_tags(answer: str, environment: Mapping[str, str]) -> constraints.Tags:
    """The build tags that hold for a target, from Go's own context: tool, release and given tags."""
    given = frozenset(answer.split())
    return constraints.Tags(
        goos=environment["GOOS"],
        goarch=environment["GOARCH"],
        cgo=environment["CGO_ENABLED"] == "1",
        given=given | {"boringcrypto"} if "goexperiment.boringcrypto" in given else given,
    )


def _holds_directive(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return _DYNAMIC.search(stream.read(_LARGEST_SOURCE)) is not None
    except OSError:
        return False
