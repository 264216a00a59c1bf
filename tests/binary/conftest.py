"""Real programs for the readers: a small Go module, built for many systems on demand, once a session."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SOURCES = {
    "go.mod": "module example.com/zoo\n\ngo 1.24\n",
    "in.fo/build.go": 'package info\n\nvar Build = "none"\nvar Unread = "nobody reads me"\n',
    "tiny/main.go": """package main

import info "example.com/zoo/in.fo"

var version = "dev"
var empty string

type box[T any] struct{ held T }

func (b *box[T]) get() T { return b.held }

func main() {
	b := &box[string]{version}
	println(b.get(), info.Build, empty)
}
""",
    "cgo/main.go": """package main

// static int twice(int x) { return 2 * x; }
import "C"

var version = "dev"

//export Answer
func Answer() C.int { return 42 }

func main() { println(version, int(C.twice(21))) }
""",
    "imports/main.go": """package main

import _ "unsafe"

//go:cgo_import_dynamic _ _ "libc.so.6"

func main() { println("a library without cgo") }
""",
    "user/main.go": """package main

import "os/user"

func main() { u, err := user.Current(); println(u != nil, err != nil) }
""",
    "net/main.go": """package main

import (
	"crypto/x509"
	"net"
	"time"
)

func main() {
	_, first := x509.SystemCertPool()
	_, second := net.LookupHost("localhost")
	_, third := time.LoadLocation("Europe/Berlin")
	println(first == nil, second == nil, third == nil)
}
""",
    "big/main.go": """package main

import _ "embed"

//go:embed weight
var weight string

func main() { println(len(weight)) }
""",
    "reads/main.go": """package main

import "debug/buildinfo"

func main() { found, err := buildinfo.ReadFile("x"); println(found != nil, err != nil) }
""",
}
SOURCES |= {
    "web/main.go": """package main

import (
	_ "expvar"
	"net/http"
	_ "net/http/pprof"
)

func main() {
	http.HandleFunc("/healthz", func(w http.ResponseWriter, r *http.Request) {})
	println(http.ListenAndServe("127.0.0.1:0", nil))
}
""",
    "plain/main.go": """package main

import "net/http"

func main() { println(http.ListenAndServe("127.0.0.1:0", nil)) }
""",
    "plug/main.go": """package main

import "plugin"

func main() { p, err := plugin.Open("x.so"); println(p != nil, err != nil) }
""",
    "dl/main.go": """package main

// #include <dlfcn.h>
// #include <pwd.h>
// #cgo LDFLAGS: -ldl
import "C"

func main() { println(C.dlopen(nil, C.RTLD_NOW) != nil, C.getpwnam(C.CString("root")) != nil) }
""",
    "names/main.go": """package main

import (
	"net"
	"os/user"
)

func main() {
	_, first := net.LookupHost("localhost")
	_, second := user.Lookup("root")
	println(first == nil, second == nil)
}
""",
    "hash/main.go": """package main

import "crypto/sha256"

func main() { println(sha256.Sum256(nil)[0]) }
""",
    "gosym/main.go": """package main

// Prints the function table's files as Go's own debug/gosym reads them.

import (
	"debug/elf"
	"debug/gosym"
	"fmt"
	"os"
)

