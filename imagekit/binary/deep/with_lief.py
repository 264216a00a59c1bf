"""What lief reads in an ELF, Mach-O or PE file. Runs in the parsers' process only."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

from imagekit.binary.deep import codesign, dwarf
from imagekit.binary.deep.opinion import Opinion, Said, architecture

_FAMILIES = {
    **{
        "I386": "386",
        "X86_64": "amd64",
        "AARCH64": "arm64",
        "ARM": "arm",
        "MIPS": "mips",
        "PPC": "ppc",
        "PPC64": "ppc64",
    },
    **{"S390": "s390", "RISCV": "riscv", "LOONGARCH": "loong", "SPARCV9": "sparc64"},
}
_CPUS = {"X86": "386", "X86_64": "amd64", "ARM": "arm", "ARM64": "arm64", "POWERPC": "ppc", "POWERPC64": "ppc64"}
_MACHINES = {
    "I386": "386",
    "AMD64": "amd64",
    "ARM64": "arm64",
    "ARM": "arm",
    "ARMNT": "arm",
    "THUMB": "arm",
    "RISCV64": "riscv64",
}
_SYSTEMS = {"MACOS": "darwin", "IOS": "ios", "TVOS": "tvos", "WATCHOS": "watchos", "VISIONOS": "visionos"}
_PE_FLAGS = {"aslr": 0x40, "nx": 0x100, "control_flow_guard": 0x4000}
_FAT64 = b"\xca\xfe\xba\xbf"
_CONFIGURED = ("security_cookie", "se_handler_count", "guard_cf_function_count", "guard_flags", "dependent_load_flags")
_MOST_IMPORTS, _MOST_SIGNATURE = 1 << 12, 1 << 24


def opinions(path: Path, kind: str) -> tuple[Opinion, ...]:
    """One for each program; raises `ValueError` where lief gives up."""
    import lief

    lief.logging.disable()
    read = {"elf": _elf, "macho": _macho, "pe": _pe}[kind]
    return read(lief, path)


def _given(parsed: Any) -> Any:
    if parsed is None:
        raise ValueError("not read")
    return parsed


def _elf(lief: Any, path: Path) -> tuple[Opinion, ...]:
    config = lief.ELF.ParserConfig()
    for unneeded in ("parse_symtab_symbols", "parse_relocations", "parse_notes", "parse_overlay"):
        setattr(config, unneeded, False)
    file = _given(lief.ELF.parse(str(path), config))
    bits = 64 if file.header.identity_class.name == "ELF64" else 32
    order = "<" if file.header.identity_data.name == "LSB" else ">"
    said = architecture(_FAMILIES, file.header.machine_type.name, bits, order)
    said |= {
        "interpreter": (text(file.interpreter),) if file.has_interpreter else (),
        "needed": tuple(map(text, file.libraries)),
        "rpath": tuple(
            part
            for entry in file.dynamic_entries
            if entry.tag.name in ("RPATH", "RUNPATH")
            for part in map(text, entry.paths)
            if part
        ),
        "versions": tuple(
            text(v.name) for need in file.symbols_version_requirement for v in need.get_auxiliary_symbols()
        ),
    }
    return (Opinion(said=said),)


def _macho(lief: Any, path: Path) -> tuple[Opinion, ...]:
    with path.open("rb") as stream:
        wide = stream.read(4) == _FAT64
        # Each file stays referenced while its slices are read: lief frees them with it.
        if wide:  # which lief does not know; it gets slice by slice
            files = [(_given(lief.MachO.parse(_cut(stream, *place))), place[0]) for place in _places(path)]
        else:
            files = [(_given(lief.MachO.parse(str(path))), 0)]
        return tuple(_slice(file.at(n), stream, start) for file, start in files for n in range(file.size))


def _places(path: Path) -> list[tuple[int, int]]:
    from imagekit.binary import macho
    from imagekit.binary.window import open_window

    return [(part.base, part.size) for _, part in macho.slices(open_window(path))]


def _cut(stream: BinaryIO, start: int, size: int) -> bytes:
    stream.seek(start)
    return stream.read(size)


def _slice(file: Any, stream: BinaryIO, start: int) -> Opinion:
    cpu = _CPUS.get(file.header.cpu_type.name)
    said: Said = {
        "interpreter": (text(file.dylinker.name),) if file.has_dylinker else (),
        "needed": tuple(text(library.name) for library in file.libraries if library.command.name != "ID_DYLIB"),
        "rpath": tuple(text(each.path) for each in file.rpaths),
        "pie": (str(file.is_pie).lower(),),
    }
    said |= {"architecture": (cpu,)} if cpu else {}
    if file.has_build_version:
        system = _SYSTEMS.get(file.build_version.platform.name)
        said |= {"minimum_os": (version(file.build_version.minos),)} | ({"os": (system,)} if system else {})
    if file.has_dyld_info or file.has_dyld_chained_fixups:  # before 10.6 they stood in tables that lief does not read
        bound = (one for one in file.bindings if one.has_library and one.has_symbol)
        said |= _imports({f"{text(one.library.name)}:{text(one.symbol.name)}" for one in bound})
    kind, worth = _code_signature(file, stream, start + file.fat_offset)
    said["signature"] = (kind,)
    return Opinion(
        said=said,
        signature=worth,
        compile_units=dwarf.units(_sections(file.sections), "<", 8 if file.header.is_64bit else 4),
    )


def _code_signature(file: Any, stream: BinaryIO, start: int) -> tuple[str, str | None]:
    """Its kind as in our facts, and what it says; `none` where there is none."""
    if not file.has_code_signature:
        return "none", None
    try:
        place = file.code_signature
        blob = _cut(stream, start + place.data_offset, min(place.data_size, _MOST_SIGNATURE))
        found = codesign.read(blob, stream, start)
    except ValueError as error:
        return "damaged", str(error)
    return found.kind, str(found)


def _pe(lief: Any, path: Path) -> tuple[Opinion, ...]:
    config = lief.PE.ParserConfig()
    for unneeded in ("parse_reloc", "parse_rsrc", "parse_exports", "parse_exceptions"):
        setattr(config, unneeded, False)
    file = _given(lief.PE.parse(str(path), config))
    flags, machine = file.optional_header.dll_characteristics, _MACHINES.get(file.header.machine.name)
    every = [*file.imports, *file.delay_imports]
    said: Said = {
        "needed": tuple(dict.fromkeys(text(library.name) for library in every)),
        "timestamp": (f"{file.header.time_date_stamps:#010x}" if file.header.time_date_stamps else "none",),
        **{fact: (str(bool(flags & bit)).lower(),) for fact, bit in _PE_FLAGS.items()},
    }
    said |= {"architecture": (machine,)} if machine else {}
    said |= _imports({f"{text(one.name)}:{text(e.name)}" for one in every for e in one.entries if not e.is_ordinal})
    wide = file.optional_header.magic.name == "PE32_PLUS"
    return (
        Opinion(
            said=said,
            signature=_authenticode(lief, file),
            load_configuration=_configuration(file),
            compile_units=dwarf.units(_sections(file.sections), "<", 8 if wide else 4),
        ),
    )


def _imports(named: set[str]) -> Said:
    """`library:name` of each import by name, sorted; nothing for more than a reader keeps."""
    return {"imports": tuple(sorted(named))} if len(named) < _MOST_IMPORTS else {}


def _authenticode(lief: Any, file: Any) -> str | None:
    """Whether the signature is its signer's and the file is what was signed; the chain to a root is not asked."""
    if not file.data_directory(lief.PE.DataDirectory.TYPES.CERTIFICATE_TABLE).size:
        return None
    if not file.signatures:
        return "damaged: no signature can be read"
    flags = file.verify_signature(lief.PE.Signature.VERIFICATION_CHECKS.SKIP_CERT_TIME)
    signers = [text(certificate.subject) for one in file.signatures for certificate in _signers(one)]
    by = f" by {'; '.join(dict.fromkeys(signers))}" if signers else ""
    if flags == lief.PE.Signature.VERIFICATION_FLAGS.OK:
        return f"intact, signed{by}"
    wrong = [flag.name for flag in lief.PE.Signature.VERIFICATION_FLAGS if flag.value and flag in flags]
    return f"wrong ({', '.join(wrong).lower().replace('_', ' ')}), signed{by}"


