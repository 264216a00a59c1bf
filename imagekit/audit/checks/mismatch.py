"""mismatch: the built file must be what was asked for: platform, settings, toolchain, modules, VCS state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from imagekit.audit.finding import Remark, Severity
from imagekit.audit.subject import Expected, Subject
from imagekit.binary.facts import BinaryFacts, GoBuild, GoModule
from imagekit.golang.arch import LEVEL_VARIABLES
from imagekit.targets.target import Cgo, Target

if TYPE_CHECKING:
    from imagekit.audit.policy import Policy

DEVEL = "(devel)"
"""What Go writes for a module without a version (cmd/go load.setBuildInfo)."""
_SWITCHES = ("-race", "-msan", "-asan", "-cover")
_AGAIN = "build it again with these settings; for a prebuilt file, correct its platform, level or file name"


def must_be_what_was_asked(subject: Subject, _policy: Policy) -> Iterator[Remark]:
    """One remark for each thing that differs; where the build info is gone, one that says what is not proven."""
    expected, facts = subject.expected, subject.facts
    if expected is None:
        return
    evidence = tuple(facts.evidence[fact] for fact in ("go",) if fact in facts.evidence)
    differences = [*_platform(facts, expected.target)]
    if facts.go is None or not facts.go.settings:
        yield _unproven(expected, facts.go)
    if facts.go is not None:
        differences += _differences(facts.go, expected)
    for difference in differences:
        yield Remark(message=difference, evidence=evidence, hint=_AGAIN)


def _differences(go: GoBuild, expected: Expected) -> Iterator[str]:
    if go.settings:
        yield from _settings(go.settings, wanted_settings(expected))
    yield from _toolchain(go, expected)
    yield from _main(go, expected)
    if expected.modules is not None:
        yield from _modules(go.deps, expected.modules)


def _unproven(expected: Expected, go: GoBuild | None) -> Remark:
    names = ", ".join(wanted_settings(expected)) or "level and settings"
    what = "the Go build info is gone" if go is None else "the build info holds no settings"
    return Remark(
        message=f"{what}: {names} cannot be proved",
        hint="ship the file as `go build` wrote it, build info included",
        severity=None if expected.target.main else Severity.WARNING,
    )


def _platform(facts: BinaryFacts, target: Target) -> Iterator[str]:
    """OS and architecture by the headers; the variant too where no build info tells the level better."""
    actual, asked = facts.platform, target.platform
    if actual is None:
        yield f"platform: asked for {asked}, and the file's headers name none"
        return
    same = (actual.os, actual.architecture) == (asked.os, asked.architecture)
    if facts.go is None and actual.variant and asked.variant:
        same = same and actual.variant == asked.variant
    if not same:
        yield f"platform: asked for {asked}, the file is for {actual}"


def wanted_settings(expected: Expected) -> dict[str, str]:
    """The build settings that the target asks for, as Go's build info spells them; '' must not be there."""
    target, wanted = expected.target, {}
    if (name := LEVEL_VARIABLES.get(target.platform.architecture)) and target.level:
        wanted[name] = target.level
    if target.main:
        flags = _flag_values((*target.flags, *target.unsafe.flags))
        wanted["CGO_ENABLED"] = "0" if target.cgo is Cgo.OFF else "1"
        wanted["-tags"] = ",".join(target.tags) or flags.get("-tags", "")
        wanted["-buildmode"] = flags.get("-buildmode", "exe")
        wanted |= {switch: flags.get(switch, "") for switch in _SWITCHES}
        wanted["GOEXPERIMENT"] = dict((*target.env, *target.unsafe.env)).get("GOEXPERIMENT", "")
    if expected.vcs is not None:
        wanted["vcs.revision"] = expected.vcs.revision
        wanted["vcs.modified"] = str(expected.vcs.modified).lower()
    return {**wanted, **expected.settings}


def _flag_values(flags: Sequence[str]) -> dict[str, str]:
    """`-race` is `true`; of a flag given twice the last counts; `-race=false` is as if it were not there."""
    split = (flag.replace("--", "-", 1).partition("=") for flag in flags)
    values = {name: value if equals else "true" for name, equals, value in split}
    return {name: value for name, value in values.items() if value != "false"}


def _settings(actual: dict[str, str], wanted: dict[str, str]) -> Iterator[str]:
    for name, value in wanted.items():
        found = actual.get(name, "")
        if _plain(name, found) != _plain(name, value):
            yield f"{name}: asked for {value or 'none'}, built with {found or 'none'}"


def _plain(name: str, value: str) -> object:
    """Tags are a set; `7,hardfloat` is what `7` means (go help environment, GOARM)."""
    if name == "-tags":
        return frozenset(filter(None, value.split(",")))
    return value.removesuffix(",hardfloat") if name == "GOARM" else value


def _toolchain(go: GoBuild, expected: Expected) -> Iterator[str]:
    """The first word of Go's version: experiments follow it (`go1.26.8 X:nodwarf5`)."""
    built = go.version.split(" ")[0]
    if expected.toolchain and built != expected.toolchain.split(" ")[0]:
        yield f"toolchain: asked for {expected.toolchain}, built with {go.version or 'an unknown one'}"


def _main(go: GoBuild, expected: Expected) -> Iterator[str]:
    if expected.package and go.path != expected.package:
        yield f"main package: asked for {expected.package}, built from {go.path or 'an unknown one'}"
    if expected.module is None:
        return
    path, version = (go.main.path, go.main.version) if go.main else ("", "")
    if path != expected.module.path:
        yield f"main module: asked for {expected.module.path}, built from {path or 'an unknown one'}"
    elif expected.published and version not in (DEVEL, "", expected.module.version):
        yield f"main module: asked for {path}@{expected.module.version}, built from {version}"


def _modules(actual: Sequence[GoModule], wanted: Sequence[GoModule]) -> Iterator[str]:
    built, asked = ({module.path: module for module in modules} for modules in (actual, wanted))
    for path in sorted(built.keys() | asked.keys()):
        one, other = asked.get(path), built.get(path)
        if one is None or other is None or not _same(one, other):
            yield f"module {path}: asked for {_shown(one)}, built with {_shown(other)}"


def _same(one: GoModule, other: GoModule) -> bool:
    """Versions must agree, sums where both are known (a vendored build's info has none)."""
    one_end, other_end = one.replace or one, other.replace or other
    sums = {end.sum for end in (one_end, other_end) if end.sum}
    return (
        _version(one) == _version(other)
        and one_end.path == other_end.path
        and (_version(one_end) == _version(other_end) and len(sums) <= 1)
    )


def _version(module: GoModule) -> str:
    return "" if module.version == DEVEL else module.version


def _shown(module: GoModule | None) -> str:
    if module is None:
        return "none"
    end = module.replace
    own = f"{module.version or DEVEL}" + (f" {module.sum}" if module.sum else "")
    return f"{own} => {end.path} {_shown(end)}" if end else own
