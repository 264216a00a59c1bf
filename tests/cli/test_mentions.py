"""README.md, CONTRIBUTING.md and docs/: they mention only commands and options that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from imagekit.cli.main import COMMANDS, main

ROOT = Path(__file__).resolve().parents[2]
NAMES = [name for name, _ in COMMANDS]
FIRST_WORDS = {name.partition(" ")[0] for name in NAMES}
PAGES = ["README.md", "CONTRIBUTING.md", *(str(page.relative_to(ROOT)) for page in sorted(ROOT.glob("docs/*.md")))]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_mentions_only_commands_and_options_that_exist(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words in _mentioned((ROOT / page).read_text(encoding="utf-8")):
        name = next((name for name in NAMES if f"{words} ".startswith(f"{name} ")), None)
        assert name or words.split()[0] in FIRST_WORDS | {"--version", "--help"}, f"{page}: imagekit {words}"
        if name:
            assert main([*name.split(), "--help"]) == 0
            known = set(re.findall(r"(?<!\S)--[a-z-]+", capsys.readouterr().out))
            assert set(re.findall(r"(?<!\S)--[a-z-]+", words)) <= known, f"{page}: imagekit {words}"


def test_readme_mentions_every_command_that_a_build_needs() -> None:
    mentioned = _mentioned((ROOT / "README.md").read_text(encoding="utf-8"))
    for name in ("build", "merge", "init", "check", "targets", "explain", "bundle create", "doctor"):
        assert any(f"{words} ".startswith(f"{name} ") for words in mentioned), name


def _mentioned(text: str) -> list[str]:
    """What follows `imagekit ` where it is called, in fenced blocks and code spans."""
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    lines = [line.partition("#")[0] for block in fenced for line in block.splitlines()] + spans
    calls = [call for line in lines for call in re.findall(r"(?:^|[\s(;&|])imagekit ([^|;&)\"\n]+)", line)]
    return [call.strip() for call in calls if re.match(r"[a-z-]", call)]
