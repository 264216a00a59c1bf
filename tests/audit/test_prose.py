from __future__ import annotations

import io
import re

import msgspec
import pytest

from imagekit.audit.judge import Judged
from imagekit.audit.prose import show, text
from imagekit.audit.reports import FORMATS, render, write
from imagekit.audit.reports.tree import branches, indented, module, word
from imagekit.binary.facts import GoBuild, GoModule, Traits
from imagekit.errors import UsageError


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def alone(full_report):
    """The report of one file."""
    program = next(judged for judged in full_report.subjects if judged.facts)
    return msgspec.structs.replace(full_report, subjects=(program,), skips=(), waived=(), expired=())


def test_one_file_is_a_tree_with_evidence(alone):
    told = text(alone, tree=True)
    for words in (
        "bin/linux_amd64/app: linux/amd64, dynamic, cgo absent (glibc), go1.26.8: error\n",
        "    linkage: dynamic\n        program headers at 0x40: no PT_INTERP, no PT_DYNAMIC\n",
        "    needed: libc.so.6\n",
        "    instrumented: race\n",
        "    go: go1.26.8\n        .go.buildinfo at 0x1000: go1.26.8\n",
        "            example.org/errors v0.9.1 h1:AAA",
        "            CGO_ENABLED=0\n",
        "    hardening\n        canary: unknown\n        pie: yes\n        relro: partial\n",
        "    why\n        main._Cfunc_puts proves cgo\n        cgo in package main\n",
        "        import chain: example.org/app -> example.org/errors\n",
        "    where it runs\n        scratch: no, no loader is there\n",
        "    what a scratch image must hold\n        /etc/passwd: os/user is linked\n",
        "    what would fix it\n        CGO_ENABLED=0\n",
        "    deep look\n        signature: valid\n",
        "        1 compile units by GNU C17 12.2.0 (C11)\n        puts.c\n",
        "        needed: we read libc.so.6, lief reads libc.so.7\n",
    ):
        assert words in told


def test_without_the_tree_one_file_is_a_line_with_what_was_asked_for(alone):
    told = text(alone)
    assert "program headers at 0x40: no PT_INTERP, no PT_DYNAMIC\n        .go" not in told
    assert "    where it runs\n" in told
    assert "    settings" not in told


def test_many_files_are_lines_and_no_tree(full_report):
    assert "    hardening" not in text(full_report, tree=True)


def test_a_terminal_gets_the_tree_with_guides(alone, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "200")
    out = Terminal()
    show(alone, out, tree=True)
    assert "├── linkage: dynamic" in out.getvalue()
    assert "where it runs" in out.getvalue()


def test_a_narrow_terminal_folds_and_cuts_nothing(alone, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "30")
    out = Terminal()
    show(alone, out, tree=True)
    shown = re.sub(r"[\s│├└─]", "", out.getvalue())
    for branch in indented(branches(alone.subjects[0]), 0):
        assert re.sub(r"\s", "", branch.text) in shown


@pytest.mark.parametrize("width", range(20, 60))
def test_no_fold_makes_a_command(alone, monkeypatch, width):
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", str(width))
    named = msgspec.structs.replace(alone.subjects[0], path="abcdefg::error::x" * 9)
    tailed = msgspec.structs.replace(alone.subjects[0].explanation, fixes=("abcdefg::error::x" * 9,))
    subjects = (named, msgspec.structs.replace(named, explanation=tailed, deep=None))
    out = Terminal()
    show(msgspec.structs.replace(alone, subjects=subjects), out, tree=True)
    assert not any(line.lstrip().startswith("::") for line in out.getvalue().splitlines())


def test_a_terminal_gets_the_explanations_below_the_table(full_report, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    out = Terminal()
    show(full_report, out, tree=True)
    assert out.getvalue().index("verdict") < out.getvalue().index("where it runs")


@pytest.mark.parametrize("stream", [io.StringIO, Terminal], ids=["plain", "terminal"])
@pytest.mark.parametrize("single", [False, True], ids=["many", "single"])
def test_hostile_names_are_shown_and_not_obeyed(hostile_report, stream, single, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "4000")
    kept = [judged for judged in hostile_report.subjects if judged.facts][: 1 if single else None]
    out = stream()
    show(msgspec.structs.replace(hostile_report, subjects=tuple(kept)), out, tree=True)
    told = out.getvalue()
    assert all(c == "\n" or c.isprintable() for c in told)
    assert not any(line.lstrip(" │├└─").startswith("::") for line in told.splitlines())
    assert "##[" not in told
    assert "##vso[" not in told
    assert "[bold]b[/bold]" in told


def test_what_has_no_file_has_no_tree(full_report):
    assert branches(full_report.subjects[0]) == ()


def test_a_replaced_module_names_both():
    replaced = GoModule("example.org/m", "v1.0.0", "", GoModule("example.org/fork", "v1.1.0", "h1:x"))
    assert module(replaced) == "example.org/m v1.0.0 => example.org/fork v1.1.0 h1:x"


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, "unknown"), (True, "yes"), (False, "no"), (("a", "b"), "a, b"), ({"k": ("v",)}, "k: v"), (3, "3")],
)
def test_a_value_in_words(value, expected):
    assert word(value) == expected


@pytest.mark.parametrize("form", FORMATS)
def test_a_stream_gets_what_render_gives(full_report, form):
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    write(full_report, form, out)
    out.flush()
    assert out.buffer.getvalue() == render(full_report, form)


@pytest.mark.parametrize("form", ["json", "html"])
def test_a_stream_without_bytes_gets_the_text(full_report, form):
    out = io.StringIO()
    write(full_report, form, out)
    assert out.getvalue() == render(full_report, form).decode()


def test_an_unknown_format_is_refused_with_those_there_are(full_report):
    with pytest.raises(UsageError) as refused:
        render(full_report, "pdf")
    assert "sarif" in refused.value.hint


def test_long_lists_are_counted(facts, alone):
    many = tuple(GoModule(f"example.org/m{number}", "v1.0.0") for number in range(25))
    traits = Traits(imports={"kernel32.dll": ("ExitProcess", "WriteFile")}, leaked_paths=("/a", "/b", "/c", "/d"))
    program = facts(go=GoBuild("go1.26.8", "p", None, many, {}), traits=traits)
    told = text(msgspec.structs.replace(alone, subjects=(Judged(path="app.exe", facts=program),)), tree=True)
    assert "        modules: 25\n" in told
    assert "            and 5 more (--format json or html has them all)\n" in told
    assert "    imports: kernel32.dll: 2 names\n" in told
    assert "    leaked_paths: 4\n        /a\n        /b\n" in told
