"""What a configuration asks for is what is built, or the refusal says which line it is about."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

REPLY = re.compile(r"[a-z0-9./:-]+@sha256:[0-9a-f]{64}")

PROGRAM = """package main

import "fmt"

var (
	version = "unset"
	unused  string
)

func main() {
	fmt.Println("1", version)
}
"""
MODULE = "module example.org/app\n\ngo 1.23\n"


def config(*lines: str, platforms: str = "linux/amd64") -> str:
    """An imagekit.yaml of one build, whose first lines are always the same four."""
    head = ["version: 1", "builds:", "  - id: app", f"    platforms: [{platforms}]"]
    return "\n".join([*head, *(f"    {line}" for line in lines), ""])


def files(*lines: str, platforms: str = "linux/amd64", **others: str) -> dict[str, str]:
    return {
        "go.mod": MODULE,
        "main.go": PROGRAM,
        "imagekit.yaml": config(*lines, platforms=platforms),
        **{name.replace("__", "/").replace("_go", ".go"): content for name, content in others.items()},
    }


def ran(*words: str | Path) -> str:
    return subprocess.run([*map(str, words)], check=True, capture_output=True, text=True).stdout


def go(*words: str | Path, cwd: Path, **environment: str) -> str:
    """Go as a user runs it; what it prints."""
    environment = {**os.environ, "GOFLAGS": "", **environment}
    done = subprocess.run(
        ["go", *map(str, words)], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def commit(place: Path) -> None:
    """Everything that is in the folder."""
    ran("git", "-C", place, "add", "-A", "-f")
    ran("git", "-C", place, "-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-qm", "more")


def findings(place: Path) -> dict[str, list[str]]:
    """Rule -> messages, from dist/audit.json."""
    found: dict[str, list[str]] = {}
    audit = json.loads((place / "dist/audit.json").read_text())
    for subject in audit["subjects"]:
        for finding in subject["findings"]:
            found.setdefault(finding["rule"], []).append(finding["message"])
    return found


def settings(program: Path) -> dict[str, str]:
    """The build settings in a program, as Go itself reads them."""
    lines = (line.split("\t") for line in ran("go", "version", "-m", program).splitlines())
    return dict(words[2].split("=", 1) for words in lines if words[1:2] == ["build"])


# --- -X values --------------------------------------------------------------------------------------------------------

WRONG = {
    "no such variable": ('{main.verison: "1.4.0"}', ["-X main.verison", "no such string variable", "1.4.0"]),
    "a short value that stands elsewhere": ('{main.verison: "1"}', ["-X main.verison", "no such string variable"]),
    "another package": ('{example.org/other.version: "1"}', ["-X example.org/other.version"]),
    "the import path instead of main": ('{example.org/app.version: "1"}', ["write main.version"]),
    "no string": ('{main.main: "1"}', ["-X main.main"]),
    "a variable that nothing reads": ('{main.unused: "1.4.0"}', ["-X main.unused", "nothing reads the variable"]),
}


@pytest.mark.parametrize("strip", ["false", "true"], ids=["symbols", "stripped"])
@pytest.mark.parametrize("case", WRONG)
def test_an_x_value_that_did_not_arrive(project, imagekit, case: str, strip: str):
    values, words = WRONG[case]
    place = project(files("ldflags:", f"  strip: {strip}", f"  set: {values}"))
    done = imagekit("build", cwd=place)
    assert (done.returncode, done.stdout) == (10, ""), done.stderr
    for word in ("x-value", "imagekit.yaml:7", *words):
        assert word in done.stderr, done.stderr
    assert not (place / "dist").exists()


@pytest.mark.parametrize("strip", ["false", "true"], ids=["symbols", "stripped"])
def test_x_values_that_arrive_everywhere(project, imagekit, strip: str):
    platforms = "linux/amd64, linux/arm64, darwin/arm64, windows/amd64"
    place = project(files(f"ldflags: {{strip: {strip}, set: {{main.version: '1'}}}}", platforms=platforms))
    done = imagekit("build", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "x-value" not in findings(place)
    assert ran(place / "dist/bin/linux_amd64/app") == "1 1\n"
    assert ran("qemu-aarch64-static", place / "dist/bin/linux_arm64/app") == "1 1\n"
    sections = ran("readelf", "--sections", "--wide", place / "dist/bin/linux_amd64/app")
    assert (".symtab" in sections) == (strip == "false")


# --- the matrix -------------------------------------------------------------------------------------------------------


def test_overrides_tags_and_files(project, imagekit):
    extra = 'package main\n\nfunc init() { version = "systemd" }\n'
    lines = ("tags: [netgo]", "overrides:", '  - select: "linux/*"', "    tags: {append: [systemd]}")
    constrained = f"//go:build systemd\n\n{extra}"
    place = project(files(*lines, platforms="linux/amd64, windows/amd64", extra_go=constrained))
    done = imagekit("build", cwd=place)
    assert done.returncode == 0, done.stderr
    assert ran(place / "dist/bin/linux_amd64/app") == "1 systemd\n"
    assert settings(place / "dist/bin/linux_amd64/app")["-tags"] == "netgo,systemd"
    assert settings(place / "dist/bin/windows_amd64/app.exe")["-tags"] == "netgo"


REFUSED = {
    "an override that matches nothing": (
        ["overrides:", '  - select: "freebsd/*"', "    tags: [x]"],
        ":6:",
        "freebsd/*",
    ),
    "a flag outside the list": (["flags: [-toolexec=/bin/true]"], ":5:", "-toolexec"),
    "a linker flag outside the list": (["ldflags: {flags: [-extld=/bin/true]}"], ":5:", "-extld"),
    "a variable outside the list": (["env: {GOFLAGS: -mod=mod}"], ":5:", "GOFLAGS"),
    "a template with a statement": (["ldflags: {set: {main.version: '{% for x in y %}'}}"], ":5:", ""),
    "an undefined name": (["ldflags: {set: {main.version: '{{ nothing }}'}}"], ":5:", "nothing"),
    "an unknown key": (["flag: []"], ":5:", "flag"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_file_and_line(project, imagekit, case: str):
    lines, where, word = REFUSED[case]
    place = project(files(*lines))
    done = imagekit("build", cwd=place)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert f"imagekit.yaml{where}" in done.stderr
    assert word in done.stderr


def test_what_is_unsafe_is_a_finding(project, imagekit):
    place = project(files("unsafe: {flags: [-v], env: {GOGC: '50'}}"))
    done = imagekit("build", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "unsafe" in findings(place)
    assert imagekit("build", "--fail-on", "warning", cwd=place).returncode == 10


def test_only_the_selected_targets_are_built(module, imagekit):
    place = module("hello")
    done = imagekit("build", "--target", "linux/*", "--target", "!linux/arm", cwd=place)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (place / "dist/bin").iterdir()) == ["linux_amd64", "linux_arm64"]
    listed = json.loads((place / "dist/artifacts.json").read_text())
    assert {entry["target"] for entry in listed["artifacts"]} == {"", "hello:linux/amd64", "hello:linux/arm64"}


def test_a_selector_that_selects_nothing(module, imagekit):
    place = module("hello")
    done = imagekit("build", "--target", "plan9/*", cwd=place)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert "plan9" in done.stderr.splitlines()[-1]


# --- stdout -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def two_programs(project) -> Path:
    """A module with two main packages and no configuration."""
    main = 'package main\n\nfunc main() { println("%s") }\n'
    return project(
        {
            "go.mod": MODULE,
            "cmd/one/main.go": main % "one",
            "cmd/two/main.go": main % "two",
            "internal/main/lib.go": "package lib\n",
        }
    )


def test_no_configuration_two_programs_two_lines(two_programs, imagekit):
    done = imagekit("build", cwd=two_programs)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.partition("@")[0] for line in lines] == ["imagekit.local/one", "imagekit.local/two"]
    assert all(REPLY.fullmatch(line) for line in lines)
    for name in ("one", "two"):
        assert (two_programs / f"dist/Dockerfile.{name}").is_file()
        for platform in ("linux_amd64", "linux_arm64"):
            assert (two_programs / "dist/bin" / platform / name).is_file()


def test_a_named_package_is_the_only_one(two_programs, imagekit):
    done = imagekit("build", "./cmd/two", cwd=two_programs)
    assert done.returncode == 0, done.stderr
    assert [line.partition("@")[0] for line in done.stdout.splitlines()] == ["imagekit.local/two"]


def test_references_in_a_file_too(two_programs, imagekit, tmp_path):
    done = imagekit("build", "--image-refs", tmp_path / "refs", cwd=two_programs)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "refs").read_text() == done.stdout
    assert len(done.stdout.splitlines()) == 2


def test_json_is_all_that_stands_on_stdout(two_programs, imagekit):
    done = imagekit("build", "--format", "json", cwd=two_programs)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads((two_programs / "dist/artifacts.json").read_text())


def test_the_compressor_of_every_image_is_recorded(project, imagekit):
    images = (
        "images:\n  - {id: app, build: app}\n  - {id: other, build: app, compression: {algorithm: zstd, level: 5}}\n"
    )
    sources = files()
    place = project(sources | {"imagekit.yaml": sources["imagekit.yaml"] + images})
    done = imagekit("build", cwd=place)
    assert done.returncode == 0, done.stderr
    recorded = json.loads((place / "dist/artifacts.json").read_text())["images"]
    gzip, zstd = (re.escape(f"{name} {version(name)}") for name in ("isal", "zstandard"))
    assert re.fullmatch(rf"{gzip} level 2, sample [0-9a-f]{{8}}", recorded[0]["compression"])
    assert re.fullmatch(rf"{zstd} \(zstd [0-9.]+\) level 5", recorded[1]["compression"])


def test_dist_is_what_its_lists_say(two_programs, imagekit):
    assert imagekit("build", cwd=two_programs).returncode == 0
    dist = two_programs / "dist"
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=dist, check=True)
    listed = {line.partition("  ")[2] for line in (dist / "SHA256SUMS").read_text().splitlines()}
    there = {path.relative_to(dist).as_posix() for path in dist.rglob("*") if path.is_file()}
    assert there - listed == {"SHA256SUMS", ".gitignore"}
    artifacts = {entry["path"] for entry in json.loads((dist / "artifacts.json").read_text())["artifacts"]}
    assert artifacts <= listed


# --- sources ----------------------------------------------------------------------------------------------------------

DEPENDENT = """package main

