"""The vendor folder against the module zips that go.sum vouches for. Reads files.

Go compiles what is in vendor/ without a look at go.sum, and `go mod verify` never looks there. So each file is traced
to the zip of a module in vendor/modules.txt: it must be there with the same bytes, and what `go mod vendor` would have
copied (source of the listed packages, embedded files) must not be missing.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from imagekit.content import hash_file, hex_of
from imagekit.errors import UnreadableError
from imagekit.source import vendoring
from imagekit.source.gosum import GoSum
from imagekit.source.modpath import is_import_path, is_version
from imagekit.source.vendoring import ZipContent
from imagekit.source.weakness import Weakness

LIST = "modules.txt"
_LIST_LIMIT = 64 << 20
_NAMED = 5

ZipOf = Callable[[str, str], Path | None]
"""(module, version) -> its zip, None if it cannot be had. Nothing about the zip is believed before it is hashed."""


class VendoredModule(msgspec.Struct, frozen=True):
    """One module of modules.txt. `source` and `version` are what was copied: those of the replacement if there is one.

    `version` '' means that the source is a folder.
    """

    path: str
    source: str
    version: str
    packages: tuple[str, ...]


def read_list(vendor_dir: Path) -> tuple[VendoredModule, ...]:
    """The modules of vendor/modules.txt that provide packages, in its order (modload.readVendorList).

    Raises `UnreadableError` if it is not there or larger than 64 MiB.
    """
    path = vendor_dir / LIST
    try:
        with path.open("rb") as stream:
            content = stream.read(_LIST_LIMIT + 1)
    except OSError as error:
        raise UnreadableError(f"{path}: {error.strerror}", hint="go mod vendor") from error
    if len(content) > _LIST_LIMIT:
        raise UnreadableError(f"{path} is larger than {_LIST_LIMIT} bytes")
    found: dict[tuple[str, str, str], list[str]] = {}
    current: list[str] | None = None
    for line in content.decode("utf-8", "replace").split("\n"):
        if line.startswith("# "):
            key = _module_line(line.split())
            current = found.setdefault(key, []) if key else None
        elif current is not None and not line.startswith("##") and is_import_path(line.strip()):
            current.append(line.strip())
    return tuple(VendoredModule(*key, tuple(packages)) for key, packages in found.items() if packages)


def _module_line(fields: list[str]) -> tuple[str, str, str] | None:
    """(path, source, version) of `# path v1.2.3 [=> other v1.2.4 | => ../folder]`; None for a line of another kind."""
    if len(fields) < 3 or not (is_version(fields[2]) or fields[2] == "=>"):
        return None
    path = fields[1]
    if "=>" not in fields:
        return path, path, fields[2]
    right = fields[fields.index("=>") + 1 :]
    return (path, right[0], right[1] if len(right) == 2 else "") if right else None


def signature(vendor_dir: Path, go_sum: GoSum) -> str:
    """Changes whenever a file under vendor/ may have: over each name, size, inode, mtime and ctime, and over go.sum."""
    state = hashlib.sha256(go_sum.digest.encode())
    for name, entry in _entries(vendor_dir):
        seen = entry.stat(follow_symlinks=False)
        state.update(
            f"{name}\0{seen.st_mode} {seen.st_size} {seen.st_ino} {seen.st_mtime_ns} {seen.st_ctime_ns}\n".encode()
        )
    return state.hexdigest()


def _entries(top: Path, inside: str = "") -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Everything under `top` but folders, by relative name, sorted."""
    with os.scandir(top) as entries:
        listed = sorted(entries, key=lambda entry: entry.name)
    for entry in listed:
        name = f"{inside}{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            yield from _entries(top / entry.name, f"{name}/")
        else:
            yield os.fsencode(name).decode("utf-8", "backslashreplace"), entry