func main() {
	file, err := elf.Open(os.Args[1])
	if err != nil {
		panic(err)
	}
	content, err := file.Section(".gopclntab").Data()
	if err != nil {
		panic(err)
	}
	table, err := gosym.NewTable(nil, gosym.NewLineTable(content, file.Section(".text").Addr))
	if err != nil {
		panic(err)
	}
	for name := range table.Files {
		fmt.Println(name)
	}
}
""",
}
C_SOURCES = {
    "hello": '#include <stdio.h>\nint main(void) { puts("hello"); return 0; }\n',
    "names": "#include <stdio.h>\n#include <netdb.h>\n#include <pwd.h>\n"
    "int main(int n, char **v) { struct addrinfo *a; int e = getaddrinfo(v[0], 0, 0, &a);\n"
    'printf("%d %p\\n", e, (void *)getpwnam(v[0])); return n; }\n',
    "loads": "#include <stdio.h>\n#include <dlfcn.h>\nvoid uv_dlopen(void) {}\n"
    'int main(int n, char **v) { printf("%p\\n", dlopen(v[0], RTLD_NOW)); return n; }\n',
    "copies": "#include <stdio.h>\n#include <string.h>\n"
    'int main(int n, char **v) { char b[64]; strcpy(b, v[0]); printf("%s\\n", b); return n; }\n',
}
X = "-X main.version=1 -X main.empty=filled -X example.com/zoo/in.fo.Build=blu\u00e9"


@pytest.fixture(scope="session")
def go() -> str:
    """The go command: that on PATH, else the one of the wheel."""
    beside = Path(sys.executable).parent / "go"
    return shutil.which("go") or str(beside)


@pytest.fixture(scope="session")
def zoo_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("zoo-source")
    for name, text in SOURCES.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


@pytest.fixture(scope="session")
def weight(zoo_source: Path) -> Path:
    """What makes the program `big` 100 MB: a file without content, embedded."""
    path = zoo_source / "big" / "weight"
    with path.open("wb") as stream:
        stream.truncate(100_000_000)
    return path


@pytest.fixture(scope="session")
def zoo(go: str, zoo_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`zoo(package, platform, *flags, ldflags=…, cgo=…, env=…)`: the path of that build, made at the first call."""
    built: dict[tuple[object, ...], Path] = {}
    out = tmp_path_factory.mktemp("zoo")

    def build(
        package: str,
        platform: str = "linux/amd64",
        *flags: str,
        ldflags: str = X,
        cgo: bool = False,
        env: tuple[tuple[str, str], ...] = (),
    ) -> Path:
        key = (package, platform, flags, ldflags, cgo, env)
        if key not in built:
            path = out / f"{len(built)}-{package}-{platform.replace('/', '-')}"
            arguments = [go, "build", "-trimpath", *flags, "-ldflags", ldflags, "-o", str(path), f"./{package}"]
            settings = _environment(platform, cgo) | dict(env)
            done = subprocess.run(arguments, cwd=zoo_source, env=settings, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            built[key] = path
        return built[key]

    return build


def _environment(platform: str, cgo: bool) -> dict[str, str]:
    system, architecture, *variant = platform.split("/")
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "GOCACHE", "GOMODCACHE", "TMPDIR") if key in os.environ}
    settings = {"GOOS": system, "GOARCH": architecture, "CGO_ENABLED": "1" if cgo else "0"}
    if variant:
        settings["GOARM"] = variant[0].removeprefix("v")
    return kept | settings | {"GOENV": "off", "GOFLAGS": "", "GOWORK": "off", "GOTOOLCHAIN": "local", "GOPROXY": "off"}


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`compiled(source, *flags, target=…)`: a C program by gcc, or by zig where a target is named; made once."""
    built: dict[tuple[object, ...], Path] = {}
    out = tmp_path_factory.mktemp("c")

    def build(source: str, *flags: str, target: str = "") -> Path:
        key = (source, flags, target)
        if key not in built:
            path, code = out / f"{len(built)}-{source}", out / f"{source}.c"
            code.write_text(C_SOURCES[source], encoding="utf-8")
            compiler = [sys.executable, "-m", "ziglang", "cc", "-target", target] if target else ["gcc"]
            done = subprocess.run(
                [*compiler, *flags, "-o", str(path), str(code)], capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
            built[key] = path
        return built[key]

    return build


@pytest.fixture
def patched(tmp_path: Path) -> Callable[..., Path]:
    """`patched(path, {offset: bytes})` or `patched(path, replace={old: new})`: a changed copy."""
    count = 0

    def patch(path: Path, at: dict[int, bytes] | None = None, replace: dict[bytes, bytes] | None = None) -> Path:
        nonlocal count
        content = bytearray(path.read_bytes())
        for offset, value in (at or {}).items():
            content[offset : offset + len(value)] = value
        for old, new in (replace or {}).items():
            assert old in content
            assert len(old) == len(new)
            content = content.replace(old, new)
        count += 1
        copy = tmp_path / f"patched-{count}"
        copy.write_bytes(content)
        return copy

    return patch


@pytest.fixture
def without_sections(patched: Callable[..., Path]) -> Callable[[Path], Path]:
    """A 64-bit ELF file whose section headers are taken away, as sstrip does."""
    return lambda path: patched(path, {0x28: bytes(8), 0x3C: bytes(4)})


@pytest.fixture(scope="session")
def make_elf() -> Callable[..., bytes]:
    """A minimal 64-bit ELF program, from the outside in: what no compiler here would make."""

    def make(
        kind: int = 2,
        interpreter: str | None = None,
        needed: tuple[str, ...] = (),
        flags_1: int = 0,
        os_abi: int = 0,
        machine: int = 62,
        order: str = "<",
        notes: tuple[tuple[bytes, int, bytes], ...] = (),
        versions: tuple[str, ...] = (),
        soname: str = "",
        dynamic: bool = False,
    ) -> bytes:
        body, start = bytearray(), 0x1000
        base = 0x400000

        def put(content: bytes) -> tuple[int, int]:
            while len(body) % 8:
                body.append(0)
            body.extend(content)
            return start + len(body) - len(content), len(content)

        strings = bytearray(b"\0")

        def string(text: str) -> int:
            strings.extend(text.encode() + b"\0")
            return len(strings) - len(text.encode()) - 1

        put(b"\x90" * 16)
        segments: list[tuple[int, int, int, int]] = []
        if interpreter is not None:
            segments.append((3, 4, *put(interpreter.encode() + b"\0")))
        if notes:
            packed = b"".join(
                struct.pack(order + "III", len(owner), len(content), number)
                + owner.ljust(-(-len(owner) // 4) * 4, b"\0")
                + content
                for owner, number, content in notes
            )
            segments.append((4, 4, *put(packed)))
        if needed or flags_1 or soname or versions or dynamic:
            entries = [(1, string(name)) for name in needed]
            if soname:
                entries.append((14, string(soname)))
            if flags_1:
                entries.append((0x6FFFFFFB, flags_1))
            if versions:
                library = string(needed[0])
                rows = [struct.pack(order + "HHIII", 1, len(versions), library, 16, 0)]
                for index, version in enumerate(versions):
                    step = 16 if index + 1 < len(versions) else 0
                    rows.append(struct.pack(order + "IHHII", 0, 0, index, string(version), step))
                entries += [(0x6FFFFFFE, base + put(b"".join(rows))[0]), (0x6FFFFFFF, 1)]
            at, size = put(bytes(strings))
            entries += [(5, base + at), (10, size), (0, 0)]
            segments.append((2, 6, *put(b"".join(struct.pack(order + "QQ", *entry) for entry in entries))))
        segments.insert(0, (1, 5, 0, start + len(body)))
        head = struct.pack("4sBBBB8x", b"\x7fELF", 2, 1 if order == "<" else 2, 1, os_abi)
        head += struct.pack(
            order + "HHIQQQIHHHHHH", kind, machine, 1, base + start, 64, 0, 0, 64, 56, len(segments), 64, 0, 0
        )
        for segment, flags, offset, size in segments:
            head += struct.pack(order + "IIQQQQQQ", segment, flags, offset, base + offset, 0, size, size, 4)
        return head.ljust(start, b"\0") + bytes(body)

    return make
