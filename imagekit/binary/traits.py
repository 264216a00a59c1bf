"""What the bytes show beyond linkage: each trait with the evidence that stands under its name.

Damage behind the headers is silence here: a trait is missing, never an error.
"""

from __future__ import annotations

import re

import msgspec

from imagekit.binary import buildids, cnames, fips, gonames, machoimports, overlay, peimports, serving, sourcefiles
from imagekit.binary.elf import Elf
from imagekit.binary.facts import CgoUse, Evidence, Traits
from imagekit.binary.formats import Program
from imagekit.binary.gocode import GoCode
from imagekit.binary.gonames import Found
from imagekit.binary.importing import Imports
from imagekit.binary.macho import MachO
from imagekit.binary.pe import Pe

Packed = tuple[str, Evidence] | None
_SWITCHES = {"race": "-race", "asan": "-asan", "msan": "-msan", "cover": "-cover"}
_LOADER = re.compile("dlm?open$|LoadLibrary")


class Told(msgspec.Struct, frozen=True):
    """The traits, and trait -> evidence for those that are not silent."""

    traits: Traits
    evidence: dict[str, Evidence]


class _OfFormat(msgspec.Struct, frozen=True, kw_only=True):
    """What each format shows in its own way."""

    calls: Found
    """C functions of the name service and of loading."""
    sanitizers: Found = {}
    imports: tuple[Imports, Evidence | None] = ({}, None)
    build_ids: buildids.Ids


def of_elf(program: Elf, code: GoCode, cgo: CgoUse, libc: str | None, imported: cnames.Imports, packed: Packed) -> Told:
    """C functions count as called if they are imported or, in a static glibc program, inside."""
    calls, asked = cnames.called(imported), Found()
    if code.table is not None and cgo is CgoUse.PROVEN:
        calls, asked = calls | gonames.c_loader(code.table), gonames.name_service(code.table)
    if libc == "glibc" and not asked and not program.dynamic.needed:
        asked = cnames.held(program)  # only where Go's own names tell none: here libc's calls of itself count, too
    calls = calls | asked
    sanitizers = cnames.sanitizers(program, imported)
    own = _OfFormat(calls=calls, sanitizers=sanitizers, build_ids=buildids.of_elf(program))
    return _told(program, code, own, packed)


def of_macho(program: MachO, code: GoCode, packed: Packed) -> Told:
    """As dyld reads it; C names are spelled with a `_` before them."""
    imports, said = machoimports.read(program)
    at = said.offset if said and said.offset else 0
    names = {name[1:].encode(): at for wanted in imports.values() for name in wanted}
    own = _OfFormat(calls=cnames.called(names), imports=(imports, said), build_ids=buildids.of_macho(program))
    return _told(program, code, own, packed)


def of_pe(program: Pe, code: GoCode, packed: Packed) -> Told:
    """Go's own runtime always imports LoadLibrary, so that it tells of other programs only."""
    imports, said = peimports.read(program)
    loads: Found = {}
    if said and not code.present:
        wanted = (name for names in imports.values() for name in names if name.startswith("LoadLibrary"))
        loads = {name: Evidence(said.where, said.offset, name) for name in sorted(wanted)}
    own = _OfFormat(calls=loads, imports=(imports, said), build_ids=buildids.of_pe(program))
    return _told(program, code, own, packed)


def _told(program: Program, code: GoCode, own: _OfFormat, packed: Packed) -> Told:
    marks = gonames.marks(code.table) if code.table else {}
    words = {
        "instrumented": own.sanitizers | marks.get("instrumented", {}) | _switched(code),
        "endpoints": serving.endpoints(program, marks),
        "loads": marks.get("loads", {}) | {word: said for word, said in own.calls.items() if _LOADER.match(word)},
        "nss": {word: said for word, said in own.calls.items() if not _LOADER.match(word)},
    }
    leak = sourcefiles.leaked(code.table) if code.table else None
    required, behind = fips.mode(code, marks.get("fips", {})), overlay.find(program)
    said = {trait: _joined(found) for trait, found in words.items()} | {
        "imports": own.imports[1],
        "leaked_paths": leak.evidence if leak else None,
        "fips": required[1] if required else None,
        "build_ids": own.build_ids[1],
        "overlay": behind[1] if behind else None,
        "packer": packed[1] if packed else None,
    }
    traits = Traits(
        imports=own.imports[0],
        instrumented=tuple(sorted(words["instrumented"])),
        leaked_paths=leak.paths if leak else None,
        leaked_total=leak.total if leak else 0,
        endpoints=tuple(sorted(words["endpoints"])),
        loads=tuple(sorted(words["loads"])),
        nss=tuple(sorted(words["nss"])),
        fips=required[0] if required else None,
        build_ids=own.build_ids[0],
        overlay=behind[0] if behind else 0,
        packer=packed[0] if packed else None,
    )
    return Told(traits, {trait: evidence for trait, evidence in said.items() if evidence is not None})


def _switched(code: GoCode) -> Found:
    """What build info says that the build was asked for."""
    on = (word for word, switch in _SWITCHES.items() if code.setting(switch) == "true")
    return {word: Evidence("build info", code.build_offset, f"{_SWITCHES[word]}=true") for word in on}


def _joined(found: Found) -> Evidence | None:
    """The first place, and all that was seen."""
    if not found:
        return None
    first = next(iter(found.values()))
    return Evidence(first.where, first.offset, ", ".join(dict.fromkeys(said.value for said in found.values())))