def compare(vendor_dir: Path, modules: Sequence[VendoredModule], zip_of: ZipOf, go_sum: GoSum) -> tuple[Weakness, ...]:
    """`vendor-mismatch` for files that differ from the verified zips, are in none, or are missing; `vendor-unverified`
    for modules without a zip, without a hash in go.sum, or whose zip has another hash.
    """
    verified, unverified = _verified(modules, zip_of, go_sum)
    owners = _Owners(modules)
    wrong: list[str] = []
    digests: dict[str, str] = {}
    for name, entry in _entries(vendor_dir):
        if name == LIST:
            continue
        if not stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
            wrong.append(f"{name} is not a plain file")
            continue
        digests[name] = hex_of(hash_file(Path(entry.path))[0])
        wrong += _judged(name, digests[name], owners.of(name.rpartition("/")[0]), verified)
    for module, content in verified.items():
        folders = [package.removeprefix(module.path).removeprefix("/") for package in module.packages]
        names = (f"{module.path}/{name}" for name in vendoring.expected(content, folders))
        wrong += [f"{name} is missing" for name in sorted(names) if name not in digests]
    return (*_mismatch(wrong), *_unverified(unverified))


def _verified(
    modules: Iterable[VendoredModule], zip_of: ZipOf, go_sum: GoSum
) -> tuple[dict[VendoredModule, ZipContent], list[tuple[VendoredModule, str]]]:
    """The content of each module whose zip has the hash that go.sum has, and why the others could not be used."""
    verified: dict[VendoredModule, ZipContent] = {}
    unverified: list[tuple[VendoredModule, str]] = []
    for module in modules:
        wanted = go_sum.zip_sum(module.source, module.version)
        path = zip_of(module.source, module.version) if module.version and wanted else None
        if not module.version:
            unverified.append((module, f"it comes from the folder {module.source}"))
        elif wanted is None:
            unverified.append((module, "go.sum has no hash of it"))
        elif path is None:
            unverified.append((module, "its zip cannot be had"))
        else:
            content = vendoring.read_zip(path, module.source, module.version)
            if content.h1 == wanted:
                verified[module] = content
            else:
                unverified.append((module, f"the zip {path} has the hash {content.h1}, go.sum has {wanted}"))
    return verified, unverified


class _Owners:
    """Which modules a file can come from: the one that provides its folder's package, else all around the folder.

    (Licences of parent folders and embedded files stand in folders that are no package.)
    """

    def __init__(self, modules: Iterable[VendoredModule]) -> None:
        self._packages: dict[str, list[VendoredModule]] = {}
        self._paths: dict[str, list[VendoredModule]] = {}
        for module in modules:
            self._paths.setdefault(module.path, []).append(module)
            for package in module.packages:
                self._packages.setdefault(package, []).append(module)

    def of(self, folder: str) -> list[VendoredModule]:
        """The nearest first."""
        if folder in self._packages:
            return self._packages[folder]
        parts = folder.split("/")
        around = ("/".join(parts[:count]) for count in range(len(parts), 0, -1))
        return [module for path in around for module in self._paths.get(path, ())]


def _judged(
    name: str, digest: str, owners: Sequence[VendoredModule], verified: Mapping[VendoredModule, ZipContent]
) -> Iterator[str]:
    """What is wrong with one file: nothing if a module that it may come from has it so, or could not be verified."""
    if not owners:
        yield f"{name} belongs to no module of {LIST}"
        return
    if any(module not in verified for module in owners):
        return
    there = [verified[module].digests.get(name.removeprefix(f"{module.path}/")) for module in owners]
    if digest not in there:
        yield f"{name} differs" if any(there) else f"{name} is not in {owners[0].source}@{owners[0].version}"


def _mismatch(wrong: Sequence[str]) -> Iterator[Weakness]:
    if wrong:
        rest = f"; and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
        yield Weakness(
            "vendor-mismatch",
            f"vendor/ is not what go.sum vouches for: {'; '.join(wrong[:_NAMED])}{rest}",
            f"vendor/{wrong[0].partition(' ')[0]}",
            "`go mod vendor` writes it anew; `git diff vendor` then shows what was changed",
        )


def _unverified(unverified: Sequence[tuple[VendoredModule, str]]) -> Iterator[Weakness]:
    if unverified:
        named = "; ".join(f"{module.path}: {reason}" for module, reason in unverified[:_NAMED])
        rest = f"; and {len(unverified) - _NAMED} more" if len(unverified) > _NAMED else ""
        yield Weakness(
            "vendor-unverified",
            f"vendored source that could not be compared with a verified zip: {named}{rest}",
            f"vendor/{LIST}",
            "build once where the module proxy answers: the zips stay in the module cache",
        )