def _signers(signature: Any) -> list[Any]:
    return [one.cert for one in signature.signers if one.cert is not None]


def _configuration(file: Any) -> dict[str, str]:
    """The words of the load configuration that have a value; numbers in hexadecimal."""
    config = file.load_configuration
    if config is None:
        return {}
    values = {name: getattr(config, name) for name in _CONFIGURED}
    return {name: f"{int(value):#x}" for name, value in values.items() if value}


def _sections(sections: Any) -> dict[str, bytes]:
    """The DWARF of a Mach-O or PE file, whose long names lief looks up."""
    found: dict[str, bytes] = {}
    left = dwarf.MOST_BYTES
    for section in sections:
        long = getattr(section, "coff_string", None)  # PE: `/19`, a place in the string table
        name = text(section.name if long is None else long.string)
        short = dwarf.wanted(name)
        if short and short not in found:
            if section.size > left:
                return {}
            found[short] = dwarf.inflated(name, bytes(section.content), left)
            left -= len(found[short])
    return found


def text(value: str | bytes) -> str:
    """lief gives bytes where a name is not UTF-8."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value


def version(numbers: list[int]) -> str:
    """`12.0`, `10.13.6`: a zero patch is left out."""
    major, minor, patch = numbers
    return f"{major}.{minor}" + (f".{patch}" if patch else "")
