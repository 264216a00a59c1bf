"""docs/audit.md: what it shows is what is printed, and its policy loads."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

PAGE = Path(__file__).resolve().parents[2] / "docs/audit.md"
SOURCES = {
    "go.mod": "module example.org/demo\n\ngo 1.24\n",
    "server/main.go": 'package main\n\nimport "net/http"\n\nvar built = "never"\n\n'
    'func main() { println(built); _ = http.ListenAndServe(":8080", nil) }\n',
    "native/native.go": "package native\n\n// static int answer(void) { return 42; }\n"
    'import "C"\n\nfunc Answer() int { return int(C.answer()) }\n',
    "agent/main.go": 'package main\n\nimport "example.org/demo/native"\n\nfunc main() { println(native.Answer()) }\n',
}
_VARIES = (
    (r"\b0x[0-9a-f]+", "0xN"),
    (r"sha256:[0-9a-f]{64}", "sha256:N"),
    (r"[\w-]{20}(/[\w-]{20}){3}", "ID"),
    (r"( [0-9a-f]{2}){16}", " BYTES"),
    (r"\b[\d,]+ bytes", "N bytes"),
    (r"go1\.\d+(\.\d+)?", "goN"),
)
"""What depends on the version of Go."""


def blocks(kind: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return [content for language, content in found if language == kind]


def plain(text: str) -> str:
    for pattern, word in _VARIES:
        text = re.sub(pattern, word, text)
    return text


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """bin/agent with C, bin/server without, and the latter built on two days."""
    root = tmp_path_factory.mktemp("page")
    for name, content in SOURCES.items():
        (root / "src" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "src" / name).write_text(content)
    (root / "bin").mkdir()
    (root / "bin/notes.txt").write_text("text\n")
    for output, package, cgo, built in (
        ("bin/server", "server", "0", "never"),
        ("bin/agent", "agent", "1", "never"),
        ("old/server", "server", "0", "2026-01-01T00:00:00Z"),
        ("new/server", "server", "0", "2026-01-02T00:00:00Z"),
    ):
        flags = ["-trimpath", "-buildvcs=false", *([f"-ldflags=-X main.built={built}"] if built != "never" else [])]
        env = {**os.environ, "CGO_ENABLED": cgo, "GOFLAGS": "", "GOENV": "off", "GOWORK": "off"}
        words = ["go", "build", *flags, "-o", str(root / output), f"./{package}"]
        subprocess.run(words, cwd=root / "src", env=env, check=True)
    return root


@pytest.mark.real
@pytest.mark.parametrize("number", range(len(blocks(""))))
def test_the_shown_output_is_what_is_printed(folder: Path, imagekit, number: int) -> None:
    shown = blocks("")[number]
    *_, (command, said) = re.findall(r"^\$ imagekit (.*)\n((?:(?!\$ ).*\n)*)", shown, re.MULTILINE)
    for earlier in re.findall(r"^\$ imagekit (.*)$", shown, re.MULTILINE)[:-1]:
        imagekit(*earlier.split(), cwd=folder)
    printed, rest = plain(imagekit(*command.split(), cwd=folder).stdout), 0
    pieces = [piece.strip("\n") for piece in plain(said).split("…\n") if piece.strip()]
    for piece in pieces:
        at = printed.find(piece, rest)
        assert at >= 0, f"{piece}\n--- is not in ---\n{printed[rest:]}"
        rest = at + len(piece)
    if "…" not in said:
        assert printed.strip("\n") == pieces[0]


def test_the_policy_loads(tmp_path: Path) -> None:
    from imagekit.audit.policy import load

    (example,) = (block for block in blocks("yaml") if block.startswith("# policy.yaml"))
    (tmp_path / "policy.yaml").write_text(example)
    found = load(str(tmp_path / "policy.yaml"))
    assert found.glibc_min == "2.36"
    assert found.waivers[0].select == "bin/agent"


def test_the_pipelines_are_yaml() -> None:
    github, gitlab = (yaml.safe_load(block) for block in blocks("yaml") if not block.startswith("# policy.yaml"))
    assert github[1]["with"] == {"sarif_file": "audit.sarif"}
    assert gitlab["audit"]["artifacts"]["reports"] == {"junit": "audit.xml"}
