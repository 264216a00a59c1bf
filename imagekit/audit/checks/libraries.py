"""libraries, interpreter, glibc-min, rpath: what a program asks its loader for, against what the policy has there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from imagekit.audit.checks.said import evidence, listed
from imagekit.audit.finding import Remark
from imagekit.audit.loaders import canonical
from imagekit.audit.subject import Subject
from imagekit.binary.facts import BinaryFacts, Linkage

if TYPE_CHECKING:
    from imagekit.audit.terms import Policy

_LOADED = (Linkage.DYNAMIC, Linkage.LOADER_ONLY)
_ANYONES = ("tmp", "var/tmp", "home", "dev/shm")
"""Folders of the root in which others than root may write."""


def only_listed(subject: Subject, policy: Policy) -> Iterator[Remark]:
    facts = subject.facts
    unlisted = policy.unlisted_libraries(facts.platform, facts.needed)
    if unlisted:
        yield Remark(
            message=f"needs {listed(unlisted)}, which policy {policy.name} does not list for {facts.platform}",
            evidence=evidence(facts, "needed"),
            hint="link it statically, or add the library to the image and to `libraries` in a policy.yaml",
        )


def usual_loader(subject: Subject, policy: Policy) -> Iterator[Remark]:
    """The loader of another libc or of one machine is `no such file or directory` everywhere else."""
    facts = subject.facts
    loader, platform = facts.interpreter, facts.platform
    if loader is None:
        if facts.linkage in _LOADED and platform is not None and platform.os in policy.interpreters:
            yield Remark(
                message="names no loader, so nothing loads the libraries that it needs",
                evidence=evidence(facts, "linkage", "needed"),
                hint="link it with `-Wl,--dynamic-linker=…`, or statically",
            )
        return
    usual = canonical(platform) if platform else ()
    if not policy.allows_interpreter(platform, loader):
        message = f"asks for the loader {loader}, which policy {policy.name} does not have"
    elif usual and loader not in usual:
        message = f"asks for the loader {loader}; {platform} has it at {usual[0]}"
    else:
        return
    yield Remark(
        message=message,
        evidence=evidence(facts, "interpreter"),
        hint="Go's linker takes the loader of the machine that it runs on: build with GO_LDSO unset, or statically",
    )


def old_enough(subject: Subject, policy: Policy) -> Iterator[Remark]:
    """What asks for glibc without a version is not proven to run, and does not pass."""
    facts, limit = subject.facts, policy.glibc_min
    if limit is None or not _asks_glibc(facts):
        return
    wanted = facts.glibc_min
    if wanted is None or not _number(wanted):
        message = (
            f"asks for {listed(facts.needed)} without saying which version: that glibc {limit} will do is unproven"
        )
    elif _number(wanted) > _number(limit):
        message = f"asks for glibc {wanted}, policy {policy.name} has {limit}"
    else:
        return
    yield Remark(
        message=message,
        evidence=evidence(facts, "glibc_min", "needed"),
        hint=f"build on a system with glibc {limit} or older, or without C (`cgo: off`), or with `cgo: static`",
    )


def _asks_glibc(facts: BinaryFacts) -> bool:
    """On Linux every library comes from glibc's world unless the program is musl's."""
    if facts.libc == "musl" or facts.platform is None or facts.platform.os != "linux":
        return False
    return bool(facts.needed) or facts.glibc_min is not None


def _number(version: str) -> tuple[int, ...]:
    """() for what is no version."""
    parts = version.split(".")
    return tuple(map(int, parts)) if all(part.isascii() and part.isdigit() for part in parts) else ()


def no_search_path(subject: Subject, _policy: Policy) -> Iterator[Remark]:
    facts = subject.facts
    if facts.rpath:
        why = next(filter(None, map(_danger, facts.rpath)), "libraries there win over the system's")
        yield Remark(
            message=f"loads libraries from {listed(repr(path) for path in facts.rpath)}: {why}",
            evidence=evidence(facts, "rpath"),
            hint="link without -rpath (Go: without `-ldflags=-r`), or remove it with `patchelf --remove-rpath`",
        )


def _danger(path: str) -> str:
    """Why somebody else could put a library there; '' where only root could."""
    if path in ("", "."):
        return "an empty entry is whatever folder the program is started in"
    if path.startswith("$") or path.startswith("@"):
        return ""  # beside the program, wherever that is
    if not path.startswith("/"):
        return f"{path!r} depends on the folder that the program is started in"
    if any(f"{path.strip('/')}/".startswith(f"{place}/") for place in _ANYONES):
        return f"others than root may write below {path!r}"
    return ""
