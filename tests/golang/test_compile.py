"""Real builds of small modules: hermetic, checked before reuse, safe in parallel, stopped without a trace."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from imagekit.cancellation import Cancellation
from imagekit.content import hash_file
from imagekit.errors import ConfigError, StoppedError, ToolError
from imagekit.golang.arguments import Main
from imagekit.golang.artifact import Artifact
from imagekit.golang.compile import compile_target, has_kept_output, unstripped_twin
from imagekit.golang.failures import CompileFailure
from imagekit.golang.packages import list_packages
from imagekit.golang.settings import GoSettings
from imagekit.golang.toolchain import Toolchain
from imagekit.targets.target import Cgo, Ldflags, Target, XValue

pytestmark = pytest.mark.real
Make = Callable[..., Target]
MakeModule = Callable[..., Path]
Ask = Callable[[Path], GoSettings]
Build = Callable[..., Artifact]

LIB = 'package lib\n\nconst Name = "vendored"\n'
USES_LIB = 'package main\n\nimport "example.org/lib"\n\nfunc main() { println(lib.Name) }\n'


@pytest.fixture
def build(go: Toolchain, ask: Ask, tmp_path: Path) -> Build:
    """Compile a target of a folder, the cache beside it."""

    def make(folder: Path, target: Target, cache: str = "cache", **options: Any) -> Artifact:
        return compile_target(ask(folder), target, cache_dir=tmp_path / cache, **options)

    return make


def output_of(path: Path) -> str:
    return subprocess.run([path], capture_output=True, text=True, check=True, env={}).stderr.strip()


def build_info(go: Toolchain, path: Path) -> dict[str, str]:
    """What `go version -m` says, the settings and the main module."""
    said = subprocess.run([go.go, "version", "-m", path], capture_output=True, text=True, check=True).stdout
    fields = [line.strip().split("\t") for line in said.splitlines()[1:]]
    settings = dict(field[1].split("=", 1) for field in fields if field[0] == "build")
    return settings | {"main": next(field[2] for field in fields if field[0] == "mod")}


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder.parent)}
    done = subprocess.run(
        ["git", *identity, *words], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_a_program_is_built_and_its_digest_is_that_of_the_file(build: Build, module: MakeModule, target: Make) -> None:
    folder = module()
    made = build(folder, target(ldflags=Ldflags(values=(XValue("main.version", "a 'b' c\nd"),))))
    assert (made.digest, made.size) == hash_file(made.path)
    assert made.relinked == ""
    assert output_of(made.path) == "a 'b' c\nd"
    assert made.path.stat().st_mode & 0o777 == 0o755


def test_go_starts_behind_the_words_that_isolate_it(ask: Ask, module: MakeModule, target: Make, tmp_path: Path) -> None:
    folder = module()
    words = ("sh", "-c", f'printf "%s\\n" "$1" "$2" >>{tmp_path}/started; exec "$@"', "sh")
    settings = msgspec.structs.replace(ask(folder), isolation=words)
    compile_target(settings, target(), cache_dir=tmp_path / "cache")
    list_packages(settings, target(), cache_dir=tmp_path / "cache")
    started = (tmp_path / "started").read_text().splitlines()
    assert started == [str(settings.toolchain.go), "build", *[str(settings.toolchain.go), "list"] * 2]


def test_the_second_build_does_not_link(
    build: Build, module: MakeModule, target: Make, go: Toolchain, ask: Ask, tmp_path: Path
) -> None:
    folder = module()
    assert not has_kept_output(ask(folder), target(), cache_dir=tmp_path / "cache")
    first = build(folder, target())
    inode = first.path.stat().st_ino
    assert has_kept_output(ask(folder), target(), cache_dir=tmp_path / "cache")
    assert build(folder, target()) == first
    assert first.path.stat().st_ino == inode
    (folder / "main.go").write_text((folder / "main.go").read_text().replace("unset", "other"))
    changed = build(folder, target())
    assert (output_of(changed.path), changed.relinked) == ("other", "")
    assert changed.digest != first.digest


def test_a_tampered_kept_output_is_linked_again_and_said(build: Build, module: MakeModule, target: Make) -> None:
    folder = module()
    first = build(folder, target())
    state = first.path.stat()
    content = bytearray(first.path.read_bytes())
    at = content.index(b"unset")
    content[at : at + 5] = b"EVIL!"
    first.path.write_bytes(content)
    os.utime(first.path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert output_of(first.path) == "EVIL!"
    again = build(folder, target())
    assert output_of(again.path) == "unset"
    assert again.digest == first.digest
    assert "changed after its link" in again.relinked
    assert f"sha256:{hashlib.sha256(content).hexdigest()}" in again.relinked
    assert build(folder, target()).relinked == ""


def test_a_kept_output_that_became_a_link_is_replaced(
    build: Build, module: MakeModule, target: Make, tmp_path: Path
) -> None:
    folder = module()
    first = build(folder, target())
    elsewhere = tmp_path / "elsewhere"
    shutil.copyfile(first.path, elsewhere)
    first.path.unlink()
    first.path.symlink_to(elsewhere)
    again = build(folder, target())
    assert again.relinked == "it is not a regular file"
    assert not again.path.is_symlink()
    assert elsewhere.exists()


def test_a_copy_is_made_while_nobody_else_can_change_the_kept_output(
    build: Build, module: MakeModule, target: Make, tmp_path: Path
) -> None:
    made = build(module(), target(), destination=tmp_path / "dist" / "app")
    assert made.path == tmp_path / "dist" / "app"
    assert hash_file(made.path) == (made.digest, made.size)


def test_nothing_ambient_reaches_the_bytes(
    build: Build, module: MakeModule, target: Make, go: Toolchain, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plain = build(module("one"), target(), cache="cache-one")
    for name, value in {
        "GOFLAGS": "-tags=evil -ldflags=-X=main.version=evil",
        "GOAMD64": "v3",
        "CGO_ENABLED": "1",
        "GOEXPERIMENT": "jsonv2",
        "GOOS": "plan9",
        "CGO_LDFLAGS": "-L/evil",
        "GIT_DIR": "/nowhere",
        "HOME": str(tmp_path / "home"),
        "TZ": "Asia/Tokyo",
        "LC_ALL": "de_DE.UTF-8",
        "TMPDIR": str(tmp_path),
        "GOCACHE": os.environ.get("GOCACHE") or str(Path.home() / ".cache" / "go-build"),
        "GOMODCACHE": str(tmp_path / "modcache"),
    }.items():
        monkeypatch.setenv(name, value)
    before = os.umask(0o077)
    try:
        other = build(module("two"), target(), cache="cache-two", jobs=1)
    finally:
        os.umask(before)
    assert other.digest == plain.digest
    assert build_info(go, other.path)["GOAMD64"] == "v1"
    assert build_info(go, other.path)["CGO_ENABLED"] == "0"


def test_a_gocacheprog_is_never_started(
    build: Build, module: MakeModule, target: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "prog"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    program.chmod(0o755)
    monkeypatch.setenv("GOCACHEPROG", str(program))
    build(module(), target())
    assert not (tmp_path / "started").exists()


def test_flags_tags_and_levels_are_in_the_program(
    build: Build, module: MakeModule, target: Make, go: Toolchain
) -> None:
    folder = module(
        extra__a=" ", **{"tagged.go": '//go:build special\n\npackage main\n\nfunc init() { version = "special" }\n'}
    )
    made = build(folder, target(tags=("special",), flags=("-buildmode=pie",), level="v2"))
    info = build_info(go, made.path)
    assert output_of(made.path) == "special"
    assert (info["-tags"], info["-buildmode"], info["GOAMD64"], info["-trimpath"]) == ("special", "pie", "v2", "true")


def test_stripped_and_its_twin(
    build: Build, module: MakeModule, target: Make, go: Toolchain, ask: Ask, tmp_path: Path
) -> None:
    folder = module()
    made = target(ldflags=Ldflags(strip=True, values=(XValue("main.version", "1"),)))
    shipped = build(folder, made)
    twin = unstripped_twin(ask(folder), made, cache_dir=tmp_path / "cache")
    assert twin.path != shipped.path
    assert twin.size > shipped.size
    symbols = subprocess.run([go.go, "tool", "nm", twin.path], capture_output=True, text=True, check=True).stdout
    assert " main.version" in symbols
    none = subprocess.run([go.go, "tool", "nm", shipped.path], capture_output=True, text=True, check=False)
    assert " main.version" not in none.stdout


def test_a_flag_that_go_cannot_take_is_gos_own_error(build: Build, module: MakeModule, target: Make) -> None:
    with pytest.raises(CompileFailure, match="buildmode"):
        build(module(), target(flags=("-buildmode=nonsense",)))


@pytest.mark.parametrize("main", ["", "-o", "example.org/m@v1.0.0"])
def test_a_main_that_is_no_package_of_the_module(build: Build, module: MakeModule, target: Make, main: str) -> None:
    with pytest.raises(ConfigError, match="not a package"):
        build(module(), target(main=main))


def test_a_library_is_no_program(build: Build, module: MakeModule, target: Make) -> None:
    with pytest.raises(ToolError, match="not a main package"):
        build(module(**{"main.go": LIB}), target())


def test_a_failed_build_leaves_the_kept_output_as_it_was(build: Build, module: MakeModule, target: Make) -> None:
    folder = module()
    first = build(folder, target())
    source = (folder / "main.go").read_text()
    (folder / "main.go").write_text("package main\n\nfunc main() { nothing() }\n")
    with pytest.raises(CompileFailure, match="undefined: nothing"):
        build(folder, target())
    (folder / "main.go").write_text(source)
    assert build(folder, target()) == first


def test_a_missing_module_is_not_fetched(build: Build, module: MakeModule, target: Make) -> None:
    text = "module example.org/m\n\ngo 1.24\n\nrequire example.org/lib v1.0.0\n"
    with pytest.raises(CompileFailure) as caught:
        build(module(**{"go.mod": text, "main.go": USES_LIB}), target())
    assert "go mod" in caught.value.hint


def test_vendored_packages_are_used_where_go_would(
    build: Build, module: MakeModule, target: Make, files: Callable[..., Path]
) -> None:
    folder = module(
        **{
            "go.mod": "module example.org/m\n\ngo 1.24\n\nrequire example.org/lib v1.0.0\n",
            "main.go": USES_LIB,
            "vendor/modules.txt": "# example.org/lib v1.0.0\n## explicit; go 1.24\nexample.org/lib\n",
            "vendor/example.org/lib/lib.go": LIB,
        }
    )
    assert output_of(build(folder, target()).path) == "vendored"
    (folder / "vendor" / "modules.txt").write_text("# example.org/lib v1.1.0\n## explicit; go 1.24\nexample.org/lib\n")
    with pytest.raises(CompileFailure, match="inconsistent vendoring") as caught:
        build(folder, target())
    assert "go mod vendor" in caught.value.hint


def test_a_workspace_and_its_vendor_folder(
    build: Build, module: MakeModule, target: Make, tmp_path: Path, files: Callable[..., Path]
) -> None:
    folder = module(**{"main.go": USES_LIB})
    files(tmp_path / "lib", {"go.mod": "module example.org/lib\n\ngo 1.24\n", "lib.go": LIB})
    (tmp_path / "go.work").write_text("go 1.24\n\nuse (\n\t./module\n\t./lib\n)\n")
    assert output_of(build(folder, target()).path) == "vendored"
    files(tmp_path / "vendor", {"modules.txt": "## workspace\n"})
    assert output_of(build(folder, target()).path) == "vendored"


def test_an_extracted_module_is_built_for_itself(
    go: Toolchain, ask: Ask, module: MakeModule, target: Make, tmp_path: Path
) -> None:
    here, extracted = module("here"), module("extracted")
    (tmp_path / "go.work").write_text("go 1.24\n\nuse ./here\n")
    git(here.parent, "init", "-q")
    settings = ask(here).published(extracted)
    main = Main(".", "readonly", buildvcs=False)
    made = compile_target(settings, target(main="example.org/m@v1.0.0"), main, cache_dir=tmp_path / "cache")
    info = build_info(go, made.path)
    assert info["main"] == "(devel)"
    assert "vcs" not in info


def test_the_repository_is_stamped_clean_and_dirty(
    build: Build, module: MakeModule, target: Make, go: Toolchain
) -> None:
    folder = module()
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "one")
    git(folder, "tag", "v1.2.3")
    clean = build(folder, target())
    info = build_info(go, clean.path)
    assert (info["vcs"], info["vcs.revision"], info["vcs.modified"]) == (
        "git",
        git(folder, "rev-parse", "HEAD"),
        "false",
    )
    assert info["main"] == "v1.2.3"
    index = (folder / ".git" / "index").stat()
    (folder / "new.txt").write_text("x")
    dirty = build_info(go, build(folder, target()).path)
    assert (dirty["vcs.modified"], dirty["main"]) == ("true", "v1.2.3+dirty")
    assert (folder / ".git" / "index").stat() == index


def test_nothing_is_stamped_where_go_does_not_see_the_repository(
    build: Build, module: MakeModule, target: Make, go: Toolchain
) -> None:
    """In a worktree `.git` is a file; Go would stamp the commit of the repository around it."""
    around = module()
    git(around, "init", "-q")
    git(around, "add", ".")
    git(around, "commit", "-q", "-m", "one")
    git(around, "worktree", "add", "-q", "inside")
    assert "vcs" not in build_info(go, build(around / "inside", target()).path)


def test_the_user_s_git_settings_count(
    build: Build, module: MakeModule, target: Make, go: Toolchain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = module()
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "one")
    (folder / "editor.swp").write_text("x")
    home = tmp_path / "home"
    (home / ".config" / "git").mkdir(parents=True)
    (home / ".config" / "git" / "ignore").write_text("*.swp\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("GOCACHE", os.environ.get("GOCACHE") or str(Path("~root/.cache/go-build").expanduser()))
    assert build_info(go, build(folder, target()).path)["vcs.modified"] == "false"


def test_a_repository_that_git_refuses_is_explained(
    build: Build, module: MakeModule, target: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = module()
    (folder / ".git").mkdir()
    with pytest.raises(ToolError, match=r"git cannot read the state of .*: .*not a git repository") as caught:
        build(folder, target())
    assert "parts of .git are missing" in caught.value.hint


def test_foreign_ownership_is_explained(
    build: Build, module: MakeModule, target: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = module()
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "one")
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "git").write_text(f'#!/bin/sh\nGIT_TEST_ASSUME_DIFFERENT_OWNER=1 exec {shutil.which("git")} "$@"\n')
    (tools / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with pytest.raises(ToolError, match="dubious ownership") as caught:
        build(folder, target())
    assert "safe.directory" in caught.value.hint


def test_a_machine_without_git_is_explained(
    build: Build, module: MakeModule, target: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from imagekit.golang import environments

    folder = module()
    git(folder, "init", "-q")
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    monkeypatch.setattr(environments, "_SYSTEM_PATH", ())
    with pytest.raises(ToolError, match="there is no git") as caught:
        build(folder, target())
    assert "install git" in caught.value.hint


def test_processes_that_share_a_cache_do_not_hurt_each_other(module: MakeModule, tmp_path: Path) -> None:
    """Eight at once, of two sources that take turns in one folder: each file is what its digest says."""
    folder = module()
    script = """
