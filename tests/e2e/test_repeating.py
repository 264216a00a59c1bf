"""`--verify-reproducible`: the second build is elsewhere in every way, and a difference is named and explained."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path

import pytest

Imagekit = Callable[..., "subprocess.CompletedProcess[str]"]
Project = Callable[[dict[str, str]], Path]
FILES = {
    "go.mod": "module example.org/app\n\ngo 1.24\n",
    "main.go": 'package main\n\nvar built = "unset"\n\nfunc main() { println(built) }\n',
    "imagekit.yaml": "version: 1\nbuilds:\n  - {id: app, main: ., platforms: [linux/amd64]}\n",
}


def stamping(place: Path, body: str) -> dict[str, str]:
    """The project with a program that Go starts its tools through (`-toolexec`), as some build systems do."""
    tool = place / "stamp"
    tool.write_text(f'#!/bin/sh\ntool=$1\nshift\n{body}\nexec "$tool" "$@"\n')
    tool.chmod(0o755)
    unsafe = f"unsafe: {{flags: ['-toolexec={tool}']}}"
    return FILES | {"imagekit.yaml": FILES["imagekit.yaml"].replace("main: .,", f"main: ., {unsafe},")}


def test_a_build_that_depends_on_nothing_else_is_proven(
    project: Project, imagekit: Imagekit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    place = project(FILES)
    done = imagekit("build", "--verify-reproducible", cwd=place)
    assert done.returncode == 0, done.stderr
    count = len((place / "dist/SHA256SUMS").read_text().splitlines())
    assert f"reproducible: a second build elsewhere gave the same {count} files" in done.stderr
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.parametrize("named", ["absolute", "from elsewhere"])
def test_a_configuration_that_is_named_is_that_of_the_copy(
    project: Project, imagekit: Imagekit, tmp_path: Path, named: str
) -> None:
    """Its path is in no file either; the working folder is copied only as far as it is the source."""
    (tmp_path / "seen.py").write_text(SEEN)
    (tmp_path / "seen").mkdir()
    place = project(stamping(tmp_path, f"{sys.executable} {tmp_path}/seen.py {tmp_path}/seen"))
    (tmp_path / "work").mkdir()
    here, given = (place, str(place)) if named == "absolute" else (tmp_path / "work", "../project")
    given += "/imagekit.yaml"
    done = imagekit("build", "--verify-reproducible", "--config", given, "--output", tmp_path / "out", cwd=here)
    assert done.returncode == 0, done.stderr
    assert "the same" in done.stderr
    second = json.loads((tmp_path / "seen/second").read_text())
    assert second["words"][second["words"].index("--config") + 1].endswith("/elsewhere/project/imagekit.yaml")
    assert (second["cwd"] == str(here)) == (named != "absolute")
    assert "imagekit.yaml:" in (tmp_path / "out/audit.json").read_text()
    assert str(place) not in (tmp_path / "out/audit.json").read_text()


def test_the_user_s_ignore_file_counts_wherever_it_is(project: Project, imagekit: Imagekit, tmp_path: Path) -> None:
    """The second build has another HOME, and git's settings name the file from there."""
    place, home = project(FILES), tmp_path / "home"
    (home / "dot files").mkdir(parents=True)
    (home / ".gitconfig").write_text('[core]\n\texcludesFile = "~/dot files/ignore"\n')
    (home / ".gitconfig").chmod(0o444)
    (home / "dot files/ignore").write_text("*.swp\n")
    (place / "main.go.swp").write_text("of an editor")
    goes = json.loads(subprocess.check_output(["go", "env", "-json", "GOMODCACHE", "GOCACHE"], text=True))
    done = imagekit("build", "--verify-reproducible", cwd=place, HOME=str(home), **goes)
    assert done.returncode == 0, done.stderr
    assert "dirty-tree" not in done.stderr


def test_a_socket_in_the_repository_is_no_source(project: Project, imagekit: Imagekit) -> None:
    """Git's own file system monitor has one in .git."""
    place = project(FILES)
    with socket.socket(socket.AF_UNIX) as listening, chdir(place / ".git"):
        listening.bind("monitor.ipc")
    os.mkfifo(place / "pipe")
    done = imagekit("build", "--verify-reproducible", cwd=place)
    assert done.returncode == 0, done.stderr


def test_a_time_in_a_variable_is_caught_and_named(project: Project, imagekit: Imagekit, tmp_path: Path) -> None:
    linking = """case "$tool,$1" in *link,-o) set -- -X "main.built=$(date +%s%N)" "$@" ;; esac"""
    place = project(stamping(tmp_path, linking))
    done = imagekit("build", "--verify-reproducible", cwd=place)
    assert done.returncode == 5, done.stderr
    assert "first in bin/linux_amd64/app" in done.stderr
    assert "main.built" in done.stderr, done.stderr


def test_a_second_build_that_fails_says_why(project: Project, imagekit: Imagekit, tmp_path: Path) -> None:
    failing = """case "$PWD" in *elsewhere*) echo "no such luck" >&2; exit 1 ;; esac"""
    done = imagekit("build", "--verify-reproducible", cwd=project(stamping(tmp_path, failing)))
    assert done.returncode == 3, done.stderr
    assert "did not end like the first" in done.stderr
    assert "no such luck" in done.stderr


def differing(done: subprocess.CompletedProcess[str], first: str) -> str:
    """What is said of a build that differs, first in that file."""
    assert done.returncode == 5, done.stderr
    assert f"first in {first}\n" in done.stderr, done.stderr
    return done.stderr


