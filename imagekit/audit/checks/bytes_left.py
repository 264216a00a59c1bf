"""signature, debug, symbols, timestamp, packer, overlay: what the file holds beside the code that it runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from imagekit.audit.checks.said import evidence, is_go
from imagekit.audit.finding import Remark
from imagekit.audit.subject import Subject
from imagekit.binary.facts import BinaryFacts, Linkage

if TYPE_CHECKING:
    from imagekit.audit.terms import Policy

_KILLED_UNSIGNED = ("arm64", "arm64e")
"""Apple's architectures on which the kernel starts no unsigned code (golang/go#42684)."""
_FITS = ("linker-signed", "adhoc", "certificate", "authenticode", "none", "intact", "valid")
"""First words on a signature with nothing wrong in it, or on none at all, here and in the deep look."""


def signed_where_needed(subject: Subject, _policy: Policy) -> Iterator[Remark]:
    """A Mach-O whose system demands a signature, or a signature that does not fit what it signs."""
    facts = subject.facts
    state = facts.hardening.get("signature")
    where = evidence(facts, "signature", "linkage")
    if facts.format == "macho" and state == "none" and _must_be_signed(facts):
        yield Remark(
            message="not signed: macOS on arm64 kills a program without a code signature when it starts",
            evidence=where,
            hint="link it with Go's or Apple's linker, which sign, or run `codesign -s - FILE`",
        )
    elif facts.hardening.get("page_hashes") == "bad":
        yield Remark(
            message="the code signature does not fit the file: macOS kills the program",
            evidence=evidence(facts, "page_hashes", "signature"),
            hint=_sign_again(facts),
        )
    elif isinstance(state, str) and state not in _FITS:
        yield Remark(message=f"the signature cannot be read: {state}", evidence=where, hint=_sign_again(facts))
    deep = subject.deep.signature if subject.deep else None
    if deep is not None and deep.split(",")[0] not in _FITS:
        yield Remark(message=f"the deep look at the signature: {deep}", evidence=where, hint=_sign_again(facts))


def _must_be_signed(facts: BinaryFacts) -> bool:
    return facts.platform is not None and (
        facts.platform.os == "ios" or facts.platform.architecture in _KILLED_UNSIGNED
    )


def _sign_again(facts: BinaryFacts) -> str:
    how = "`codesign -f -s IDENTITY FILE`" if facts.format == "macho" else "signtool or osslsigncode"
    return f"sign the finished file again ({how}): what changes it afterwards breaks its signature"


def no_debug(subject: Subject, _policy: Policy) -> Iterator[Remark]:
    if subject.facts.hardening.get("debug") is True:
        yield Remark(
            message="debug information (DWARF) is in the file",
            evidence=evidence(subject.facts, "debug"),
            hint=f"{_strip(subject.facts)}, and keep the unstripped file for debugging",
        )


def no_symbols(subject: Subject, _policy: Policy) -> Iterator[Remark]:
    if subject.facts.hardening.get("symbols") is True:
        yield Remark(
            message="the symbol table is in the file",
            evidence=evidence(subject.facts, "symbols"),
            hint=f"{_strip(subject.facts)}; Go's stack traces keep their names without it",
        )


def _strip(facts: BinaryFacts) -> str:
    return "say `ldflags: {strip: true}` (-s -w)" if is_go(facts) else "link with -s, or run `strip FILE`"


def no_timestamp(subject: Subject, _policy: Policy) -> Iterator[Remark]:
    """Go writes 0; other linkers write the time, or a hash that looks like one."""
    stamp = subject.facts.hardening.get("timestamp")
    if isinstance(stamp, str) and stamp not in ("none", "n/a"):
        yield Remark(
            message=f"the header holds the time stamp {stamp}: the same source gives other bytes each time",
            evidence=evidence(subject.facts, "timestamp"),
            hint="link with Go's linker, or with `-Wl,--no-insert-timestamp` (MinGW), `/Brepro` (MSVC)",
        )


def not_packed(subject: Subject, _policy: Policy) -> Iterator[Remark]:
    packer = subject.facts.traits.packer
    if packer:
        yield Remark(
            message=f"packed with {packer}: what it holds shows only while it runs, so nothing of it is proven",
            evidence=evidence(subject.facts, "packer"),
            hint="ship the file as the linker wrote it; image layers are compressed anyway",
        )


def nothing_appended(subject: Subject, _policy: Policy) -> Iterator[Remark]:
    size = subject.facts.traits.overlay
    if size and subject.facts.linkage is not Linkage.BROKEN:
        yield Remark(
            message=f"{size} bytes stand behind what the headers describe",
            evidence=evidence(subject.facts, "overlay"),
            hint="embed files with `//go:embed`; what is appended is covered by no header and often by no signature",
        )
