"""What `targets --files` and `targets --diff` show, for people and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from imagekit.golang import selection
from imagekit.golang.packages import Packages
from imagekit.text import line

FILES = "urn:imagekit:files:v1"
DIFF = "urn:imagekit:files-diff:v1"


def files_json(found: Sequence[Packages]) -> dict[str, object]:
    """Every target's packages with their files, then what only shows in all of them together."""
    return {
        "schema": FILES,
        "targets": [{"target": one.target, "packages": list(_packages(one))} for one in found],
        "unselected": selection.unselected(found),
        "stubs": [stub for one in found for stub in selection.stubs(one)],
        "only_on_one": [{"target": target, "package": package} for target, package in _only_on_one(found)],
    }


def _packages(one: Packages) -> Iterator[dict[str, object]]:
    for choice in selection.choices(one):
        error = one.by_path[choice.package].error
        yield {
            "package": choice.package,
            "compiled": choice.compiled,
            "excluded": choice.excluded,
            "error": error.err if error else None,
        }


def _only_on_one(found: Sequence[Packages]) -> list[tuple[str, str]]:
    """Compared are the targets of one build: another program has other packages anyway."""
    builds: dict[str, list[Packages]] = {}
    for one in found:
        builds.setdefault(one.target.partition(":")[0], []).append(one)
    return [pair for some in builds.values() for pair in selection.only_on_one(some)]


def files_table(found: Sequence[Packages]) -> str:
    """The same in lines: `+` is compiled, `-` is kept out, with the constraint that did it."""
    return "\n".join(line(text) for text in _table(found))


def _table(found: Sequence[Packages]) -> Iterator[str]:
    for one in found:
        yield one.target
        yield from _target(one)
        yield ""
    yield from _section(
        "Files that no target compiles:",
        [
            f"{file.package}  {file.name}  ({file.constraint or 'no constraint'})"
            for file in selection.unselected(found)
        ],
    )
    yield from _section(
        "Stub files, which make a build green and may fail at run time:",
        [_stub(stub) for one in found for stub in selection.stubs(one)],
    )
    yield from _section(
        "Packages on one target only:", [f"{target}  {package}" for target, package in _only_on_one(found)]
    )


def _target(one: Packages) -> Iterator[str]:
    for choice in selection.choices(one):
        yield f"  {choice.package}"
        error = one.by_path[choice.package].error
        if error:
            yield f"    ! {error.err}"
        yield from (f"    + {name}" for name in choice.compiled)
        yield from (f"    - {file.name}  ({file.constraint})" for file in choice.excluded)


def _stub(stub: selection.Stub) -> str:
    instead = f"; with cgo it would be {', '.join(stub.instead)}" if stub.instead else ""
    return f"{stub.target}  {stub.package}  {stub.name}  ({stub.constraint or 'by its name'}){instead}"


def _section(title: str, lines: Sequence[str]) -> Iterator[str]:
    """Always there, so that an empty one says something too."""
    yield title
    yield from (f"  {text}" for text in lines or ("none",))


def diff_json(first: Packages, second: Packages) -> dict[str, object]:
    """What two targets compile differently; a file with the constraint that keeps it out of the other one."""
    found = selection.compare(first, second)
    return {
        "schema": DIFF,
        "first": {"target": found.first, "packages": found.packages_first, "files": _told(found.files_first, second)},
        "second": {
            "target": found.second,
            "packages": found.packages_second,
            "files": _told(found.files_second, first),
        },
    }


def _told(pairs: Sequence[tuple[str, str]], other: Packages) -> list[dict[str, str]]:
    """Package, file, and why the other target does not compile it ('' where nothing in its header or name says so)."""
    left_out = {path: {one.name: one.constraint for one in other.excluded(other.by_path[path])} for path, _ in pairs}
    return [{"package": path, "name": name, "constraint": left_out[path].get(name, "")} for path, name in pairs]


def diff_table(first: Packages, second: Packages) -> str:
    """The same in lines."""
    found = selection.compare(first, second)
    sides = (
        (found.packages_first, found.files_first, first, second),
        (found.packages_second, found.files_second, second, first),
    )
    lines = [text for packages, files, one, other in sides for text in _side(packages, _told(files, other), one, other)]
    return "\n".join(line(text) for text in lines)


def _side(packages: Sequence[str], files: Sequence[dict[str, str]], one: Packages, other: Packages) -> Iterator[str]:
    rows = [f"package {path}" for path in packages]
    rows += [
        f"{file['package']}  {file['name']}  ({other.target}: {file['constraint'] or 'not chosen'})" for file in files
    ]
    yield from _section(f"Only {one.target}:", rows)
