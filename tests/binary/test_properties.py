"""What holds for every input: what a writer wrote is what the readers read, and no bytes at all raise from `read`."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import runpy
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imagekit.binary import buildinfo, goname
from imagekit.binary.facts import BinaryFacts, GoModule
from imagekit.binary.functions import read_functions
from imagekit.binary.layout import Layout, Region
from imagekit.binary.reader import read
from imagekit.binary.sizes import by_package
from imagekit.binary.window import Window
from imagekit.content import Digest
from imagekit.errors import FormatError
from imagekit.oci.documents import LAYER_TAR, Descriptor
from imagekit.oci.headers import FILE, FOLDER, heads
from imagekit.oci.inflate import Inflated

FUZZ = Path(__file__).parents[1] / "fuzz"
SEEDS = runpy.run_path(str(FUZZ / "seeds.py"))
KEPT = [content for target, _, content in SEEDS["seeds"]() if target in ("elf", "macho", "pe")]
MAGICS = [b"", b"\x7fELF\2\1\1", b"\x7fELF\1\2\1", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe\0\0\0\2", b"\0asm\1\0\0\0"]
MAGICS += [b"MZ".ljust(0x3C, b"\0") + b"\x40\0\0\0PE\0\0"]

settings.register_profile("imagekit", deadline=None, derandomize=True, database=None, max_examples=150)
each = settings(settings.get_profile("imagekit"), suppress_health_check=list(HealthCheck))

names = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x17F, exclude_characters="\x7f"), min_size=1, max_size=40
)
paths = st.from_regex(r"[a-z]{1,6}(\.[a-z]{1,3})?(/[A-Za-z0-9._~-]{1,8}){0,3}", fullmatch=True)
versions = st.from_regex(r"v[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}(-[a-z0-9.]{1,8})?", fullmatch=True)


@pytest.fixture(scope="module")
def file() -> Iterator[Path]:
    with tempfile.NamedTemporaryFile() as held:
        yield Path(held.name)


def facts_of(file: Path, content: bytes) -> tuple[BinaryFacts, ...]:
    file.write_bytes(content)
    return read(file)


@each
@given(st.sampled_from(MAGICS), st.binary(max_size=4096))
def test_no_bytes_raise(file: Path, magic: bytes, body: bytes) -> None:
    for facts in facts_of(file, magic + body):
        assert facts.linkage == "unknown" or facts.evidence["linkage"].where


@each
@given(st.sampled_from(KEPT), st.lists(st.tuples(st.integers(0, 6000), st.binary(min_size=1, max_size=8)), max_size=6))
def test_patched_programs_are_facts(file: Path, content: bytes, patches: list[tuple[int, bytes]]) -> None:
    changed = bytearray(content)
    for at, value in patches:
        at %= len(changed)
        changed[at : at + len(value)] = value
    first, second = facts_of(file, bytes(changed)), read(file)
    assert first == second
    for facts in first:
        if facts.linkage == "broken":
            offset = facts.evidence["linkage"].offset
            assert offset is not None
            assert offset >= 0


@each
@given(
    wide=st.booleans(),
    order=st.sampled_from("<>"),
    interpreter=names,
    needed=st.lists(names, min_size=1, max_size=6, unique=True),
    levels=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 99)), max_size=6, unique=True),
)
def test_dynamic_elf(
    file: Path, wide: bool, order: str, interpreter: str, needed: list[str], levels: list[tuple[int, int]]
) -> None:
    program = SEEDS["ElfFile"](wide, order)
    program.put(interpreter.encode() + b"\0", 3)
    program.dynamic(tuple(needed), tuple(f"GLIBC_{major}.{minor}" for major, minor in levels))
    (facts,) = facts_of(file, program.seal(3, 62 if wide else 3, named=False))
    assert (facts.interpreter, facts.needed, facts.rpath) == (interpreter, tuple(needed), ("/opt/lib", "$ORIGIN"))
    assert facts.glibc_min == (".".join(map(str, max(levels))) if levels else None)


modules = st.lists(st.tuples(paths, versions, st.sampled_from(["", "h1:YQ=="]), st.booleans()), max_size=8)
values = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@pytest.mark.real
@each
@given(version=names, path=paths, modules=modules, set_to=st.dictionaries(names, values, max_size=8))
def test_build_info(
    file: Path, version: str, path: str, modules: list[tuple[str, str, str, bool]], set_to: dict[str, str]
) -> None:
    lines, deps = [f"path\t{path}"], []
    for name, at, checksum, replaced in modules:
        lines.append(f"dep\t{name}\t{at}" + (f"\t{checksum}" if checksum else ""))
        replacement = GoModule("../fork", "v0.0.1") if replaced else None
        lines += ["=>\t../fork\tv0.0.1\t"] if replaced else []
        deps.append(GoModule(name, at, checksum, replacement))
    lines += [f"build\t{quoted(key)}={quoted(value)}" for key, value in set_to.items()]
    info = SEEDS["build_info"](version, "\n".join(lines) + "\n")
    (facts,) = facts_of(file, SEEDS["wrapped"](info))
    assert facts.go is not None
    assert (facts.go.version, facts.go.path, facts.go.deps, facts.go.settings) == (version, path, tuple(deps), set_to)


def quoted(text: str) -> str:
    """As strconv.Quote writes it: what is not printable ASCII as an escape of its bytes or its number."""
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}
    wide = (escapes.get(c) or (c if " " <= c <= "~" else f"\\U{ord(c):08x}") for c in text)
    return f'"{"".join(wide)}"'


functions = st.lists(
    st.from_regex(r"[a-z]{1,8}(/[a-z]{1,8}){0,2}\.[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True), min_size=1
)


@pytest.mark.real
@each
@given(
    every=functions,
    sources=st.lists(names, max_size=5),
    magic=st.sampled_from([0xFFFFFFF1, 0xFFFFFFF0, 0xFFFFFFFA]),
    order=st.sampled_from("<>"),
    wide=st.booleans(),
)
def test_function_table(file: Path, every: list[str], sources: list[str], magic: int, order: str, wide: bool) -> None:
    table = SEEDS["function_table"](magic, 8 if wide else 4, order, tuple(every), tuple(sources))
    file.write_bytes(SEEDS["wrapped"](table, order, wide))
    found = read_functions(file)
    assert found is not None
    assert list(found.names()) == every
    packages = {name.rpartition(".")[0] for name in every}
    assert found.packages() == packages
    assert all(found.starts(name) and found.contains(name.encode()) for name in every)
    sizes = {one.package: one.size for one in by_package(file)}
    assert sizes == {package: 64 * sum(name.rpartition(".")[0] == package for name in every) for package in packages}


@each
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30))
def test_escaped_import_paths_come_back(path: str) -> None:
    assert goname.unescaped(goname.escaped(path)) == path


@each
@given(st.binary(max_size=300))
def test_build_info_lines_of_any_bytes(raw: bytes) -> None:
    """Decoding gives build info or nothing, and reads nothing behind its end."""
    view = Window(b"\xff Go buildinf:\x08\x02".ljust(32, b"\0") + raw, 0, 32 + len(raw))
    found = buildinfo.decode(view, Layout(8, ()), 0)
    assert found is None or len(found.version) <= len(raw) * 4


regions = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), max_size=8)


@each
@given(regions)
def test_spans_hold_each_byte_once(found: list[tuple[int, int]]) -> None:
    layout = Layout(8, tuple(Region("", 0, offset, size, size) for offset, size in found))
    spans = layout.spans(lambda _: True)
    once = [at for start, end in spans for at in range(start, end)]
    assert once == sorted({at for offset, size in found for at in range(offset, offset + size)})


@each
@given(st.binary(max_size=64), st.integers(-4, 70), st.integers(-4, 70), st.integers(0, 16))
def test_a_window_never_reads_outside(content: bytes, at: int, size: int, base: int) -> None:
    window = Window(b"\xaa" * base + content + b"\xbb" * 16, base, len(content))
    if at >= 0 and size >= 0 and at + size <= len(content):
        assert window.raw(at, size, "bytes") == content[at : at + size]
    else:
        with pytest.raises(FormatError) as refused:
            window.raw(at, size, "bytes")
        assert refused.value.offset >= base
    assert window.find(b"\xbb" * 16) == content.find(b"\xbb" * 16)


entries = st.lists(
    st.tuples(st.from_regex(r"[a-z\xe9]{1,120}(/[a-z]{1,120}){0,2}", fullmatch=True), st.binary(max_size=1200))
)
formats = st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])


class Held:
    """One blob as a store, and its bytes as a source."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.digest = Digest("sha256:" + hashlib.sha256(content).hexdigest())

    def has(self, digest: Digest, /) -> bool:
        return digest == self.digest

    def open(self, _: Digest, /) -> io.BytesIO:
        return io.BytesIO(self.content)

    def read_at(self, offset: int, size: int, /) -> bytes:
        return self.content[offset : offset + size]


