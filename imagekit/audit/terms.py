"""Policy and Waiver, the values: what is allowed, with everything it extends merged in. No I/O."""

from __future__ import annotations

import datetime
import posixpath
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Literal

import msgspec

from imagekit.audit.finding import Severity
from imagekit.binary.facts import Linkage
from imagekit.content import Digest, canonical_json, digest_of
from imagekit.errors import ConfigError
from imagekit.platform import Platform, Selector

Word = Literal["error", "warning", "note", "off"]
"""What a policy makes of a rule."""


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


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What is allowed; an OS that is not named in `libraries` or `interpreters` is not asked about them."""

    name: str
    linkage: Mapping[str, tuple[Linkage, ...]] = {}
    libraries: Mapping[str, tuple[str, ...]] = {}
    interpreters: Mapping[str, tuple[str, ...]] = {}
    glibc_min: str | None = None
    forbidden_packages: tuple[str, ...] = ()
    required_settings: Mapping[str, str] = {}
    rules: Mapping[str, Word] = {}
    waivers: tuple[Waiver, ...] = ()

    def allowed_linkage(self, platform: Platform | None) -> tuple[Linkage, ...]:
        """What a program of this platform may be; () for an OS that the policy does not know."""
        return self.linkage.get(platform.os, ()) if platform else ()

    def unlisted_libraries(self, platform: Platform | None, needed: Iterable[str]) -> tuple[str, ...]:
        """Those of the libraries that the policy does not list; () where it lists none for this OS."""
        globs = self.libraries.get(platform.os) if platform else None
        if globs is None or platform is None:
            return ()
        known = tuple(map(str.lower, globs)) if platform.os == "windows" else globs
        return tuple(name for name in needed if not _listed(_library(platform.os, name), known))

    def allows_interpreter(self, platform: Platform | None, interpreter: str) -> bool:
        """Whether the loader is one that the policy lists; True where it lists none for this OS."""
        globs = self.interpreters.get(platform.os) if platform else None
        return globs is None or _listed(posixpath.normpath(interpreter), globs)

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


def _library(system: str, name: str) -> str:
    """As the OS compares names: Windows without case, a path with its `..` resolved, so that no glob is led out."""
    if system == "windows":
        return name.lower()
    return posixpath.normpath(name) if "/" in name else name


def _listed(name: str, globs: Iterable[str]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)
