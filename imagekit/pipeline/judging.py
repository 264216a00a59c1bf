"""Judge: what was asked of each target beside what its file says; import chains where something is refused.

Starts `go list`, once for each file that was never judged before or is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

import msgspec

from imagekit.audit.cgo_required import cgo_required
from imagekit.audit.finding import Finding
from imagekit.audit.listed import graph_of, obstacles
from imagekit.audit.subject import Expected, Source, Subject, Vcs
from imagekit.binary.facts import GoModule
from imagekit.cancellation import Cancellation
from imagekit.content import canonical_json, digest_of, hex_of
from imagekit.golang.compile import unstripped_twin
from imagekit.golang.failures import CompileFailure
from imagekit.golang.packages import ListedModule, Packages, list_packages
from imagekit.pipeline.ground import Ground
from imagekit.pipeline.inspecting import Inspected, linked_packages
from imagekit.pipeline.ready import Ready
from imagekit.pipeline.remembering import recall, remember
from imagekit.pipeline.xvalues import Checked, check_values
from imagekit.sbom.edges import STDLIB, module_imports
from imagekit.source import gosum


class Learned(msgspec.Struct, frozen=True):
    """What `go list` tells of a program: its modules, and which module imports packages of which."""

    modules: tuple[GoModule, ...]
    imports: dict[str, tuple[str, ...]]

    @classmethod
    def of(cls, packages: Packages) -> Learned:
        return cls(_modules(packages), _imports(packages))


class Asked(msgspec.Struct, frozen=True):
    """What only the source tells of a built file, kept under the file's digest: its modules, and its `-X` values."""

    modules: tuple[GoModule, ...] | None
    x_values: tuple[Checked, ...]
    sums: tuple[tuple[str, str, str], ...] = ()
    """(module, version, `h1`) as go.sum has them: a vendored build's own info has none."""
    imports: dict[str, tuple[str, ...]] | None = None
    """Module -> modules whose packages it imports, `stdlib` among them."""


def listing(ground: Ground, ready: Ready, cancellation: Cancellation) -> Packages:
    """`go list -deps` of a target."""
    return list_packages(ready.go, ready.target, ready.main, cache_dir=ground.request.cache, cancellation=cancellation)


def learn(ground: Ground, ready: Ready, cancellation: Cancellation) -> Learned:
    """What `ask` needs of a target without `-X` values; it can be known before the target is linked."""
    return Learned.of(listing(ground, ready, cancellation))


def ask(
    ground: Ground, ready: Ready, inspected: Inspected, cancellation: Cancellation, learned: Callable[[], Learned]
) -> Asked:
    """What was asked for beyond the target itself; remembered for the same file from the same go.sum and values.

    `learned` gives what `learn` gives, and is called only where nothing is remembered.
    """
    if ready.prebuilt is not None:
        return Asked(None, ())
    place = ground.request.cache / "asked" / _key(ready, inspected)
    if (asked := recall(place, Asked)) is not None:
        return asked
    if ready.target.ldflags.values:
        asked = _with_values(ground, ready, inspected, cancellation)
    else:
        known = learned()
        asked = Asked(known.modules, (), _sums(ready), known.imports)
    remember(place, asked)
    return asked


def _with_values(ground: Ground, ready: Ready, inspected: Inspected, cancellation: Cancellation) -> Asked:
    """The same for a target whose `-X` values must be looked for in the file."""
    packages = listing(ground, ready, cancellation)
    twin = partial(
        unstripped_twin,
        ready.go,
        ready.target,
        ready.main,
        cache_dir=ground.request.cache,
        jobs=ground.request.jobs,
        cancellation=cancellation,
    )
    known = Learned.of(packages)
    return Asked(known.modules, check_values(inspected.artifact, twin, packages), _sums(ready), known.imports)


def _key(ready: Ready, inspected: Inspected) -> str:
    """Everything that the answer hangs on: the same file came from the same selected sources."""
    sums = _go_sum(ready)
    content = sums.read_bytes() if sums is not None else b""
    values = [[value.name, value.value] for value in ready.target.ldflags.values]
    asked = [inspected.artifact.digest, digest_of(content), ready.target.id, ready.package, values, ready.mode]
    return hex_of(digest_of(canonical_json(asked)))


def _go_sum(ready: Ready) -> Path | None:
    path = ready.go.go_mod.with_name("go.sum") if ready.go.go_mod else None
    return path if path is not None and path.is_file() else None


def _sums(ready: Ready) -> tuple[tuple[str, str, str], ...]:
    path = _go_sum(ready)
    if path is None:
        return ()
    found = gosum.read(path).sums
    return tuple((module, version, found[module, version]) for module, version in sorted(found) if "/" not in version)


def _modules(packages: Packages) -> tuple[GoModule, ...]:
    """The modules, its own aside, that give the program a package; other members of a workspace are among them."""
    own = {root.module.path for root in packages.roots if root.module is not None}
    found: dict[str, GoModule] = {}
    for package in packages.by_path.values():
        if package.module is not None and package.module.path not in own:
            found.setdefault(package.module.path, _module(package.module))
    return tuple(found[path] for path in sorted(found))


def _imports(packages: Packages) -> dict[str, tuple[str, ...]]:
    homes = {package.path: STDLIB for package in packages.by_path.values() if package.standard}
    homes |= {package.path: package.module.path for package in packages.by_path.values() if package.module}
    return module_imports(packages.graph(), homes)


def _module(listed: ListedModule) -> GoModule:
    replace = _module(listed.replace) if listed.replace else None
    return GoModule(listed.path, listed.version, listed.sum, replace)


def subjects_of(
    ground: Ground, ready: Ready, inspected: Inspected, asked: Asked, cancellation: Cancellation
) -> Iterator[Subject]:
    """The subjects of one artifact, one a slice; labelled by their place in dist/.

    The import graph is listed only if a rule asks for it, and once.
    """
    graph = None if ready.settings is None else cache(lambda: graph_of(listing(ground, ready, cancellation)))
    path = f"bin/{ready.target.slug}/{ready.target.filename}"
    packages = linked_packages(inspected.artifact.path) if ground.policy.forbidden_packages else None
    for facts in inspected.slices:
        label = f"{path}#{facts.slice}" if facts.slice else path
        yield Subject(
            path=label,
            digest=inspected.artifact.digest,
            size=inspected.artifact.size,
            facts=facts,
            packages=packages,
            expected=_expected(ground, ready, asked),
            imports=graph,
            source=Source(kind="file", path=label),
        )


def _expected(ground: Ground, ready: Ready, asked: Asked) -> Expected:
    if ready.prebuilt is not None:
        return Expected(target=ready.target)
    git = ground.git if ready.buildvcs else None
    return Expected(
        target=ready.target,
        toolchain=ready.toolchain,
        package=ready.import_path,
        module=ready.module,
        published=ready.published,
        modules=asked.modules,
        vcs=Vcs(git.commit, git.dirty) if git is not None and git.commit else None,
        x_values=tuple(one.check for one in asked.x_values),
    )


def findings_of_failure(
    ground: Ground, ready: Ready, failure: CompileFailure, cancellation: Cancellation
) -> tuple[Finding, ...]:
    """`cgo-required` for a compile that only cgo's absence broke; raises the failure itself if nothing says so."""
    packages = listing(ground, ready, cancellation)
    found = cgo_required(obstacles(failure.problems, packages), ready.target, graph_of(packages))
    if not found:
        raise failure
    return found
