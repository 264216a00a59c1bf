"""Which module needs which: the import graph of packages, folded to their modules. Computes only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

STDLIB = "stdlib"


def module_imports(imports: Mapping[str, Sequence[str]], module_of: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Module -> the other modules whose packages it imports, sorted; `stdlib` for a package that no module has.

    `imports`: package -> packages that it imports. `module_of`: package -> module path; none for the standard library.
    """
    found: dict[str, set[str]] = {}
    for package, imported in imports.items():
        home = module_of.get(package, STDLIB)
        needed = found.setdefault(home, set())
        needed.update(other for other in _homes(imported, module_of) if other != home)
    return {module: tuple(sorted(needed)) for module, needed in sorted(found.items())}


def _homes(packages: Sequence[str], module_of: Mapping[str, str]) -> Iterator[str]:
    return (module_of.get(package, STDLIB) for package in packages if package != "C")
