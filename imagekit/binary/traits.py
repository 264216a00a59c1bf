"""What the bytes show beyond linkage: each trait with the evidence that stands under its name.

Damage behind the headers is silence here: a trait is missing, never an error.
"""

from __future__ import annotations

import msgspec

from imagekit.binary import buildids, cnames, fips, gonames, overlay, serving, sourcefiles
from imagekit.binary.elf import Elf
from imagekit.binary.facts import CgoUse, Evidence, Traits
from imagekit.binary.formats import Program
from imagekit.binary.gocode import GoCode
from imagekit.binary.gonames import Found
from imagekit.binary.macho import MachO
from imagekit.binary.pe import Pe

Packed = tuple[str, Evidence] | None
_SWITCHES = {"race": "-race", "asan": "-asan", "msan": "-msan", "cover": "-cover"}
_LOADERS = ("dlopen", "dlmopen")


class Told(msgspec.Struct, frozen=True):
    """The traits, and trait -> evidence for those that are not silent."""

    traits: Traits
    evidence: dict[str, Evidence]


def of_elf(program: Elf, code: GoCode, cgo: CgoUse, libc: str | None, packed: Packed) -> Told:
    """C functions count as called if they are imported or, in a static glibc program, inside."""
    c_names: Found = {}
    if program.dynamic.needed:
        c_names = cnames.called(program)
    elif libc == "glibc":
        c_names = cnames.held(program)
    calls = _c_calls(code, cgo, c_names)
    return _told(program, code, calls, cnames.sanitizers(program), buildids.of_elf(program), packed)


def of_macho(program: MachO, code: GoCode, packed: Packed) -> Told:
    return _told(program, code, {}, {}, buildids.of_macho(program), packed)


def of_pe(program: Pe, code: GoCode, packed: Packed) -> Told:
    return _told(program, code, {}, {}, buildids.of_pe(program), packed)


def _c_calls(code: GoCode, cgo: CgoUse, c_names: Found) -> Found:
    """What C functions are called: Go's names for its calls come first, as they name the package."""
    if code.table is None or cgo is not CgoUse.PROVEN:
        return c_names
    return c_names | gonames.c_loader(code.table) | gonames.name_service(code.table)


def _told(program: Program, code: GoCode, c_calls: Found, sanitizers: Found, ids: buildids.Ids, packed: Packed) -> Told:
    marks = gonames.marks(code.table) if code.table else {}
    words = {
        "instrumented": sanitizers | marks.get("instrumented", {}) | _switched(code),
        "endpoints": serving.endpoints(program, marks),
        "loads": marks.get("loads", {}) | {word: said for word, said in c_calls.items() if word in _LOADERS},
        "nss": {word: said for word, said in c_calls.items() if word not in _LOADERS},
    }
    leak = sourcefiles.leaked(code.table) if code.table else None
    required = fips.mode(code, marks.get("fips", {}))
    behind = overlay.find(program)
    said = {trait: _joined(found) for trait, found in words.items()} | {
        "leaked_paths": leak.evidence if leak else None,
        "fips": required[1] if required else None,
        "build_ids": ids[1],
        "overlay": behind[1] if behind else None,
        "packer": packed[1] if packed else None,
    }
    traits = Traits(
        instrumented=tuple(sorted(words["instrumented"])),
        leaked_paths=leak.paths if leak else None,
        leaked_total=leak.total if leak else 0,
        endpoints=tuple(sorted(words["endpoints"])),
        loads=tuple(sorted(words["loads"])),
        nss=tuple(sorted(words["nss"])),
        fips=required[0] if required else None,
        build_ids=ids[0],
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
