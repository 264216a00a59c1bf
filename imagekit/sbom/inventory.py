"""Inventory: what is in one built program, before any SBOM format. Computes only.

The modules come from the build info inside the file, so they are those that were linked; their sums from it or, for a
vendored build, from go.sum. What nobody knows is said to be unknown, never guessed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum

import msgspec

from imagekit.binary.facts import BinaryFacts, CgoUse, GoModule, Linkage
from imagekit.content import Digest
from imagekit.sbom.edges import STDLIB
from imagekit.sbom.purl import go_cpe, go_release, module_purl, stdlib_purl
from imagekit.targets.target import Target

Sums = Mapping[tuple[str, str], str]
"""(module, version) -> `h1:…`, as go.sum has them."""
ROOT = "program"
_UNVERSIONED = ("", "(devel)")
_STATIC = (Linkage.STATIC, Linkage.STATIC_PIE)
_GO_LICENSE = "BSD-3-Clause"
"""GOROOT/LICENSE of every release."""


class Kind(StrEnum):
    PROGRAM = "program"
    LIBRARY = "library"
    DATA = "data"


class Component(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is inside. '' is unknown.

    `ref` is unique in its inventory. `h1` is Go's hash of a module's file list, not the digest of any file; `digest` is
    the SHA-256 of the very bytes that are shipped.
    """

    ref: str
    name: str
    version: str = ""
    kind: Kind = Kind.LIBRARY
    purl: str = ""
    cpe: str = ""
    license: str = ""
    h1: str = ""
    digest: Digest | None = None
    properties: tuple[tuple[str, str], ...] = ()
    """(name, value) with names that begin with `imagekit:`, sorted."""


class Inventory(msgspec.Struct, frozen=True, kw_only=True):
    """The program, everything in it, and what needs what.

    `edges` are (ref, refs that it needs), sorted; a component without an entry has needs that nobody knows.
    `complete` is whether `components` is all there is. `timestamp` in seconds since 1970.
    """

    program: Component
    filename: str
    platform: str
    components: tuple[Component, ...]
    edges: tuple[tuple[str, tuple[str, ...]], ...]
    complete: bool
    timestamp: int
    source: str = ""
    """Where the source is, as a VCS locator (`git+https://…@commit`)."""


def of_program(
    facts: BinaryFacts,
    *,
    name: str,
    filename: str,
    digest: Digest,
    timestamp: int,
    version: str = "",
    target: Target | None = None,
    sums: Sums | None = None,
    published: GoModule | None = None,
    module_imports: Mapping[str, Sequence[str]] | None = None,
    extra: Sequence[Component] = (),
    source: str = "",
) -> Inventory:
    """The inventory of one built file.

    `version` is used where the build info has none; `published` is the module with its version and `h1` that a
    published build came from, since Go then writes `(devel)`. `module_imports` (see `edges.module_imports`): module ->
    modules whose packages it imports, `stdlib` among them. `extra`: what else is shipped with the program.
    """
    root = _program(facts, name, digest, version, target, published)
    modules = facts.go.deps if facts.go else ()
    inside = [*_modules(modules, sums or {}), *_stdlib(facts), *_libc(facts), *extra]
    components = tuple(sorted(inside, key=lambda component: component.ref))
    main = facts.go.main.path if facts.go and facts.go.main else ""
    return Inventory(
        program=root,
        filename=filename,
        platform=str(target.platform if target else facts.platform or ""),
        components=components,
        edges=tuple(_edges(components, main, module_imports)),
        complete=facts.go is not None and facts.cgo is CgoUse.ABSENT,
        timestamp=timestamp,
        source=source,
    )


def module_ref(path: str) -> str:
    """The reference of the module that is imported as `path`, whatever replaces it."""
    return f"module:{path}"


def _program(
    facts: BinaryFacts, name: str, digest: Digest, version: str, target: Target | None, published: GoModule | None
) -> Component:
    module = published or (facts.go.main if facts.go else None)
    own = module.version if module and module.version not in _UNVERSIONED else version
    package = facts.go.path if facts.go else ""
    inside = package.removeprefix(module.path).strip("/") if module and _is_under(package, module.path) else ""
    return Component(
        ref=ROOT,
        name=name,
        version=own,
        kind=Kind.PROGRAM,
        purl=module_purl(module.path, own, inside) if module else "",
        h1=published.sum if published else "",
        digest=digest,
        properties=tuple(sorted({**_built_how(facts), **_asked_how(target)}.items())),
    )