def test_an_embedded_file_that_changes_is_named_with_its_section(
    project: Project, imagekit: Imagekit, tmp_path: Path
) -> None:
    """What runs while it compiles writes a time into a file that is embedded."""
    stamping_in = """case "$tool" in *compile) for word in "$@"; do case "$word" in */embedcfg)
  date +%s%N > "$(sed -n 's/.*"\\(\\/[^"]*stamp.txt\\)".*/\\1/p' "$word" | head -1)" ;; esac; done ;; esac"""
    files = stamping(tmp_path, stamping_in) | {
        "main.go": 'package main\n\nimport _ "embed"\n\n//go:embed stamp.txt\nvar built string\n\n'
        "func main() { println(built) }\n",
        "stamp.txt": "1700000000000000000\n",
        ".gitignore": "stamp.txt\n",
    }
    said = differing(imagekit("build", "--verify-reproducible", cwd=project(files)), "bin/linux_amd64/app")
    assert "in the source too: stamp.txt: content differs" in said
    assert "first differing bytes:\n" in said
    assert ".rodata at 0x" in said


def test_a_key_of_the_build_info_is_named(project: Project, imagekit: Imagekit, tmp_path: Path) -> None:
    linking = """case "$PWD,$tool" in *elsewhere*link) for word in "$@"; do case "$word" in */importcfg.link)
  sed -i '/^modinfo/s/-compiler=gc/-compiler=gd/' "$word" ;; esac; done ;; esac"""
    done = imagekit("build", "--verify-reproducible", cwd=project(stamping(tmp_path, linking)))
    said = differing(done, "bin/linux_amd64/app")
    assert "other build settings: -compiler" in said
    assert "~ -compiler: gc -> gd" in said


SERVED = "images:\n  - {id: app, build: app, rootfs: {files: [{from: web/, to: /srv/}]}}\n"


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("chmod 755 web/f", "srv/f: mode 0444 then 0555"),
        ("echo two > web/f", "srv/f: content differs"),
        ("echo more > web/g", "srv/g: only in the second"),
    ],
    ids=["mode", "content", "entry"],
)
def test_a_file_of_the_image_is_named_with_what_differs(
    project: Project, imagekit: Imagekit, tmp_path: Path, change: str, line: str
) -> None:
    compiling = f"""case "$PWD" in *elsewhere*) (cd "${{PWD%%/elsewhere/*}}/elsewhere"/* && {change}) ;; esac"""
    files = stamping(tmp_path, compiling)
    files["imagekit.yaml"] += SERVED
    files |= {"web/f": "one\n", ".gitignore": "web/\n"}
    done = imagekit("build", "--verify-reproducible", cwd=project(files))
    said = differing(done, "rootfs/app.tar").splitlines()
    assert line in said, done.stderr
    assert "\\x00" not in done.stderr


SEEN = """
import json, os, sys
pid, chain = os.getpid(), []
while pid > 1:
    fields = dict(line.split(":", 1) for line in open(f"/proc/{pid}/status").read().splitlines())
    words = open(f"/proc/{pid}/cmdline").read().split("\\0")
    if "imagekit" in words:
        held = open(f"/proc/{pid}/environ").read().split("\\0")
        environment = dict(word.split("=", 1) for word in held if "=" in word)
        chain.append({"umask": fields["Umask"].strip(), "words": words, "cwd": os.readlink(f"/proc/{pid}/cwd"),
                      "environment": environment, "compiling": dict(os.environ)})
    pid = int(fields["PPid"])
open(sys.argv[1] + "/" + ("second" if len(chain) > 1 else "first"), "w").write(json.dumps(chain[0]))
"""


@pytest.mark.parametrize(
    "caller",
    [
        {"umask": 0o022, "LC_ALL": "C", "TZ": "Pacific/Chatham"},
        {"umask": 0o077, "LC_ALL": "C.UTF-8", "TZ": "UTC"},
        {"umask": 0o027, "LANG": "C.utf8"},
    ],
    ids=["plain", "private", "by LANG"],
)
def test_the_second_build_is_elsewhere_in_every_way(
    project: Project, imagekit: Imagekit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caller: dict[str, object]
) -> None:
    (tmp_path / "seen.py").write_text(SEEN)
    (tmp_path / "seen").mkdir()
    noting = f"{sys.executable} {tmp_path}/seen.py {tmp_path}/seen"
    place = project(stamping(tmp_path, noting))
    for name in ("LC_ALL", "LC_CTYPE", "LANG", "TZ"):
        monkeypatch.delenv(name, raising=False)
    before = os.umask(int(str(caller["umask"])))
    environment = {name: str(value) for name, value in caller.items() if name != "umask"}
    try:
        done = imagekit("build", "--verify-reproducible", "--jobs", "1024", cwd=place, **environment)
    finally:
        os.umask(before)
    assert done.returncode == 0, done.stderr
    first, second = (json.loads((tmp_path / "seen" / name).read_text()) for name in ("first", "second"))
    assert first["umask"] != second["umask"]
    assert first["cwd"] != second["cwd"]
    jobs = [each["words"][each["words"].index("--jobs") + 1] for each in (first, second)]
    assert jobs[0] == "1024"
    assert jobs[1] != "1024"
    for name in ("HOME", "TZ", "XDG_CACHE_HOME"):
        assert first["environment"].get(name) != second["environment"].get(name), name
    for name in ("HOME", "GOCACHE"):
        assert first["compiling"][name] != second["compiling"][name], name
    locales = [locale_of(each["environment"]) for each in (first, second)]
    assert locales[0] != locales[1]


def locale_of(environment: dict[str, str]) -> str:
    said = next(filter(None, map(environment.get, ("LC_ALL", "LC_CTYPE", "LANG"))), "C")
    return said.lower().replace("-", "")
