"""`examine`: ask the parsers, and compare what they say with our facts."""

from __future__ import annotations

import re
from pathlib import Path

from imagekit.binary.deep import Deep, Disagreement
from imagekit.binary.deep.asking import ask
from imagekit.binary.deep.opinion import Answer, Opinion, Said
from imagekit.binary.facts import BinaryFacts

_PARSERS = {"elf": ("pyelftools", "lief"), "macho": ("lief",), "pe": ("lief",)}
_HARDENING = ("pie", "aslr", "nx", "control_flow_guard", "timestamp", "minimum_os", "signature")
_UNLIKE = re.compile(r"(?:\\x[0-9a-f]{2}|[^\x20-\x7e])+")
_VERSION = re.compile(r"GLIBC_(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?")
_SHOWN = 8


def examine(path: Path, facts: tuple[BinaryFacts, ...]) -> tuple[Deep, ...]:
    """See `imagekit.binary.deep.examine`."""
    kind = facts[0].format if facts else ""
    if kind not in _PARSERS or any(_is_damaged(each) for each in facts):
        return tuple(Deep() for _ in facts)
    answers = {parser: ask(parser, kind, path) for parser in _PARSERS[kind]}
    return tuple(_deep(each, number, len(facts), answers) for number, each in enumerate(facts))


def _is_damaged(facts: BinaryFacts) -> bool:
    """Refused by our own reader: there is nothing to compare, and nothing better to say."""
    return "linkage" in facts.evidence and facts.evidence["linkage"].where == "damaged"


def _deep(facts: BinaryFacts, number: int, count: int, answers: dict[str, Answer]) -> Deep:
    opinions: list[Opinion] = []
    disagreements: list[Disagreement] = []
    for parser, answer in answers.items():
        if answer.refusal or len(answer.opinions) != count:
            theirs = answer.refusal or f"{len(answer.opinions)} programs"
            disagreements.append(
                Disagreement("file", "1 program" if count == 1 else f"{count} programs", theirs, parser)
            )
        else:
            opinions.append(answer.opinions[number])
            disagreements += compare(facts, answer.opinions[number].said, parser)
    return Deep(
        compile_units=next((o.compile_units for o in opinions if o.compile_units), ()),
        signature=next((o.signature for o in opinions if o.signature), None),
        load_configuration=next((o.load_configuration for o in opinions if o.load_configuration), {}),
        disagreements=tuple(disagreements),
    )


def compare(facts: BinaryFacts, said: Said, parser: str) -> list[Disagreement]:
    """One for each fact of which both know something and do not know the same, in the parser's order."""
    ours = _ours(facts)
    theirs = {fact: values for fact, values in said.items() if fact != "versions"}
    if "versions" in said:
        theirs["glibc_min"] = _least(said["versions"])
    pairs = ((fact, ours[fact], values) for fact, values in theirs.items() if fact in ours)
    return [
        Disagreement(fact, _shown(mine), _shown(other), parser)
        for fact, mine, other in pairs
        if _plain(mine) != _plain(other)
    ]


def _ours(facts: BinaryFacts) -> Said:
    """Our facts in the parsers' words."""
    ours: Said = {
        "interpreter": (facts.interpreter,) if facts.interpreter is not None else (),
        "needed": facts.needed,
        "rpath": facts.rpath,
        "glibc_min": (facts.glibc_min,) if facts.glibc_min else (),
    }
    if facts.platform is not None:
        ours |= {"architecture": (facts.platform.architecture,), "os": (facts.platform.os,)}
    if facts.traits.imports:
        ours["imports"] = tuple(_imports(facts))
    for fact in _HARDENING:
        value = facts.hardening.get(fact)
        if facts.format != "elf" and value is not None and value != "n/a":
            ours[fact] = (str(value).lower() if isinstance(value, bool) else value,)
    return ours


def _imports(facts: BinaryFacts) -> list[str]:
    """`library:name`, sorted, without imports by number, and without those that name no library of their own."""
    of_libraries = [(library, every) for library, every in facts.traits.imports.items() if library in facts.needed]
    return sorted({f"{library}:{name}" for library, every in of_libraries for name in every if name[:1] != "#"})


def _least(versions: tuple[str, ...]) -> tuple[str, ...]:
    """The oldest glibc that has all of them, as in the facts."""
    levels = [tuple(int(n) for n in found.groups("0")) for found in map(_VERSION.fullmatch, versions) if found]
    levels += [(2, 36, 0)] if "GLIBC_ABI_DT_RELR" in versions else []
    if not levels:
        return ()
    major, minor, patch = max(levels)
    return (f"{major}.{minor}" + (f".{patch}" if patch else ""),)


def _plain(values: tuple[str, ...]) -> tuple[str, ...]:
    """Without what parsers escape each in their own way."""
    return tuple(_UNLIKE.sub("?", value) for value in values)


def _shown(values: tuple[str, ...]) -> str:
    more = f" and {len(values) - _SHOWN} more" if len(values) > _SHOWN else ""
    return ", ".join(values[:_SHOWN]) + more if values else "none"
