"""Policy: what linkage and build may be, as data; the built-in profiles, and policy.yaml. `load` touches disk."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from imagekit.audit.finding import Severity
from imagekit.audit.rules import BY_ID
from imagekit.binary.facts import Linkage
from imagekit.content import Digest, canonical_json, digest_of
from imagekit.errors import ConfigError
from imagekit.platform import Platform, Selector

if TYPE_CHECKING:
    from imagekit.loading import Marks, Mistake, Way

SYSTEMS = (
    *("aix", "android", "darwin", "dragonfly", "freebsd", "illumos", "ios", "js", "linux", "netbsd", "openbsd"),
    *("plan9", "solaris", "wasip1", "windows"),
)
"""Every GOOS (`go tool dist list`), which are the OCI names too."""
_NEVER = (Linkage.BROKEN, Linkage.UNKNOWN)
_DEPTH = 8
"""How many policies may extend each other in a row."""


class Waiver(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A finding that does not count until the end of the day `until`.

    `select` is a glob over the subject's path, or a target selector (`app:linux/*`).
    """

    rule: str
    select: str
    until: datetime.date
    reason: str

    def covers(self, rule: str, path: str, target: tuple[str, Platform] | None) -> bool:
        """Whether this waiver is for a finding of `rule` on the subject `path`, built as `target`; expired or not."""
        if rule != self.rule:
            return False
        return fnmatchcase(path, self.select) or (target is not None and self._selects(*target))

    def _selects(self, build: str, platform: Platform) -> bool:
        try:
            selector = Selector.parse(self.select)
        except ConfigError:
            return False  # a path glob with more segments than a target has
        return not selector.negated and selector.matches(build, platform)

    def expired(self, today: datetime.date) -> bool:
        return today > self.until


class PolicyDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """policy.yaml (SURFACE.md); a policy that extends nothing allows only what it says itself."""

    version: Literal[1]
    extends: str = ""
    """A built-in profile, or another policy file, relative to this one."""
    linkage: dict[str, tuple[Linkage, ...]] = {}
    """What each OS allows; an OS named here replaces the one that is extended."""
    rules: dict[str, Literal["error", "warning", "note", "off"]] = {}
    waivers: tuple[Waiver, ...] = ()


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What is allowed, with everything it extends merged in."""

    name: str
    linkage: Mapping[str, tuple[Linkage, ...]] = {}
    rules: Mapping[str, Literal["error", "warning", "note", "off"]] = {}
    waivers: tuple[Waiver, ...] = ()

    def allowed_linkage(self, platform: Platform | None) -> tuple[Linkage, ...]:
        """What a program of this platform may be; () for an OS that the policy does not know."""
        return self.linkage.get(platform.os, ()) if platform else ()

    def severity(self, rule: str, default: Severity) -> Severity | None:
        """What the policy makes of a finding of this rule; None if it is off."""
        word = self.rules.get(rule)
        return default if word is None else None if word == "off" else Severity.parse(word)

    @property
    def digest(self) -> Digest:
        """The digest of all that the policy says, its name aside: equal policies have equal digests."""
        said = msgspec.to_builtins(self)
        del said["name"]
        return digest_of(canonical_json(said))


SCRATCH = Policy(
    name="scratch",
    linkage={
        **dict.fromkeys(("linux", "freebsd", "netbsd", "dragonfly"), (Linkage.STATIC, Linkage.STATIC_PIE)),
        **dict.fromkeys(("darwin", "windows", "openbsd", "solaris", "illumos", "android"), (Linkage.SYSTEM,)),
    },
)
"""A scratch image has no loader and no library; where the OS admits no static program, its own libraries are all."""

PROFILES: tuple[Policy, ...] = (SCRATCH,)


def load(name_or_path: str, *, beside: Path | None = None) -> Policy:
    """The built-in profile of that name, else the policy file at that path, relative to `beside` (default: here).

    Raises `ConfigError` for an unknown profile, listing those there are, and for every mistake in a file.
    """
    return _load(name_or_path, beside or Path(), ())


def _load(name_or_path: str, beside: Path, extending: tuple[Path, ...]) -> Policy:
    for profile in PROFILES:
        if profile.name == name_or_path:
            return profile
    path = beside / name_or_path
    if not _looks_like_file(name_or_path) and not path.is_file():
        known = ", ".join(profile.name for profile in PROFILES)
        raise ConfigError(
            f"there is no policy {name_or_path!r}", hint=f"built-in profiles: {known}; or name a file: ./policy.yaml"
        )
    if path.resolve() in extending or len(extending) >= _DEPTH:
        raise ConfigError(
            f"{path}: policies extend each other in a circle, or more than {_DEPTH} deep",
            hint=f"break the chain: {' -> '.join(str(each) for each in extending)}",
        )
    return _read(path, extending)


def _looks_like_file(text: str) -> bool:
    return "/" in text or text.endswith((".yaml", ".yml"))


def _read(path: Path, extending: tuple[Path, ...]) -> Policy:
    from imagekit.loading import load_document

    loaded = load_document(path, PolicyDocument)
    _check(loaded.value, loaded.marks)
    base, extends = Policy(name=""), loaded.value.extends
    if extends:
        base = _load(extends, path.parent, (*extending, path.resolve()))
    return merged(base, loaded.value, name=path.name)


def merged(base: Policy, document: PolicyDocument, *, name: str) -> Policy:
    """`document` over `base`: OS by OS, rule by rule; the waivers of both."""
    return Policy(
        name=name,
        linkage={**base.linkage, **document.linkage},
        rules={**base.rules, **document.rules},
        waivers=(*base.waivers, *document.waivers),
    )


def _check(document: PolicyDocument, marks: Marks) -> None:
    """Raise one `ConfigError` with every mistake that the types alone do not show."""
    from imagekit.loading import refusal

    mistakes = [
        *_linkage_mistakes(document, marks),
        *_rule_mistakes(document, marks),
        *_waiver_mistakes(document, marks),
    ]
    if mistakes:
        raise refusal(marks.name, mistakes)


def _linkage_mistakes(document: PolicyDocument, marks: Marks) -> Iterator[Mistake]:
    for system, words in document.linkage.items():
        if system not in SYSTEMS:
            hint = f"known: {', '.join(SYSTEMS)}"
            yield marks.mistake(("linkage", system), f"there is no operating system {system!r}", hint, key=True)
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
