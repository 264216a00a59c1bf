"""Explanations of real programs; what they say about starting is tried in a root that holds what they name."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from imagekit.audit.explain import Explanation, explain, with_source
from imagekit.audit.listed import graph_of
from imagekit.audit.named import asking
from imagekit.binary.facts import BinaryFacts
from imagekit.binary.functions import read_functions
from imagekit.binary.reader import read
from imagekit.golang.arguments import Main
from imagekit.golang.packages import list_packages
from imagekit.golang.settings import read_settings
from imagekit.golang.toolchain import find
from imagekit.platform import Platform
from imagekit.targets.target import Cgo, Target

pytestmark = pytest.mark.real
FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
SOURCES = {
    "go.mod": "module example.com/app\n\ngo 1.24\n",
    "plain/main.go": 'package main\n\nfunc main() { println("started") }\n',
    "native/native.go": "package native\n\n// #cgo LDFLAGS: -lm\n// #include <math.h>\n"
    '// static double root(double x) { return cbrt(x); }\nimport "C"\n\n'
    "func Root(x float64) float64 { return float64(C.root(C.double(x))) }\n",
    "far/far.go": 'package far\n\nimport "example.com/app/native"\n\n'
    "func Root(x float64) float64 { return native.Root(x) }\n",
    "math/main.go": 'package main\n\nimport "example.com/app/far"\n\n'
    'func main() {\n\tif far.Root(27) > 2.9 {\n\t\tprintln("started")\n\t}\n}\n',
    "lookup/main.go": 'package main\n\nimport (\n\t"net"\n\t"os/user"\n)\n\nfunc main() {\n'
    '\t_, err := net.LookupHost("localhost")\n\t_, other := user.Current()\n'
    '\tprintln("started", err == nil, other == nil)\n}\n',
    "imports/main.go": 'package main\n\nimport _ "unsafe"\n\n//go:cgo_import_dynamic _ _ "libc.so.6"\n\n'
    'func main() { println("started") }\n',
}
Build = Callable[..., Path]


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("explained")
    for name, text in SOURCES.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.fixture(scope="session")
def build(source: Path) -> Build:
    """`build("math", *flags, cgo=True)`: the path of that program, made at the first call."""
    made: dict[tuple[object, ...], Path] = {}
    (source / "out").mkdir()

    def run(package: str, *flags: str, cgo: bool = False, platform: str = "linux/amd64") -> Path:
        key = (package, flags, cgo, platform)
        if key not in made:
            made[key] = source / "out" / f"{package}-{len(made)}"
            system, architecture = platform.split("/")
            env = {
                **os.environ,
                **{"GOOS": system, "GOARCH": architecture, "CGO_ENABLED": "1" if cgo else "0"},
                **{"GOFLAGS": "", "GOENV": "off", "GOWORK": "off"},
            }
            words = ["go", "build", "-trimpath", "-buildvcs=false", *flags, "-o", str(made[key]), f"./{package}"]
            subprocess.run(words, cwd=source, env=env, check=True, capture_output=True)
        return made[key]

    return run


def explained(path: Path) -> tuple[BinaryFacts, Explanation]:
    (facts,) = read(path)
    return facts, explain(facts, path)


def verdicts(explanation: Explanation) -> dict[str, str]:
    return {place.name: place.verdict for place in explanation.places}


def starts(path: Path, root: Path, files: list[str]) -> bool:
    """Whether a program starts in a root that holds nothing but it and these files of this system."""
    root.mkdir()
    shutil.copy(path, root / "app")
    for name in files:
        here = Path(name) if name.startswith("/") else Path("/lib/x86_64-linux-gnu") / name
        place = root / str(Path(name) if name.startswith("/") else Path("/lib") / name).lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        if here.is_dir() or name.endswith("/"):
            place.mkdir(exist_ok=True)
        elif here.exists():
            shutil.copy(here, place)
    words = ["unshare", "--user", "--map-root-user", "chroot", str(root), "/app"]
    done = subprocess.run(words, capture_output=True, text=True, env={"PATH": os.environ["PATH"] + ":/usr/sbin"})
    return done.returncode == 0 and done.stderr.startswith("started")


CASES = {
    "static": (("plain",), False),
    "pie": (("plain", "-buildmode=pie"), False),
    "imports without cgo": (("imports",), False),
    "C in a package": (("math",), True),
    "C in the standard library": (("lookup",), True),
    "C linked in": (("math", "-ldflags=-linkmode=external -extldflags=-static"), True),
    "static-pie": (("math", "-buildmode=pie", "-ldflags=-linkmode=external -extldflags=-static-pie"), True),
}


@pytest.mark.parametrize("case", CASES)
def test_the_verdict_on_scratch_is_what_happens(build: Build, tmp_path: Path, case: str) -> None:
    """In an empty root it starts exactly if scratch says yes; with the files that are named, it starts in any case."""
    (package, *flags), cgo = CASES[case]
    path = build(package, *flags, cgo=cgo)
    _, explanation = explained(path)
    assert starts(path, tmp_path / "empty", []) is (verdicts(explanation)["scratch"] == "yes")
    assert starts(path, tmp_path / "filled", [file.path for file in explanation.files])


def test_a_static_program_needs_nothing(build: Build) -> None:
    _, explanation = explained(build("plain"))
    assert set(verdicts(explanation).values()) == {"yes"}
    assert (explanation.cgo_functions, explanation.libraries, explanation.files, explanation.fixes) == ((), {}, (), ())


def test_c_of_a_package(build: Build) -> None:
    facts, explanation = explained(build("math", cgo=True))
    assert explanation.cgo_packages == ("example.com/app/native",)
    assert "example.com/app/native._Cfunc_root" in explanation.cgo_functions
    assert any(name.startswith("runtime/cgo.") for name in explanation.cgo_functions)
    assert explanation.packages == ("example.com/app/far", "example.com/app/native")
    assert set(explanation.libraries) == set(facts.needed)
    assert "example.com/app/native" in explanation.libraries["libm.so.6"]
    assert f"at least version {facts.glibc_min}" in explanation.libraries["libc.so.6"]
    assert any("cgo: static" in fix for fix in explanation.fixes)
    assert verdicts(explanation)["distroless/base"] == "yes"


def test_stripping_changes_nothing(build: Build) -> None:
    assert explained(build("math", "-ldflags=-s -w", cgo=True))[1] == explained(build("math", cgo=True))[1]


def test_the_source_gives_chains_and_names_libraries(build: Build, source: Path, tmp_path: Path) -> None:
    facts, explanation = explained(build("math", cgo=True))
    target = Target(build="app", platform=Platform("linux", "amd64"), main="./math", cgo=Cgo.ALLOW)
    packages = list_packages(read_settings(find(), source), target, Main("./math"), cache_dir=tmp_path)
    graph = graph_of(packages)
    known = with_source(explanation, facts, graph)
    assert known.chains == (("example.com/app/math", "example.com/app/far", "example.com/app/native"),)
    assert known.packages == ()
    assert known.libraries["libm.so.6"] == "named in the source of example.com/app/native"
    assert any('remove the import of "C" from example.com/app/native' in fix for fix in known.fixes)
    assert known == explain(facts, build("math", cgo=True), graph=graph)


def test_the_source_tells_who_imports_without_cgo(build: Build, source: Path, tmp_path: Path) -> None:
    facts, explanation = explained(build("imports"))
    assert "cgo_import_dynamic" in explanation.libraries["libc.so.6"]
    assert any("--source DIR" in fix for fix in explanation.fixes)
    target = Target(build="app", platform=Platform("linux", "amd64"), main="./imports")
    graph = graph_of(list_packages(read_settings(find(), source), target, Main("./imports"), cache_dir=tmp_path))
    known = with_source(explanation, facts, graph)
    assert known.chains == (("example.com/app/imports",),)
    assert known.libraries["libc.so.6"] == "named in the source of example.com/app/imports"


def test_purego_is_called_by_its_name(tmp_path: Path) -> None:
    env = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": ""}
    words = ["go", "build", "-buildvcs=false", "-o", str(tmp_path / "app"), "."]
    subprocess.run(words, cwd=FIXTURES / "refused/purego", env=env, check=True)
    facts, explanation = explained(tmp_path / "app")
    assert facts.needed
    assert all("ebitengine/purego" in asked for asked in explanation.libraries.values())


def test_c_of_the_standard_library(build: Build) -> None:
    _, explanation = explained(build("lookup", cgo=True))
    assert explanation.cgo_packages == ("net", "os/user")
    assert "net._C2func_getaddrinfo" in explanation.cgo_functions
    assert any(name.startswith("os/user._Cfunc_") for name in explanation.cgo_functions)
    assert explanation.fixes[0].startswith("build with CGO_ENABLED=0 (`cgo: off`) or -tags netgo,osusergo")
    assert {"/etc/passwd", "/etc/group", "/etc/nsswitch.conf"} <= {file.path for file in explanation.files}


def test_static_glibc_with_name_service(build: Build) -> None:
    facts, explanation = explained(build("lookup", "-ldflags=-linkmode=external -extldflags=-static", cgo=True))
    assert facts.linkage == "static"
    assert verdicts(explanation)["scratch"] == "yes"
    assert "getaddrinfo" in explanation.fixes[0]
    assert "netgo,osusergo" in explanation.fixes[0]


def test_a_pie(build: Build) -> None:
    _, explanation = explained(build("plain", "-buildmode=pie"))
    assert explanation.fixes[0].startswith("remove -buildmode=pie")
    assert [file.path for file in explanation.files] == ["/lib64/ld-linux-x86-64.so.2"]


def test_race_is_called_by_its_name(build: Build) -> None:
    _, explanation = explained(build("plain", "-race", cgo=True))
    assert any(fix.startswith("remove -race") for fix in explanation.fixes)


@pytest.mark.parametrize("platform", ["windows/amd64", "darwin/arm64", "openbsd/amd64"])
def test_other_systems(build: Build, platform: str) -> None:
    facts, explanation = explained(build("lookup", platform=platform))
    assert facts.linkage == "system"
    assert verdicts(explanation)[platform.partition("/")[0]] == "yes"
    assert verdicts(explanation)["scratch"] == "no"
    assert all("may ask for it" in asked for asked in explanation.libraries.values())
    assert explanation.fixes == ()


def test_a_program_that_is_not_go() -> None:
    facts, explanation = explained(Path("/bin/ls"))
    assert set(explanation.libraries) == set(facts.needed)
    assert [file.path for file in explanation.files] == [facts.interpreter, *facts.needed]
    assert explanation.fixes[0].startswith("link it statically")
    assert explanation.cgo_functions == ()


def test_a_static_c_program_with_name_service(tmp_path: Path) -> None:
    (tmp_path / "main.c").write_text(
        '#include <netdb.h>\nint main(void) { struct addrinfo *a; return getaddrinfo("x", 0, 0, &a) == 0; }\n'
    )
    words = ["gcc", "-static", "-o", str(tmp_path / "app"), str(tmp_path / "main.c")]
    subprocess.run(words, check=True, capture_output=True)
    facts, explanation = explained(tmp_path / "app")
    assert (facts.linkage, facts.libc) == ("static", "glibc")
    (fix,) = explanation.fixes
    assert "getaddrinfo" in fix
    assert fix.endswith("link musl instead")
    assert explanation.files == ()


def test_without_a_path_only_what_the_facts_say(build: Build) -> None:
    (facts,) = read(build("math", cgo=True))
    explanation = explain(facts, None)
    assert explanation.cgo_functions == ()
    assert verdicts(explanation)["scratch"] == "no"


def test_damaged_and_hostile_files(build: Build, tmp_path: Path) -> None:
    whole = build("math", cgo=True).read_bytes()
    for size in (0, 3, 64, 4096, len(whole) // 2):
        cut = tmp_path / "cut"
        cut.write_bytes(whole[:size])
        (facts,) = read(cut)
        assert explain(facts, cut).cgo_functions == ()


def test_names_without_an_end_prove_nothing(peer: Callable[[str], Path], tmp_path: Path) -> None:
    """The table passes for one, but a name in it has 400 KB: said is only what needs no name."""
    path = peer("docker")
    table = read_functions(path)
    assert table is not None
    start = table.where_starts("")
    assert start is not None
    content = bytearray(path.read_bytes())
    inside = slice(start + 100_000, start + 500_000)
    content[inside] = content[inside].replace(b"\0", b"x")
    (tmp_path / "app").write_bytes(content)
    (facts,) = read(tmp_path / "app")
    assert facts.cgo == "proven"
    assert explain(facts, tmp_path / "app").cgo_functions == ()


@pytest.mark.parametrize(
    ("library", "words"),
    [
        ("libsqlite3.so.0", "-lsqlite3"),
        ("libm.so.6", "-lm"),
        ("libdl.so.2", "libdl.so.2"),
        ("/usr/lib/libz.1.dylib", "-lz"),
        ("/System/Library/Frameworks/Security.framework/Versions/A/Security", "-framework=Security"),
        ("libcurl-4.dll", "-lcurl"),
        ("USER32.dll", "-lUSER32"),
    ],
)
def test_how_sources_name_libraries(library: str, words: str) -> None:
    assert asking(library, {words: ("example.com/b", "example.com/a"), "-lother": ("c",)}) == (
        "example.com/a",
        "example.com/b",
    )
