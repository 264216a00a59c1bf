"""Modules from a proxy that is a folder: fetched, verified, vendored, published; and one real program."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagekit.errors import ImagekitError, IntegrityError, NetworkError, ToolError, UnreadableError, UsageError
from imagekit.golang import modules
from imagekit.golang.download import failure
from imagekit.source import published as source

pytestmark = pytest.mark.real

Files = dict[str, str]
LIB: Files = {
    "go.mod": "module example.test/lib\n\ngo 1.21\n",
    "lib.go": """package lib

import _ "embed"

//go:embed words/a.txt
var Words string

func Name() string { return "lib" }
""",
    "words/a.txt": "a",
    "gen.go": "//go:build ignore\n\npackage main\n",
    "lib_test.go": "package lib\n",
    "LICENSE": "licence",
}
UNUSED: Files = {"go.mod": "module example.test/unused\n\ngo 1.21\n", "unused.go": "package unused\n"}
MAIN = 'package main\n\nimport "example.test/lib"\n\nfunc main() { println(lib.Name()) }\n'
APP: Files = {
    "go.mod": "module example.test/app\n\ngo 1.21\n\nrequire example.test/lib v1.0.0\n",
    "cmd/app/main.go": MAIN,
}


def zip_bytes(path: Path, module: str, version: str, files: Files) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in sorted(files.items()):
            archive.writestr(f"{module}@{version}/{name}", text)


def h1(names: dict[str, bytes]) -> str:
    lines = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in sorted(names.items()))
    return "h1:" + base64.b64encode(hashlib.sha256(lines.encode()).digest()).decode()


def go_sum(module: str, version: str, files: Files) -> str:
    """The two lines, hashed here as the format says it."""
    top = {f"{module}@{version}/{name}": text.encode() for name, text in files.items()}
    mod = {"go.mod": files["go.mod"].encode()}
    return f"{module} {version} {h1(top)}\n{module} {version}/go.mod {h1(mod)}\n"


class Site:
    """A module proxy in a folder, a module cache, a cache directory, and a folder to work in."""

    def __init__(self, tmp_path: Path) -> None:
        self.top = tmp_path
        self.proxy = tmp_path / "proxy"
        self.cache = tmp_path / "imagekit cache"
        self.work = tmp_path / "work"
        self.work.mkdir()
        self.go = Path(shutil.which("go") or "go")
        self.publish("example.test/lib", "v1.0.0", LIB)
        self.publish("example.test/lib", "v1.1.0", {**LIB, "lib.go": LIB["lib.go"].replace('"lib"', '"lib 1.1"')})
        self.publish("example.test/unused", "v1.0.0", UNUSED)
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path / "home"),
            "GOENV": "off",
            "GOFLAGS": "-modcacherw",
            "GOTOOLCHAIN": "local",
            "GOSUMDB": "off",
            "GOPROXY": self.proxy.as_uri(),
            "GOMODCACHE": str(tmp_path / "modcache"),
            "GOCACHE": os.environ.get("GOCACHE") or str(Path.home() / ".cache" / "go-build"),
        }

    def publish(self, module: str, version: str, files: Files) -> None:
        folder = self.proxy / module / "@v"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{version}.info").write_text(json.dumps({"Version": version, "Time": "2024-01-02T03:04:05Z"}))
        (folder / f"{version}.mod").write_text(files.get("go.mod", f"module {module}\n"))
        zip_bytes(folder / f"{version}.zip", module, version, files)

    def write(self, files: Files, inside: str = "") -> Path:
        for name, text in files.items():
            path = self.work / inside / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return self.work / inside

    def settings(self, folder: Path) -> dict[str, str]:
        argv = [self.go, "env", "-json"]
        answer = subprocess.run(argv, cwd=folder, env=self.env, check=True, capture_output=True)
        found: dict[str, str] = json.loads(answer.stdout)
        return found

    def files(self, folder: Path) -> modules.ModuleFiles:
        return modules.read_files(self.settings(folder))

    def fetch(self, files: modules.ModuleFiles, force: bool = False, **env: str) -> modules.Fetched:
        return modules.fetch(self.go, files, env={**self.env, **env}, cache_dir=self.cache, force=force)

    def verify(self, files: modules.ModuleFiles, fetched: modules.Fetched, force: bool = False) -> bool:
        return modules.verify(self.go, files, fetched, env=self.env, cache_dir=self.cache, force=force)

    def vendor(self, files: modules.ModuleFiles, **env: str) -> list[tuple[str, str]]:
        found = modules.check_vendor(self.go, files, env={**self.env, **env}, cache_dir=self.cache)
        return [(one.rule, one.message) for one in found]

    def published(self, spec: str, force: bool = False, **env: str) -> modules.PublishedModule:
        environment = {**self.env, **env}
        known = {"settings": environment, "env": environment, "cache_dir": self.cache, "force": force}
        return modules.published(self.go, spec, **known)  # type: ignore[arg-type]  # one table for two callers

    def run(self, folder: Path, *words: str) -> str:
        answer = subprocess.run([self.go, *words], cwd=folder, env=self.env, capture_output=True, text=True)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout + answer.stderr

    def tree(self) -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in sorted(self.work.rglob("*")) if path.is_file()}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    found = Site(tmp_path)
    yield found
    if (found.cache / "published").is_dir():
        for root in (found.cache / "published").iterdir():
            if root.is_dir():
                source.remove(root)


@pytest.fixture
def app(site: Site) -> Path:
    return site.write({**APP, "go.sum": go_sum("example.test/lib", "v1.0.0", LIB)})


NOWHERE = {"GOPROXY": "http://127.0.0.1:1"}


def test_what_is_required_is_fetched_once(site: Site, app: Path) -> None:
    before = site.tree()
    files = site.files(app)
    fetched = site.fetch(files)
    assert [(one.path, one.version) for one in fetched.modules] == [("example.test/lib", "v1.0.0")]
    assert Path(fetched.modules[0].dir, "lib.go").is_file()
    assert not fetched.again
    assert site.fetch(files, **NOWHERE).again
    assert site.tree() == before
    assert list((site.cache / "scratch").iterdir()) == []


def test_what_is_gone_from_the_cache_is_fetched_again(site: Site, app: Path) -> None:
    files = site.files(app)
    first = site.fetch(files)
    shutil.rmtree(site.top / "modcache")
    second = site.fetch(files)
    assert not second.again
    assert second.modules == first.modules
    assert not site.fetch(files, force=True).again


def test_a_changed_go_mod_is_fetched_again(site: Site, app: Path) -> None:
    site.fetch(site.files(app))
    (app / "go.mod").write_text(APP["go.mod"] + "\nrequire example.test/unused v1.0.0\n")
    assert len(site.fetch(site.files(app)).modules) == 2


def test_missing_go_sum_lines_stay_missing(site: Site) -> None:
    app = site.write({**APP, "go.sum": ""})
    before = site.tree()
    assert len(site.fetch(site.files(app)).modules) == 1
    assert site.tree() == before


def test_a_module_without_requirements_needs_no_process(site: Site) -> None:
    app = site.write({"go.mod": "module example.test/app\n\ngo 1.21\n", "main.go": "package main\n\nfunc main() {}\n"})
    files = site.files(app)
    site.go = Path("/nonexistent/go")
    fetched = site.fetch(files)
    assert fetched.modules == ()
    assert not site.verify(files, fetched)


def test_replacements_by_folder_and_by_version(site: Site) -> None:
    site.write(UNUSED, "beside")
    replaced = "\nrequire example.test/unused v1.0.0\nreplace example.test/unused => ../beside\n"
    replaced += "replace example.test/lib => example.test/lib v1.1.0\n"
    app = site.write({**APP, "go.mod": APP["go.mod"] + replaced}, "app")
    before = site.tree()
    files = site.files(app)
    assert [(one.path, one.version) for one in site.fetch(files).modules] == [("example.test/lib", "v1.1.0")]
    assert [(path.name, one.path, one.local) for path, one in files.replaces] == [
        ("go.mod", "example.test/unused", True),
        ("go.mod", "example.test/lib", False),
    ]
    assert site.tree() == before


def test_a_workspace(site: Site) -> None:
    app = site.write({**APP, "go.sum": go_sum("example.test/lib", "v1.0.0", LIB)}, "with space/app")
    other = {
        "go.mod": "module example.test/other\n\ngo 1.21\n\nrequire example.test/app v0.0.0\n",
        "o.go": "package o\n",
    }
    site.publish("example.test/app", "v0.0.0", APP)  # Go reads the go.mod of a required version even here
    site.write(other, "other")
    site.write(UNUSED, "unused")
    work = 'go 1.21\n\nuse "./with space/app"\nuse ./other\nreplace example.test/unused => ./unused\n'
    site.write({"go.work": work})
    before = site.tree()
    files = site.files(app)
    assert [mod.module for mod in files.mods] == ["example.test/app", "example.test/other"]
    fetched = site.fetch(files)
    assert [one.path for one in fetched.modules] == ["example.test/lib"]
    assert site.verify(files, fetched)
    assert site.fetch(files).again
    assert site.tree() == before


def test_before_go_1_17_all_modules_are_fetched(site: Site) -> None:
    app = site.write({**APP, "go.mod": APP["go.mod"].replace("1.21", "1.16")}, "app")
    site.write({"go.work": "go 1.21\n\nuse ./app\n"})
    assert [one.path for one in site.fetch(site.files(app)).modules] == ["example.test/lib"]


def test_another_zip_than_go_sum_says_is_an_integrity_error(site: Site, app: Path) -> None:
    site.publish("example.test/lib", "v1.0.0", {**LIB, "lib.go": LIB["lib.go"] + "// backdoor\n"})
    with pytest.raises(IntegrityError, match="checksum mismatch"):
        site.fetch(site.files(app))


FAILURES: dict[str, tuple[dict[str, str], type[ImagekitError], str]] = {
    "no proxy allowed": ({"GOPROXY": "off"}, NetworkError, "GOPROXY allows no request"),
    "nobody listens": (NOWHERE, NetworkError, "connection refused"),
    "no such version": ({}, ToolError, "example.test/lib@v1.0.7"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_why_modules_could_not_be_fetched(case: str, site: Site) -> None:
    env, kind, message = FAILURES[case]
    version = "v1.0.7" if case == "no such version" else "v1.0.0"
    app = site.write({**APP, "go.mod": APP["go.mod"].replace("v1.0.0", version)})
    with pytest.raises(kind, match=message) as caught:
        site.fetch(site.files(app), **env)
    assert caught.value.hint


def test_go_s_own_words_are_escaped() -> None:
    assert "\x1b" not in failure(["a\x1b[2Jb\n::error::x"]).message


def test_outside_of_a_module(site: Site) -> None:
    with pytest.raises(UsageError, match=r"no go\.mod"):
        site.files(site.work)


def test_verified_once_for_each_state_of_the_cache(site: Site, app: Path) -> None:
    files = site.files(app)
    fetched = site.fetch(files)
    assert site.verify(files, fetched)
    assert not site.verify(files, fetched)
    assert site.verify(files, fetched, force=True)


def test_a_modified_module_is_found(site: Site, app: Path) -> None:
    files = site.files(app)
    fetched = site.fetch(files)
    site.verify(files, fetched)
    folder = Path(fetched.modules[0].dir)
    (folder / "words" / "a.txt").write_text("A")
    with pytest.raises(IntegrityError, match="has been modified"):
        site.verify(files, fetched, force=True)
    (folder / "extra.go").write_text("package lib\n")  # changes the top folder, so that nobody has to force it
    with pytest.raises(IntegrityError, match="has been modified"):
        site.verify(files, fetched)


@pytest.fixture
def vendored(site: Site, app: Path) -> Path:
    site.run(app, "mod", "vendor")
    return app


def test_what_go_vendors_is_clean(site: Site, vendored: Path) -> None:
    files = site.files(vendored)
    assert site.vendor(files) == []
    site.go = Path("/nonexistent/go")
    shutil.rmtree(site.top / "modcache")
    assert site.vendor(files) == []  # kept, as long as no file changes


@pytest.mark.parametrize("name", ["lib.go", "words/a.txt"])
def test_a_tampered_vendor_folder_is_found_where_go_finds_nothing(name: str, site: Site, vendored: Path) -> None:
    assert site.vendor(site.files(vendored)) == []
    with (vendored / "vendor/example.test/lib" / name).open("a") as stream:
        stream.write("// changed\n")
    assert "all modules verified" in site.run(vendored, "mod", "verify")
    ((rule, message),) = site.vendor(site.files(vendored))
    assert rule == "vendor-mismatch"
    assert f"vendor/ is not what go.sum vouches for: example.test/lib/{name} differs" in message


def test_zips_that_the_cache_lacks_are_fetched_or_missed(site: Site, vendored: Path) -> None:
    before = site.tree()
    shutil.rmtree(site.top / "modcache")
    ((rule, message),) = site.vendor(site.files(vendored), **NOWHERE)
    assert (rule, "its zip cannot be had" in message) == ("vendor-unverified", True)
    assert site.vendor(site.files(vendored)) == []
    assert site.tree() == before


def test_a_vendored_workspace(site: Site) -> None:
    app = site.write({**APP, "go.sum": go_sum("example.test/lib", "v1.0.0", LIB)}, "app")
    site.write({"go.work": "go 1.22\n\nuse ./app\n"})
    site.run(site.work, "work", "vendor")
    files = site.files(app)
    assert files.vendor_dir == site.work / "vendor"
    assert site.vendor(files) == []
    (site.work / "vendor/example.test/lib/lib.go").write_text("package lib\n")
    assert [rule for rule, _ in site.vendor(files)] == ["vendor-mismatch"]


def test_no_vendor_folder(site: Site, app: Path) -> None:
    with pytest.raises(UnreadableError, match=r"modules\.txt"):
        site.vendor(site.files(app))


SUMS = go_sum("example.test/lib", "v1.0.0", LIB)
REPLACED = {
    **APP,
    "go.mod": APP["go.mod"] + "\nreplace example.test/lib => example.test/lib v1.1.0\n",
    "go.sum": go_sum("example.test/lib", "v1.1.0", {**LIB, "lib.go": LIB["lib.go"].replace('"lib"', '"lib 1.1"')}),
}


def test_a_published_program_is_extracted_and_builds(site: Site) -> None:
    site.publish("example.test/app", "v1.2.3", REPLACED)
    found = site.published("example.test/app/cmd/app@v1.2.3")
    assert (found.module, found.version, found.main) == ("example.test/app", "v1.2.3", "./cmd/app")
    assert found.time == 1704164645
    lines = [f"{module} {version} {value}\n" for (module, version), value in found.go_sum.sums.items()]
    assert "".join(sorted(lines)) == go_sum("example.test/app", "v1.2.3", REPLACED)
    assert found.root.stat().st_mode & 0o777 == 0o555
    site.run(found.root, "build", "-mod=readonly", "-buildvcs=false", "-o", str(site.top / "out"), found.main)
    said = subprocess.run([site.top / "out"], capture_output=True, check=True).stderr
    assert said == b"lib 1.1\n"  # the module's own replacement counts


def test_the_second_time_there_is_no_process(site: Site) -> None:
    site.publish("example.test/app", "v1.2.3", {**APP, "go.sum": SUMS})
    first = site.published("example.test/app/cmd/app@v1.2.3")
    site.go = Path("/nonexistent/go")
    assert site.published("example.test/app/cmd/app@v1.2.3") == first


def test_a_changed_extraction_is_found_when_forced(site: Site) -> None:
    site.publish("example.test/app", "v1.2.3", {**APP, "go.sum": SUMS})
    first = site.published("example.test/app/cmd/app@v1.2.3")
    assert site.published("example.test/app/cmd/app@v1.2.3", force=True) == first
    main = first.root / "cmd/app/main.go"
    main.chmod(0o644)
    main.write_text("package main\n")
    with pytest.raises(IntegrityError, match="was changed"):
        site.published("example.test/app/cmd/app@v1.2.3", force=True)


def test_the_longest_module_that_has_the_package_wins(site: Site) -> None:
    inner = {"go.mod": "module example.test/app/cmd\n\ngo 1.21\n", "app/main.go": "package main\n"}
    site.publish("example.test/app", "v1.2.3", {**APP, "go.sum": SUMS})
    site.publish("example.test/app/cmd", "v1.2.3", inner)
    site.publish("example.test/app/cmd", "v1.2.4", {"go.mod": inner["go.mod"], "other/main.go": "package main\n"})
    site.publish("example.test/app", "v1.2.4", {**APP, "go.sum": SUMS})
    site.publish("example.test/app", "v1.2.5", {**APP, "go.sum": SUMS})
    found = [site.published(f"example.test/app/cmd/app@v1.2.{patch}") for patch in (3, 4, 5)]
    assert [one.module for one in found] == ["example.test/app/cmd", "example.test/app", "example.test/app"]
    assert [one.main for one in found] == ["./app", "./cmd/app", "./cmd/app"]


def test_a_program_at_the_top_of_its_module(site: Site) -> None:
    site.publish(
        "example.test/top", "v1.0.0", {"go.mod": "module example.test/top\n\ngo 1.21\n", "m.go": "package main\n"}
    )
    assert site.published("example.test/top@v1.0.0").main == "."


REFUSED: dict[str, tuple[str, type[ImagekitError], str]] = {
    "latest": ("example.test/app/cmd/app@latest", UsageError, "not one fixed version"),
    "a branch": ("example.test/app/cmd/app@main", UsageError, "not one fixed version"),
    "a short version": ("example.test/app/cmd/app@v1", UsageError, "not one fixed version"),
    "no version": ("example.test/app/cmd/app", UsageError, "is not package@version"),
    "a flag": ("-x@v1.0.0", UsageError, "is not package@version"),
    "the standard library": ("cmd/go@v1.0.0", UsageError, "in no published module"),
    "no such version": ("example.test/app/cmd/app@v9.9.9", UsageError, "no module has"),
    "no such package": ("example.test/app/cmd/nope@v1.2.3", UsageError, "has no package"),
    "only tests": ("example.test/app/tests@v1.2.3", UsageError, "has no package"),
    "a folder beside it": ("example.test/local/app@v1.0.0", UsageError, r"go\.mod:7 replaces example\.test/lib"),
    "no go.sum": ("example.test/sumless/app@v1.0.0", UsageError, r"without go\.sum"),
    "no go.mod": ("example.test/modless/app@v1.0.0", UsageError, r"has no go\.mod"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_built_as_published(case: str, site: Site) -> None:
    local = APP["go.mod"].replace("/app", "/local") + "\nreplace example.test/lib => ../lib\n"
    site.publish("example.test/app", "v1.2.3", {**APP, "go.sum": SUMS, "tests/a_test.go": "package tests\n"})
    site.publish("example.test/local", "v1.0.0", {"go.mod": local, "app/main.go": MAIN, "go.sum": SUMS})
    sumless = APP["go.mod"].replace("/app", "/sumless")
    site.publish("example.test/sumless", "v1.0.0", {"go.mod": sumless, "app/main.go": MAIN})
    site.publish("example.test/modless", "v1.0.0", {"app/main.go": "package main\n"})
    spec, kind, message = REFUSED[case]
    with pytest.raises(kind, match=message) as caught:
        site.published(spec)
    assert caught.value.hint


def test_no_proxy_for_a_published_program(site: Site) -> None:
    for env in (NOWHERE, {"GOPROXY": "off"}):
        with pytest.raises(NetworkError):
            site.published("example.test/app/cmd/app@v1.2.3", **env)


def test_a_real_published_program(tmp_path: Path) -> None:
    go = Path(shutil.which("go") or "go")
    settings = json.loads(subprocess.run([go, "env", "-json"], cwd=tmp_path, check=True, capture_output=True).stdout)
    env = {**os.environ, "GOFLAGS": ""}
    known = {"settings": settings, "env": env, "cache_dir": tmp_path}
    env["GOPROXY"] = settings["GOPROXY"]
    found = modules.published(go, "github.com/google/go-containerregistry/cmd/crane@v0.22.1", **known)
    assert (found.module, found.main) == ("github.com/google/go-containerregistry", "./cmd/crane")
    assert found.h1 == "h1:RZuuSYhTvlDvtsK+NkutoCZ//C0X2ebLK8X8l3ULs84="
    files = modules.read_files({**settings, "GOMOD": str(found.root / "go.mod"), "GOWORK": ""})
    fetched = modules.fetch(go, files, env=env, cache_dir=tmp_path)
    assert {"github.com/docker/cli", "golang.org/x/sync"} <= {one.path for one in fetched.modules}
    source.remove(found.root)