def tar(found: list[tuple[str, bytes]], kind: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=kind, encoding="utf-8") as archive:
        for name, content in found:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


@each
@given(entries, formats)
def test_tar_heads(found: list[tuple[str, bytes]], kind: int) -> None:
    source = Held(tar(found, kind))
    seen = [(head.name, source.read_at(head.content, head.size)) for head in heads(source, (FILE, FOLDER))]
    assert seen == found


@each
@given(st.binary(max_size=5000), st.lists(st.tuples(st.integers(0, 600), st.integers(0, 900)), max_size=12))
def test_an_inflated_layer_is_its_tar(content: bytes, reads: list[tuple[int, int]]) -> None:
    """However it is read, forward: the same bytes, and at the end the digest of all."""
    held = Held(gzip.compress(content, 6, mtime=0))
    position = 0
    with Inflated(held, Descriptor(LAYER_TAR + "+gzip", held.digest, len(held.content))) as layer:
        for gap, size in reads:
            position += gap
            assert layer.read_at(position, size) == content[position : position + size]
            position = min(position + size, max(len(content), position))
        assert layer.finish() == Held(content).digest


@each
@given(st.sampled_from(KEPT))
def test_facts_can_be_written(file: Path, content: bytes) -> None:
    import msgspec

    for facts in facts_of(file, content):
        assert json.loads(msgspec.json.encode(facts))["format"] == facts.format
