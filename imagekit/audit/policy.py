"""policy.yaml: what linkage and build may be, as data, over what it extends. `load` touches disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta

from imagekit.audit.profiles import PROFILES, SCRATCH, names, profile
from imagekit.audit.rules import BY_ID
from imagekit.audit.terms import Policy, Waiver, Word
from imagekit.binary.facts import Linkage
from imagekit.errors import ConfigError

if TYPE_CHECKING:
    from imagekit.loading import Marks, Mistake, Way

__all__ = ["PROFILES", "SCRATCH", "Policy", "PolicyDocument", "Waiver", "load", "merged"]

SYSTEMS = (
    *("aix", "android", "darwin", "dragonfly", "freebsd", "illumos", "ios", "js", "linux", "netbsd", "openbsd"),
    *("plan9", "solaris", "wasip1", "windows"),
)
"""Every GOOS (`go tool dist list`), which are the OCI names too."""
_NEVER = (Linkage.BROKEN, Linkage.UNKNOWN)
_DEPTH = 8
"""How many policies may extend each other in a row."""
Glob = Annotated[str, Meta(min_length=1, max_length=256)]
Globs = Annotated[tuple[Glob, ...], Meta(max_length=1000)]
Version = Annotated[
    str,
    Meta(
        pattern=r"^(0|[1-9][0-9]{0,2})\.(0|[1-9][0-9]{0,2})$",
        description="is not a version of glibc",
        examples=["2.36"],
    ),
]


class PolicyDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """policy.yaml (docs/audit.md); a policy that extends nothing allows only what it says itself."""

    version: Literal[1]
    extends: str | Annotated[tuple[str, ...], Meta(max_length=8)] = ""
    """A built-in profile, or another policy file, relative to this one; of several, a later one wins."""
    linkage: dict[str, tuple[Linkage, ...]] = {}
    """What each OS allows; an OS named here replaces the one that is extended."""
    libraries: dict[str, Globs] = {}
    """Globs of the libraries that a program of an OS may need; an OS that is not named may need any."""
    interpreters: dict[str, Globs] = {}
    """Globs of the loaders that a program of an OS may ask for; an OS that is not named may ask for any."""
    glibc_min: Version = ""
    """The version of glibc that is there (`2.36`): no program may ask for a newer one."""
    forbidden_packages: Globs = ()
    """Globs of Go import paths that must not be linked in; `*` goes over slashes."""
    required_settings: dict[str, Annotated[str, Meta(max_length=256)]] = {}
    """Settings that a Go program's build info must hold, each with a glob of its value; '' must not be set."""
    rules: dict[str, Word] = {}
    """The severity of a rule, whatever it finds; `off` switches it off."""
    waivers: tuple[Waiver, ...] = ()
    """Findings that do not count until a day."""


def load(name_or_path: str, *, beside: Path | None = None) -> Policy:
    """The built-in profile of that name, else the policy file at that path, relative to `beside` (default: here).

    Raises `ConfigError` for an unknown profile, listing those there are, and for every mistake in a file.
    """
    return _load(name_or_path, beside or Path(), (), {})


def _load(name_or_path: str, beside: Path, extending: tuple[Path, ...], read: dict[Path, Policy]) -> Policy:
    """`read` remembers files, so that many that extend each other cost no more than one reading each."""
    if built_in := profile(name_or_path):
        return built_in
    path = beside / name_or_path
    if not _looks_like_file(name_or_path) and not path.is_file():
        raise ConfigError(
            f"there is no policy {name_or_path!r}",
            hint=f"built-in profiles: {', '.join(names())} (N: a version, glibc-2.36); or name a file: ./policy.yaml",
        )
    place = path.resolve()
    if place in extending or len(extending) >= _DEPTH:
        raise ConfigError(
            f"{path}: policies extend each other in a circle, or more than {_DEPTH} deep",
            hint=f"break the chain: {' -> '.join(str(each) for each in extending)}",
        )
    if place not in read:
        read[place] = _read(path, (*extending, place), read)
    return read[place]