import "github.com/pkg/errors"

func main() { println(errors.New("from a module").Error()) }
"""
REQUIRING = "module example.org/app\n\ngo 1.23\n\nrequire github.com/pkg/errors v0.9.1\n"
SUMS = """github.com/pkg/errors v0.9.1 h1:FEBLx1zS214owpjy7qsBeixbURkuhQAwrK5UwLGTwt4=
github.com/pkg/errors v0.9.1/go.mod h1:bwawxfHBFNV+L2hUp1rHADufV3IMtnDRdf1r5NINEl0=
"""


@pytest.fixture
def dependent(project) -> Path:
    """A module with one published dependency."""
    return project({"go.mod": REQUIRING, "go.sum": SUMS, "main.go": DEPENDENT, "imagekit.yaml": config()})


def test_a_vendored_build_passes_and_a_tampered_one_does_not(dependent, imagekit):
    go("mod", "vendor", cwd=dependent)
    commit(dependent)
    done = imagekit("build", cwd=dependent)
    assert done.returncode == 0, done.stderr
    assert findings(dependent) == {}
    tampered = dependent / "vendor/github.com/pkg/errors/errors.go"
    tampered.write_text(tampered.read_text() + "\nfunc init() { println(1) }\n")
    commit(dependent)
    assert "all modules verified" in go("mod", "verify", cwd=dependent), "Go does not look there"
    before = (dependent / "dist/SHA256SUMS").read_bytes()
    done = imagekit("build", cwd=dependent)
    assert (done.returncode, done.stdout) == (10, ""), done.stderr
    assert "vendor-mismatch" in done.stderr
    assert "errors.go" in done.stderr
    assert (dependent / "dist/SHA256SUMS").read_bytes() == before


WEAK = {
    "sumdb-off": ({"GOSUMDB": "off"}, "GOSUMDB=off"),
    "sumdb-off by pattern": ({"GONOSUMDB": "github.com/pkg"}, "github.com/pkg/errors"),
}


@pytest.mark.parametrize("case", WEAK)
def test_settings_that_weaken_the_source_are_findings(dependent, imagekit, case: str):
    environment, word = WEAK[case]
    done = imagekit("build", cwd=dependent, **environment)
    assert done.returncode == 0, done.stderr
    assert "sumdb-off" in done.stderr
    assert word in done.stderr
    assert any(word in message for message in findings(dependent)["sumdb-off"])
    assert imagekit("build", "--fail-on", "warning", cwd=dependent, **environment).returncode == 10


def test_a_wrong_sum_is_an_integrity_error(dependent, imagekit):
    (dependent / "go.sum").write_text(SUMS.replace("FEBLx1zS", "AAAAAAAA"))
    done = imagekit("build", cwd=dependent)
    assert (done.returncode, done.stdout) == (5, ""), done.stderr
    assert "github.com/pkg/errors" in done.stderr
    assert not (dependent / "dist").exists()


def test_a_local_replacement_is_a_finding_and_works(project, imagekit):
    place = project(
        {
            "go.mod": "module example.org/app\n\ngo 1.23\n\nrequire example.org/lib v1.0.0\n\n"
            "replace example.org/lib => ./lib\n",
            "main.go": 'package main\n\nimport "example.org/lib"\n\nfunc main() { println(lib.Name) }\n',
            "lib/go.mod": "module example.org/lib\n\ngo 1.23\n",
            "lib/lib.go": 'package lib\n\nconst Name = "replaced"\n',
            "imagekit.yaml": config(),
        }
    )
    done = imagekit("build", cwd=place)
    assert done.returncode == 0, done.stderr
    [message] = findings(place)["local-replace"]
    assert "./lib" in message
    assert "go.mod:7" in done.stderr


def test_a_workspace(project, imagekit):
    place = project(
        {
            "go.work": "go 1.23\n\nuse (\n\t./app\n\t./lib\n)\n",
            "app/go.mod": "module example.org/app\n\ngo 1.23\n",
            "app/main.go": 'package main\n\nimport "example.org/lib"\n\nfunc main() { println(lib.Name) }\n',
            "lib/go.mod": "module example.org/lib\n\ngo 1.23\n",
            "lib/lib.go": 'package lib\n\nconst Name = "in the workspace"\n',
            "imagekit.yaml": config("dir: app"),
        }
    )
    done = imagekit("build", cwd=place)
    assert done.returncode == 0, done.stderr
    said = subprocess.run([place / "dist/bin/linux_amd64/app"], capture_output=True, text=True, check=True).stderr
    assert said == "in the workspace\n"
    assert findings(place) == {}


def test_the_pieces_of_a_published_program(imagekit, tmp_path):
    """Its own name and version stand on the image; it opens no TLS connection of its own, and asks for no zone."""
    published = "github.com/google/go-containerregistry/cmd/registry@v0.22.1"
    done = imagekit("build", "--target", "linux/amd64", published, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("imagekit.local/registry@sha256:")
    blobs = tmp_path / "dist/oci/blobs/sha256"
    image, *_ = json.loads((tmp_path / "dist/oci/index.json").read_text())["manifests"]
    index = json.loads((blobs / image["digest"].removeprefix("sha256:")).read_text())
    manifest = json.loads((blobs / index["manifests"][0]["digest"].removeprefix("sha256:")).read_text())
    built = json.loads((blobs / manifest["config"]["digest"].removeprefix("sha256:")).read_text())
    assert built["config"]["Labels"]["imagekit.module.version"] == "v0.22.1"
    assert built["created"] > "2020", "the time of the published version"
    comments = {entry["created_by"]: entry.get("comment", "") for entry in built["history"]}
    assert "imagekit: tzdata" not in comments
    assert "crypto/x509 is linked" in comments["imagekit: ca"]
    assert "imagekit: program" in comments


# --- prebuilt programs ------------------------------------------------------------------------------------------------


@pytest.fixture
def prebuilt(project) -> Path:
    """A project whose programs another builder makes: both are there, and static."""
    lines = ("prebuilt: 'out/{{ os }}_{{ arch }}/app'",)
    place = project({"imagekit.yaml": config(*lines, platforms="linux/amd64, linux/arm64"), ".gitignore": "out/\n"})
    source = place / "out/source"
    source.mkdir(parents=True)
    (source / "go.mod").write_text(MODULE)
    (source / "main.go").write_text(PROGRAM)
    for arch in ("amd64", "arm64"):
        go("build", "-o", f"../linux_{arch}/app", ".", cwd=source, CGO_ENABLED="0", GOOS="linux", GOARCH=arch)
    shutil.rmtree(source)
    return place


def test_prebuilt_programs_become_an_image_without_go(prebuilt, imagekit):
    done = imagekit("build", cwd=prebuilt, PATH="/usr/bin:/bin")
    assert done.returncode == 0, done.stderr
    assert REPLY.fullmatch(done.stdout.strip())
    copied = prebuilt / "dist/bin/linux_arm64/app"
    assert copied.read_bytes() == (prebuilt / "out/linux_arm64/app").read_bytes()
    assert not (prebuilt / "dist/Dockerfile.app.source").exists()


def test_a_prebuilt_program_of_another_platform(prebuilt, imagekit):
    shutil.copy(prebuilt / "out/linux_arm64/app", prebuilt / "out/linux_amd64/app")
    done = imagekit("build", cwd=prebuilt)
    assert (done.returncode, done.stdout) == (10, ""), done.stderr
    assert "mismatch" in done.stderr
    assert "linux/arm64" in done.stderr
    assert not (prebuilt / "dist").exists()


def test_a_prebuilt_program_that_needs_a_loader(prebuilt, imagekit):
    shutil.copy(shutil.which("true") or "/bin/true", prebuilt / "out/linux_amd64/app")
    done = imagekit("build", cwd=prebuilt)
    assert (done.returncode, done.stdout) == (10, ""), done.stderr
    assert "linkage" in done.stderr
    assert "dynamic" in done.stderr


def test_a_prebuilt_program_that_is_cut_off(prebuilt, imagekit):
    program = prebuilt / "out/linux_amd64/app"
    program.write_bytes(program.read_bytes()[:100_000])
    done = imagekit("build", cwd=prebuilt)
    assert (done.returncode, done.stdout) == (10, ""), done.stderr
    assert "broken" in done.stderr


def test_a_prebuilt_program_that_is_missing(prebuilt, imagekit):
    (prebuilt / "out/linux_amd64/app").unlink()
    done = imagekit("build", cwd=prebuilt)
    assert (done.returncode, done.stdout) == (4, ""), done.stderr
    assert "out/linux_amd64/app" in done.stderr.splitlines()[-1]


# --- hermetic ---------------------------------------------------------------------------------------------------------


def test_ambient_settings_are_said_and_change_nothing(module, imagekit, digests):
    place = module("hello")
    assert imagekit("build", cwd=place).returncode == 0
    before = digests(place / "dist")
    ambient = {"GOFLAGS": "-buildvcs=false -tags=surprise", "GOAMD64": "v3", "CGO_ENABLED": "1", "GOOS": "plan9"}
    done = imagekit("build", cwd=place, **ambient)
    assert done.returncode == 0, done.stderr
    assert "GOFLAGS=-buildvcs=false -tags=surprise of the environment is not used" in done.stderr
    for name in ("GOAMD64=v3", "CGO_ENABLED=1", "GOOS=plan9"):
        assert name in done.stderr
    assert digests(place / "dist") == before
    stamped = settings(place / "dist/bin/linux_amd64/hello")
    assert stamped["vcs.revision"] == ran("git", "-C", place, "rev-parse", "HEAD").strip()
    assert (stamped["vcs.modified"], stamped["GOAMD64"], stamped["CGO_ENABLED"]) == ("false", "v1", "0")


def test_what_would_steer_the_compiler_does_not_reach_it(module, imagekit, tmp_path):
    place = module("hello")
    ran_it = tmp_path / "ran"
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {ran_it}\nexit 1\n")
    trap.chmod(0o755)
    ambient = {"GOCACHEPROG": str(trap), "GOFLAGS": f"-toolexec={trap}"}
    done = imagekit("build", "--target", "linux/amd64", "--cache-dir", tmp_path / "cache", cwd=place, **ambient)
    assert done.returncode == 0, done.stderr
    assert not ran_it.exists()


def test_a_kept_output_that_was_tampered_with_is_linked_again(module, imagekit, digests, tmp_path):
    place = module("hello")
    words = ["build", "--target", "linux/amd64", "--cache-dir", tmp_path / "cache"]
    assert imagekit(*words, cwd=place).returncode == 0
    before = digests(place / "dist")
    [kept] = [path for path in (tmp_path / "cache/kept").rglob("hello") if path.is_file()]
    content = bytearray(kept.read_bytes())
    place_of_text = content.index(b"time zones: found")
    content[place_of_text : place_of_text + 4] = b"evil"
    kept.write_bytes(content)
    go_believes = subprocess.run(["go", "version", "-m", kept], capture_output=True, text=True, check=False)
    assert go_believes.returncode == 0, "its build information is whole"
    done = imagekit(*words, cwd=place)
    assert done.returncode == 0, done.stderr
    assert "hello:linux/amd64: linked again" in done.stderr
    assert digests(place / "dist") == before
    assert b"evil zones" not in (place / "dist/bin/linux_amd64/hello").read_bytes()
    assert "linked again" not in imagekit(*words, cwd=place).stderr


def test_kept_outputs_are_private(module, imagekit, tmp_path):
    place = module("hello")
    words = ["build", "--target", "linux/amd64", "--cache-dir", tmp_path / "cache"]
    assert imagekit(*words, cwd=place).returncode == 0
    folders = [tmp_path / "cache", *(path for path in (tmp_path / "cache/kept").iterdir() if path.is_dir())]
    assert {path.stat().st_mode & 0o777 for path in folders} == {0o700}