import sys
from pathlib import Path
from imagekit.content import hash_file
from imagekit.golang.compile import compile_target
from imagekit.golang.environments import read_settings
from imagekit.golang.toolchain import find
from imagekit.platform import Platform
from imagekit.targets.target import Ldflags, Target, XValue
folder, cache, out, value = sys.argv[1:]
go = find()
settings = read_settings(go, Path(folder))
values = Ldflags(values=(XValue("main.version", value),))
target = Target(build="app", platform=Platform("linux", "amd64"), main=".", ldflags=values)
for number in range(3):
    place = Path(out) / f"{value}{number}"
    made = compile_target(settings, target, cache_dir=Path(cache), jobs=1, destination=place)
    assert (made.digest, made.size) == hash_file(made.path)
    assert made.relinked == "", made.relinked
"""

    def one(number: int) -> subprocess.CompletedProcess[str]:
        out = tmp_path / f"out{number}"
        argv = [sys.executable, "-c", script, str(folder), str(tmp_path / "cache"), str(out), f"v{number % 2}"]
        return subprocess.run(argv, capture_output=True, text=True, check=False)

    with ThreadPoolExecutor(4) as pool:
        for done in pool.map(one, range(4)):
            assert done.returncode == 0, done.stderr
    for number in range(4):
        assert output_of(tmp_path / f"out{number}" / f"v{number % 2}2") == f"v{number % 2}"


def wrapped(go: Toolchain, folder: Path, seconds: int) -> Toolchain:
    """A go command that starts a slow child of its own and waits for it."""
    program = folder / "slow-go"
    program.write_text(f"#!/bin/sh\necho $$ > {folder}/pid\nsleep {seconds} &\necho $! >> {folder}/pid\nwait\n")
    program.chmod(0o755)
    return Toolchain(program, go.version, go.goroot)


def test_a_thrown_switch_ends_every_child_and_leaves_no_half_file(
    go: Toolchain, ask: Ask, module: MakeModule, target: Make, tmp_path: Path
) -> None:
    folder = module()
    cancellation = Cancellation()
    timer = threading.Timer(0.5, cancellation.stop, [StoppedError("enough", exit_code=124)])
    timer.start()
    with pytest.raises(StoppedError):
        settings = msgspec.structs.replace(ask(folder), toolchain=wrapped(go, tmp_path, 60))
        compile_target(settings, target(), cache_dir=tmp_path / "cache", cancellation=cancellation)
    for pid in (tmp_path / "pid").read_text().split():
        assert not _alive(int(pid))
    (kept,) = (tmp_path / "cache" / "kept").iterdir()
    assert [path.name for path in kept.iterdir()] == ["lock"]
    made = compile_target(ask(folder), target(), cache_dir=tmp_path / "cache", cancellation=Cancellation())
    assert made.relinked == ""


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_killed_run_is_made_good_by_the_next(
    module: MakeModule, tmp_path: Path, go: Toolchain, ask: Ask, target: Make
) -> None:
    folder = module(**{"main.go": 'package main\n\nimport _ "net/http"\n\nfunc main() { println("whole") }\n'})
    script = (
        "import sys\nfrom pathlib import Path\nfrom imagekit.golang.compile import compile_target\n"
        "from imagekit.golang.environments import read_settings\nfrom imagekit.golang.toolchain import find\n"
        "from imagekit.platform import Platform\nfrom imagekit.targets.target import Target\n"
        "go = find(); settings = read_settings(go, Path(sys.argv[1]))\n"
        "target = Target(build='app', platform=Platform('linux', 'amd64'), main='.')\nprint('ready', flush=True)\n"
        "compile_target(settings, target, cache_dir=Path(sys.argv[2]))\n"
    )
    cache = tmp_path / "cache"
    for moment in (0.05, 0.15, 0.3, 0.45):
        child = subprocess.Popen([sys.executable, "-c", script, folder, cache], stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(moment)
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        made = compile_target(ask(folder), target(), cache_dir=cache)
        assert "changed after its link" not in made.relinked
        assert output_of(made.path) == "whole"
        assert sorted(path.name for path in made.path.parent.iterdir()) == ["app", "app.json", "lock"]
        shutil.rmtree(cache)


def test_cgo_allowed_uses_the_c_compiler_of_the_system(
    build: Build, module: MakeModule, target: Make, go: Toolchain
) -> None:
    source = (
        'package main\n\n// static int seven(void) { return 7; }\nimport "C"\n\nfunc main() { println(C.seven()) }\n'
    )
    made = build(module(**{"main.go": source}), target(cgo=Cgo.ALLOW))
    assert output_of(made.path) == "7"
    assert build_info(go, made.path)["CGO_ENABLED"] == "1"