def _looks_like_file(text: str) -> bool:
    return "/" in text or text.endswith((".yaml", ".yml"))


def _read(path: Path, extending: tuple[Path, ...], read: dict[Path, Policy]) -> Policy:
    from imagekit.loading import load_document

    loaded = load_document(path, PolicyDocument)
    _check(loaded.value, loaded.marks)
    extends = loaded.value.extends
    policy = Policy(name="")
    for one in (extends,) if isinstance(extends, str) else extends:
        policy = _over(policy, _load(one, path.parent, extending, read)) if one else policy
    return merged(policy, loaded.value, name=path.name)


def merged(base: Policy, document: PolicyDocument, *, name: str) -> Policy:
    """`document` over `base`: OS by OS, rule by rule, setting by setting; forbidden packages and waivers of both."""
    own = Policy(
        name=name,
        linkage=document.linkage,
        libraries=document.libraries,
        interpreters=document.interpreters,
        glibc_min=document.glibc_min or None,
        forbidden_packages=document.forbidden_packages,
        required_settings=document.required_settings,
        rules=document.rules,
        waivers=document.waivers,
    )
    return _over(base, own)


def _over(base: Policy, own: Policy) -> Policy:
    return Policy(
        name=own.name,
        linkage={**base.linkage, **own.linkage},
        libraries={**base.libraries, **own.libraries},
        interpreters={**base.interpreters, **own.interpreters},
        glibc_min=own.glibc_min or base.glibc_min,
        forbidden_packages=tuple(dict.fromkeys((*base.forbidden_packages, *own.forbidden_packages))),
        required_settings={**base.required_settings, **own.required_settings},
        rules={**base.rules, **own.rules},
        waivers=tuple(dict.fromkeys((*base.waivers, *own.waivers))),
    )


def _check(document: PolicyDocument, marks: Marks) -> None:
    """Raise one `ConfigError` with every mistake that the types alone do not show."""
    from imagekit.loading import refusal

    mistakes = [
        *_system_mistakes(document, marks),
        *_linkage_mistakes(document, marks),
        *_rule_mistakes(document, marks),
        *_waiver_mistakes(document, marks),
    ]
    if mistakes:
        raise refusal(marks.name, mistakes)


def _system_mistakes(document: PolicyDocument, marks: Marks) -> Iterator[Mistake]:
    for key in ("linkage", "libraries", "interpreters"):
        for system in getattr(document, key):
            if system not in SYSTEMS:
                hint = f"known: {', '.join(SYSTEMS)}"
                yield marks.mistake((key, system), f"there is no operating system {system!r}", hint, key=True)


def _linkage_mistakes(document: PolicyDocument, marks: Marks) -> Iterator[Mistake]:
    for system, words in document.linkage.items():
        for number, word in enumerate(words):
            if word in _NEVER:
                message = f"{word} never passes, so it cannot be allowed"
                yield marks.mistake(("linkage", system, number), message, "allow a linkage that says how it starts")


def _rule_mistakes(document: PolicyDocument, marks: Marks) -> Iterator[Mistake]:
    """A rule that this version does not know is refused: what cannot be checked must not seem checked."""
    named: list[tuple[Way, str]] = [(("rules", rule), rule) for rule in document.rules]
    named += [(("waivers", number, "rule"), waiver.rule) for number, waiver in enumerate(document.waivers)]
    for way, rule in named:
        if rule not in BY_ID:
            message = f"this version has no rule {rule!r}"
            yield marks.mistake(way, message, f"rules: {', '.join(BY_ID)}", key=way[0] == "rules")


def _waiver_mistakes(document: PolicyDocument, marks: Marks) -> Iterator[Mistake]:
    for number, waiver in enumerate(document.waivers):
        if not waiver.reason.strip():
            yield marks.mistake(("waivers", number, "reason"), "a waiver needs a reason", "say who allowed it, and why")
        if not waiver.select.strip():
            hint = "write a path ('*/debug*') or a target ('app:linux/*'); '*' is everything"
            yield marks.mistake(("waivers", number, "select"), "a waiver needs a subject", hint)
