"""The deep look: other parsers agree on honest files, contradict on lying ones, and their end is not ours."""

from __future__ import annotations

import datetime
import hashlib
import random
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from imagekit.binary.deep import Deep, Disagreement, asking, examine
from imagekit.binary.deep.answering import Question
from imagekit.binary.reader import read
from imagekit.errors import UnreadableError

CORPUS = Path(__file__).parents[1] / "fuzz" / "corpus"
KINDS = ("elf", "macho", "pe")
SEEDS = [path for kind in KINDS for path in sorted((CORPUS / kind).iterdir()) if not path.name.startswith("found-")]


@pytest.fixture(autouse=True, scope="module")
def _ended() -> Iterator[None]:
    yield
    asking.stop()


def deep(path: Path) -> tuple[Deep, ...]:
    return examine(path, read(path))


def only(path: Path) -> Deep:
    (found,) = deep(path)
    return found


@pytest.mark.parametrize("path", SEEDS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_every_seed_is_read_alike(path: Path) -> None:
    found = deep(path)
    assert len(found) == (2 if path.name.startswith("fat") else 1)
    assert [each.disagreements for each in found] == [()] * len(found)


AGREED = {
    "static": ("tiny", "linux/amd64", (), "", False),
    "32 bits": ("tiny", "linux/386", (), "", False),
    "big endian": ("tiny", "linux/s390x", (), "", False),
    "mips": ("tiny", "linux/mips", (), "", False),
    "pie": ("tiny", "linux/arm64", ("-buildmode=pie",), "", False),
    "a path": ("cgo", "linux/amd64", (), "-r /opt/lib:/srv/lib", True),
    "c-shared": ("cgo", "linux/amd64", ("-buildmode=c-shared",), "", True),
    "macos": ("net", "darwin/arm64", (), "", False),
    "macos amd64": ("tiny", "darwin/amd64", (), "", False),
    "windows": ("tiny", "windows/amd64", (), "", False),
    "windows 386": ("tiny", "windows/386", (), "", False),
}


@pytest.mark.real
@pytest.mark.parametrize("name", AGREED)
def test_real_programs_are_read_alike(zoo: Callable[..., Path], name: str) -> None:
    package, platform, flags, ldflags, cgo = AGREED[name]
    found = only(zoo(package, platform, *flags, ldflags=ldflags, cgo=cgo))
    assert found.disagreements == ()
    assert bool(found.compile_units) == cgo
    assert (found.signature or "").startswith("linker-signed, identifier a.out" if name == "macos" else "")


@pytest.mark.real
def test_c_by_its_dwarf(zoo: Callable[..., Path]) -> None:
    units = only(zoo("cgo", "linux/amd64", cgo=True, ldflags="")).compile_units
    assert {"C"} <= {unit.language for unit in units} <= {"C", "Assembly"}
    assert any(unit.name.endswith("main.cgo2.c") for unit in units)
    assert all(unit.producer.startswith("GNU ") for unit in units)
    assert only(zoo("cgo", "linux/amd64", cgo=True, ldflags="-s -w")).compile_units == ()


@pytest.mark.real
@pytest.mark.parametrize(
    "flags", [("-gdwarf-5",), ("-gdwarf-4", "-gz"), ("-gdwarf-4", "-gz=zlib-gnu"), ("-g", "-static")]
)
def test_c_alone(tmp_path: Path, flags: tuple[str, ...]) -> None:
    (tmp_path / "one.c").write_text("int main(void) { return 0; }\n", encoding="utf-8")
    subprocess.run(["gcc", *flags, "-o", "one", "one.c"], cwd=tmp_path, check=True)
    found = only(tmp_path / "one")
    assert [(unit.name, unit.language) for unit in found.compile_units] == [("one.c", "C")]
    assert found.compile_units[0].producer.startswith("GNU C")
    assert found.disagreements == ()


def version_needs(content: bytes) -> int:
    """Offset of the section header of `.gnu.version_r`."""
    table, count = struct.unpack_from("<Q", content, 40)[0], struct.unpack_from("<H", content, 60)[0]
    return next(at for at in range(table, table + count * 64, 64) if content[at + 4 : at + 8] == b"\xfe\xff\xff\x6f")


def test_sections_that_say_otherwise(tmp_path: Path) -> None:
    """Loaders go by segments and so do we; who goes by sections can be told that nothing is needed."""
    content = bytearray((CORPUS / "elf" / "dynamic-64").read_bytes())
    struct.pack_into("<I", content, version_needs(content) + 44, 0)
    path = tmp_path / "lying"
    path.write_bytes(content)
    assert only(path).disagreements == (Disagreement("glibc_min", "2.36", "none", "pyelftools"),)


def test_a_parser_that_refuses(tmp_path: Path) -> None:
    content = bytearray((CORPUS / "elf" / "dynamic-64").read_bytes())
    at = version_needs(content) + 40
    struct.pack_into("<I", content, at, 0xFFFF)  # its names are in a section that is not there
    path = tmp_path / "refused"
    path.write_bytes(content)
    (found,) = only(path).disagreements
    assert (found.fact, found.ours, found.parser) == ("file", "1 program", "pyelftools")
    assert found.theirs.startswith("ELFParseError: Reading section 65535")


def test_a_file_larger_than_any_parser_deserves(tmp_path: Path) -> None:
    """lief would read 16 GiB of nothing into memory; it is told no, and pyelftools and we do not care."""
    path = tmp_path / "sparse"
    path.write_bytes((CORPUS / "elf" / "static-32").read_bytes())
    with path.open("r+b") as stream:
        stream.truncate(16 << 30)
    (found,) = only(path).disagreements
    theirs = "takes more memory than a file of this size deserves"
    assert found == Disagreement("file", "1 program", theirs, "lief")


def units(count: int) -> bytes:
    """An ELF file with that many empty compile units."""
    body = struct.pack("<IHIB", 8, 4, 0, 8) + b"\1"
    parts = {".debug_info": body * count, ".debug_abbrev": b"\1\x11\0\0\0\0"}
    names = b"\0" + b"".join(name.encode() + b"\0" for name in parts) + b".shstrtab\0"
    out, rows = bytearray(64), bytearray(64)
    for name, content in (*parts.items(), (".shstrtab", names)):
        kind = 3 if name == ".shstrtab" else 1
        rows += struct.pack("<IIQQQQIIQQ", names.index(name.encode()), kind, 0, 0, len(out), len(content), 0, 0, 1, 0)
        out += content
    out[:64] = struct.pack(
        "<4sBBB9xHHIQQQIHHHHHH", b"\x7fELF", 2, 1, 1, 2, 62, 1, 0, 0, len(out), 0, 64, 56, 0, 64, len(parts) + 2, 3
    )
    return bytes(out + rows)


def test_a_parser_that_takes_too_long(tmp_path: Path) -> None:
    path = tmp_path / "long"
    path.write_bytes(units(1 << 16))
    parsers = asking.Parsers()
    with path.open("rb") as stream, pytest.raises(asking.Ended, match=r"within 0\.2 seconds"):
        parsers.ask(Question("pyelftools", "elf", 0.2), stream.fileno())
    parsers.close()


def test_a_parser_that_dies() -> None:
    """What a crash in lief looks like from here: the next question is answered by a new process."""
    path = CORPUS / "elf" / "static-32"
    asking.ask("lief", "elf", path)
    asking._running()._process.kill()
    assert asking.ask("lief", "elf", path).refusal == "ended by signal 9"
    assert asking.ask("lief", "elf", path).refusal == ""


def test_hostile_files_end_no_one(tmp_path: Path) -> None:
    seeded, path = random.Random(20260329), tmp_path / "hostile"
    for seed in SEEDS:
        content = seed.read_bytes()
        for _ in range(12):
            changed = bytearray(content)
            for _ in range(4):
                changed[seeded.randrange(min(len(changed), 0x400))] = seeded.choice((0, 1, 0x7F, 0x80, 0xFF))
            path.write_bytes(changed)
            facts = read(path)
            assert len(examine(path, facts)) == len(facts)


def test_what_no_parser_knows(tmp_path: Path) -> None:
    for name, content in (("script", b"#!/bin/sh\n"), ("wasm", b"\0asm\1\0\0\0"), ("cut", b"\x7fELF\2\1\1")):
        (tmp_path / name).write_bytes(content)
        assert deep(tmp_path / name) == (Deep(),)
    facts = read(CORPUS / "elf" / "static-32")
    with pytest.raises(UnreadableError):
        examine(tmp_path / "missing", facts)


def test_the_parsers_stay_in_their_process() -> None:
    code = (
        "import sys; from pathlib import Path; from imagekit.binary.deep import examine\n"
        "from imagekit.binary.reader import read\n"
        f"path = Path({str(CORPUS / 'elf' / 'static-32')!r}); examine(path, read(path))\n"
        "print([name for name in sys.modules if name.startswith(('lief', 'elftools'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_code_signature_and_a_changed_page(tmp_path: Path) -> None:
    signed = CORPUS / "macho" / "arm64-signed"
    assert only(signed).signature == "linker-signed, identifier a.o, SHA-256: all 1 pages are what was signed"
    content = bytearray(signed.read_bytes())
    content[0x600] ^= 1
    path = tmp_path / "changed"
    path.write_bytes(content)
    assert (only(path).signature or "").endswith("page 0 of 1 is not what was signed")


def test_load_configuration_and_a_damaged_certificate() -> None:
    found = only(CORPUS / "pe" / "386")
    assert found.signature == "damaged: no signature can be read"
    assert found.load_configuration == {
        "security_cookie": "0x401010",
        "se_handler_count": "0x2",
        "guard_cf_function_count": "0x1",
        "guard_flags": "0x10500",
    }
    assert only(CORPUS / "macho" / "386").load_configuration == {}


def der(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    size = len(body).to_bytes((len(body).bit_length() + 7) // 8 or 1, "big")
    return bytes([tag]) + (bytes([len(body)]) if len(body) < 0x80 else bytes([0x80 | len(size)]) + size) + body


def oid(dotted: str) -> bytes:
    first, second, *rest = map(int, dotted.split("."))
    out = bytes([first * 40 + second])
    for number in rest:
        digits = [number & 0x7F]
        while number := number >> 7:
            digits.insert(0, number & 0x7F | 0x80)
        out += bytes(digits)
    return der(6, out)


SHA256, RSA = der(0x30, oid("2.16.840.1.101.3.4.2.1"), b"\5\0"), der(0x30, oid("1.2.840.113549.1.1.1"), b"\5\0")
INDIRECT = "1.3.6.1.4.1.311.2.1.4"


def authenticode(content: bytes) -> bytes:
    """The file with an Authenticode signature at its end (Microsoft's Authenticode_PE.docx)."""
    header = struct.unpack_from("<I", content, 0x3C)[0]
    checksum, entry = header + 24 + 64, header + 24 + 112 + 4 * 8
    content = content + bytes(-len(content) % 8)
    digest = hashlib.sha256(content[:checksum] + content[checksum + 4 : entry] + content[entry + 8 :]).digest()
    link = der(0xA0, der(0xA2, der(0x80, b"")))
    about = der(0x30, oid("1.3.6.1.4.1.311.2.1.15"), der(0x30, der(3, b"\0"), link))
    body = about + der(0x30, SHA256, der(4, digest))
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test Signer")])
    begin = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 7, begin, begin + datetime.timedelta(3650))
    certificate = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    attributes = sorted(
        der(0x30, oid(kind), der(0x31, value))
        for kind, value in (
            ("1.2.840.113549.1.9.3", oid(INDIRECT)),
            ("1.2.840.113549.1.9.4", der(4, hashlib.sha256(body).digest())),
        )
    )
    signature = key.sign(der(0x31, *attributes), padding.PKCS1v15(), hashes.SHA256())
    issuer = der(0x30, name.public_bytes(), der(2, b"\7"))
    signer = der(0x30, der(2, b"\1"), issuer, SHA256, der(0xA0, *attributes), RSA, der(4, signature))
    inner = der(0x30, oid(INDIRECT), der(0xA0, der(0x30, body)))
    signed = der(0x30, der(2, b"\1"), der(0x31, SHA256), inner, der(0xA0, certificate), der(0x31, signer))
    blob = der(0x30, oid("1.2.840.113549.1.7.2"), der(0xA0, signed))
    row = struct.pack("<IHH", 8 + len(blob) + -len(blob) % 8, 0x200, 2) + blob + bytes(-len(blob) % 8)
    out = bytearray(content)
    struct.pack_into("<II", out, entry, len(content), len(row))
    return bytes(out) + row


@pytest.mark.real
def test_authenticode(zoo: Callable[..., Path], tmp_path: Path) -> None:
    program, signed, changed = zoo("tiny", "windows/amd64"), tmp_path / "signed.exe", tmp_path / "changed.exe"
    content = authenticode(program.read_bytes())
    signed.write_bytes(content)
    changed.write_bytes(content[:0x1000] + bytes([content[0x1000] ^ 1]) + content[0x1001:])
    assert only(program).signature is None
    assert only(signed).signature == "intact, signed by CN=Test Signer"
    assert (only(changed).signature or "").startswith("wrong (bad digest")
    assert only(signed).disagreements == only(changed).disagreements == ()