def _is_under(package: str, module: str) -> bool:
    return (package + "/").startswith(module + "/")


def _built_how(facts: BinaryFacts) -> dict[str, str]:
    """What the file itself says: linkage, cgo, Go's version and every build setting."""
    said = {"imagekit:linkage": str(facts.linkage), "imagekit:cgo": str(facts.cgo)}
    if facts.go is not None:
        said |= {f"imagekit:go:setting:{key}": value for key, value in facts.go.settings.items()}
        said |= {"imagekit:go:version": facts.go.version, "imagekit:go:package": facts.go.path}
    return said


def _asked_how(target: Target | None) -> dict[str, str]:
    """What only the builder knows: `-trimpath` keeps linker flags out of the build info (golang/go#63432)."""
    if target is None:
        return {}
    lists = {
        "tags": target.tags,
        "flags": (*target.flags, *target.unsafe.flags),
        "gcflags": target.gcflags,
        "ldflags": (*(("-s", "-w") if target.ldflags.strip else ()), *target.ldflags.flags),
    }
    said = {f"imagekit:build:{key}": " ".join(words) for key, words in lists.items() if words}
    said |= {f"imagekit:build:x:{value.name}": value.value for value in target.ldflags.values}
    said |= {f"imagekit:build:env:{name}": value for name, value in (*target.env, *target.unsafe.env)}
    return {**said, "imagekit:build:target": target.id, "imagekit:build:cgo": str(target.cgo)}


def _modules(modules: Sequence[GoModule], sums: Sums) -> Iterator[Component]:
    for module in modules:
        end = module.replace or module
        local = end.version in _UNVERSIONED
        yield Component(
            ref=module_ref(module.path),
            name=module.path if local else end.path,
            version="" if local else end.version,
            purl="" if local else module_purl(end.path, end.version),
            h1=end.sum or sums.get((end.path, end.version), ""),
            properties=tuple(_replacement(module)),
        )


def _replacement(module: GoModule) -> Iterator[tuple[str, str]]:
    if module.replace is None:
        return
    if module.replace.version in _UNVERSIONED:
        yield "imagekit:go:replaced-by", module.replace.path
    yield "imagekit:go:replaces", f"{module.path}@{module.version}" if module.version else module.path


def _stdlib(facts: BinaryFacts) -> Iterator[Component]:
    if facts.go is None:
        return
    release = go_release(facts.go.version)
    yield Component(
        ref=STDLIB,
        name=STDLIB,
        version=release or facts.go.version,
        purl=stdlib_purl(release),
        cpe=go_cpe(facts.go.version),
        license=_GO_LICENSE,
    )


def _libc(facts: BinaryFacts) -> Iterator[Component]:
    """The C library inside a static program: scanners see nothing of it; its version is not in the bytes."""
    if facts.libc and facts.cgo is CgoUse.PROVEN and facts.linkage in _STATIC:
        yield Component(ref=f"libc:{facts.libc}", name=facts.libc)


def _edges(
    components: Sequence[Component], main: str, module_imports: Mapping[str, Sequence[str]] | None
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The program needs all that nothing else is known to bring in; modules need what their packages import."""
    known = {component.ref for component in components}
    if module_imports is None:
        yield ROOT, tuple(sorted(known))
        return
    edges = {
        ROOT if module == main else _ref(module): {_ref(name) for name in imported if name != module} & known
        for module, imported in module_imports.items()
    }
    brought = {ref for needs in edges.values() for ref in needs}
    edges[ROOT] = edges.get(ROOT, set()) | (known - brought)
    yield from sorted((ref, tuple(sorted(needs - {ref}))) for ref, needs in edges.items() if ref in {ROOT, *known})


def _ref(module: str) -> str:
    return STDLIB if module == STDLIB else module_ref(module)
