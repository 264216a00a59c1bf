"""required-setting, no-build-info, vcs-dirty, no-vcs: what Go stamped into the program about its build."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from imagekit.audit.checks.said import evidence, is_go
from imagekit.audit.finding import Remark
from imagekit.audit.subject import Subject
from imagekit.binary.facts import BinaryFacts, GoBuild
from imagekit.golang.arch import LEVEL_VARIABLES

if TYPE_CHECKING:
    from imagekit.audit.terms import Policy

_DEVEL = ("", "(devel)")


def as_required(subject: Subject, policy: Policy) -> Iterator[Remark]:
    """One remark for each setting that is not as required; a Go program without build info proves none of them."""
    facts = subject.facts
    if not is_go(facts):
        return
    settings = facts.go.settings if facts.go else {}
    for name, wanted in policy.required_settings.items():
        if _of_another_architecture(name, facts):
            continue
        found = settings.get(name, "")
        if not settings or not fnmatchcase(found, wanted):
            built = f"built with {found or 'none'}" if settings else "no build info proves it"
            yield Remark(
                message=f"{name}: policy {policy.name} requires {wanted or 'none'}, {built}",
                evidence=evidence(facts, "go"),
                hint="set it on the build, and ship the file with its build info",
            )


def _of_another_architecture(name: str, facts: BinaryFacts) -> bool:
    """GOAMD64 means nothing to a program for arm64."""
    return (
        name in LEVEL_VARIABLES.values()
        and facts.platform is not None
        and LEVEL_VARIABLES.get(facts.platform.architecture) != name
    )


def has_build_info(subject: Subject, _policy: Policy) -> Iterator[Remark]:
    facts = subject.facts
    if is_go(facts) and (facts.go is None or not facts.go.settings):
        gone = "no Go build info" if facts.go is None else "the Go build info holds no settings"
        yield Remark(
            message=f"{gone}: modules, settings and commit of this program cannot be told",
            evidence=evidence(facts, "go", "build_ids", "cgo"),
            hint="build with Go's own command (1.18 or newer), and do not wipe the section",
        )


def clean_commit(subject: Subject, _policy: Policy) -> Iterator[Remark]:
    """A tree that imagekit built from itself is `dirty-tree`'s."""
    facts = subject.facts
    go = facts.go
    if go is None or (subject.expected is not None and subject.expected.vcs is not None):
        return
    version = go.main.version if go.main else ""
    if go.settings.get("vcs.modified") == "true":
        said = f"vcs.modified=true at {go.settings.get('vcs.revision', 'an unknown commit')}"
    elif version.endswith("+dirty"):
        said = f"its version is {version}"
    else:
        return
    yield Remark(
        message=f"built from a changed tree: {said}",
        evidence=evidence(facts, "go"),
        hint="commit or remove the changes, and build again",
    )


def names_source(subject: Subject, _policy: Policy) -> Iterator[Remark]:
    """A commit, or the version of a published module, names the source."""
    facts = subject.facts
    if is_go(facts) and not (facts.go and (facts.go.settings.get("vcs.revision") or _published(facts.go))):
        yield Remark(
            message="neither a commit nor a version: the source of this program cannot be found by it",
            evidence=evidence(facts, "go"),
            hint="build in the git repository with git at hand and without -buildvcs=false, or by MODULE@VERSION",
        )


def _published(go: GoBuild) -> bool:
    return go.main is not None and go.main.version not in _DEVEL
