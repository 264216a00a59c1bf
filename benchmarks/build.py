"""imagekit build beside ko, goreleaser and bare `go build`, as ratios in one run.

    make peers && .venv/bin/python benchmarks/build.py [--repeat 10] [--cold 3] [--only warm] [--json FILE]

Everything runs on loopback: ko's base image is made and served here. Runs alternate between the competitors, and each
figure is the median.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from measuring import SYSTEM, Runs, compare, install

PEERS = Path(os.environ.get("IMAGEKIT_PEERS") or Path.home() / ".cache/imagekit-peers") / "bin"
CRANE = "github.com/google/go-containerregistry@v0.22.1"
TWO = ("linux/amd64", "linux/arm64")
SIX = (*TWO, "darwin/amd64", "darwin/arm64", "windows/amd64", "windows/arm64")


class Bench:
    """A copy of crane's module in a git repository of its own, with caches of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.module = folder / "crane"
        self.env = {
            **{k: v for k, v in os.environ.items() if k != "GOFLAGS"},
            "CGO_ENABLED": "0",
            "KOCACHE": str(folder / "kocache"),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "GOCACHE": str(folder / "gocache"),
            "SOURCE_DATE_EPOCH": "1700000000",
        }

    def run(self, *argv: str | Path, **extra: str) -> None:
        done = subprocess.run(
            [str(word) for word in argv],
            cwd=self.module,
            env=self.env | extra,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            sys.exit(f"{' '.join(map(str, argv))}: exit {done.returncode}\n{done.stderr[-3000:]}")

    def prepare(self) -> None:
        found = subprocess.run(
            ["go", "mod", "download", "-json", CRANE], capture_output=True, text=True, check=True, cwd=self.folder
        )
        shutil.copytree(json.loads(found.stdout)["Dir"], self.module)
        subprocess.run(["chmod", "-R", "u+w", str(self.module)], check=True)
        (self.module / "imagekit.yaml").write_text(_config("two", TWO))
        (self.module / "six.yaml").write_text(_config("six", SIX))
        (self.module / ".goreleaser.yml").unlink(missing_ok=True)
        (self.module / ".goreleaser.yaml").write_text(_goreleaser())
        (self.module / ".gitignore").write_text("/dist/\n/out/\n")
        for words in ("init -q", "add -A", "-c user.name=b -c user.email=b@localhost commit -qm crane", "tag v0.22.1"):
            self.run("git", *words.split())
        self.run("go", "mod", "download")

    def imagekit(self, *words: str, **extra: str) -> None:
        self.run("imagekit", "build", *words, **extra)

    def ko(self, base: str, **extra: str) -> None:
        layout = self.folder / "ko-layout"
        shutil.rmtree(layout, ignore_errors=True)
        self.run(
            PEERS / "ko", "build", "--push=false", f"--oci-layout-path={layout}", f"--platform={','.join(TWO)}",
            "--sbom=spdx", "./cmd/crane", KO_DEFAULTBASEIMAGE=base, KO_DOCKER_REPO="registry.example", **extra,
        )  # fmt: skip

    def goreleaser(self) -> None:
        self.run(PEERS / "goreleaser", "build", "--snapshot", "--clean")

    def bare(self, platforms: tuple[str, ...], out: str, *, parallel: bool, **extra: str) -> None:
        def one(platform: str) -> None:
            system, architecture = platform.split("/")
            target = self.folder / out / platform.replace("/", "_")
            self.run("go", "build", "-trimpath", "-o", target, "./cmd/crane", GOOS=system, GOARCH=architecture, **extra)

        threads = [threading.Thread(target=one, args=(platform,)) for platform in platforms]
        for thread in threads:
            thread.start()
            if not parallel:
                thread.join()
        for thread in threads:
            thread.join()

    def change(self) -> None:
        """One line of the main package is another one, committed so that nobody builds a dirty tree."""
        with (self.module / "cmd/crane/main.go").open("a") as source:
            source.write(f'\nvar _ = "{time.time_ns()}"\n')
        self.run("git", "-c", "user.name=b", "-c", "user.email=b@localhost", "commit", "-qam", "change")


def _config(name: str, platforms: tuple[str, ...]) -> str:
    return (
        f"version: 1\nbuilds:\n  - {{id: crane, main: ./cmd/crane, platforms: [{', '.join(platforms)}]}}\n"
        f"images:\n  - {{id: crane, build: crane}}\noutput: out/{name}\n"
    )


def _goreleaser() -> str:
    return (
        "version: 2\nbuilds:\n  - main: ./cmd/crane\n    binary: crane\n    env: [CGO_ENABLED=0]\n"
        "    flags: [-trimpath]\n    goos: [linux, darwin, windows]\n    goarch: [amd64, arm64]\n"
    )


@contextmanager
def base_image(folder: Path) -> Iterator[str]:
    """A registry on loopback with an index of two empty images: what ko builds on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [PEERS / "registry", "-port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _until_listening(port)
        (folder / "base").mkdir()
        (folder / "base/.keep").touch()
        subprocess.run(["tar", "cf", folder / "base.tar", "-C", folder / "base", "."], check=True)
        names = []
        for platform in TWO:
            name = f"localhost:{port}/base-{platform.replace('/', '-')}"
            _crane("append", "-f", str(folder / "base.tar"), "-t", name)
            _crane("mutate", name, "--set-platform", platform, "-t", name)
            names.append(name)
        _crane("index", "append", *[word for name in names for word in ("-m", name)], "-t", f"localhost:{port}/base")
        yield f"localhost:{port}/base"
    finally:
        server.terminate()
        server.wait()


def _crane(*words: str) -> None:
    subprocess.run([PEERS / "crane", *words], check=True, capture_output=True)


def _until_listening(port: int) -> None:
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    sys.exit("the registry does not listen")


def peak_memory(bench: Bench) -> float:
    """MiB that imagekit itself held at most: anonymous and shared, sampled every millisecond; no file pages."""
    child = subprocess.Popen(
        ["imagekit", "build"], cwd=bench.module, env=bench.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    peak = 0
    while child.poll() is None:
        try:
            status = Path(f"/proc/{child.pid}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            break
        held = [int(line.split()[1]) for line in status.splitlines() if line.startswith(("RssAnon", "RssShmem"))]
        peak = max(peak, sum(held))
        time.sleep(0.001)
    child.wait()
    return peak / 1024


def _row(title: str, seconds: dict[str, float], limit: float, against: str) -> dict[str, object]:
    ratio = seconds["imagekit"] / seconds[against]
    shown = " · ".join(f"{name} {value:.3f} s" for name, value in seconds.items())
    verdict = "ok" if ratio <= limit else "MISSED"
    print(f"{title}: {ratio:.2f} x {against} (at most {limit}) {verdict}    {shown}", flush=True)
    return {"figure": title, "ratio": round(ratio, 3), "limit": limit, "seconds": seconds}


def measure(bench: Bench, base: str, repeat: int, cold: int, only: str) -> list[dict[str, object]]:
    rows = []
    runs: Runs = {"imagekit": bench.imagekit, "ko": lambda: bench.ko(base)}
    bare = {"bare": lambda: bench.bare(TWO, "bare", parallel=False)}
    six: Runs = {"imagekit": lambda: bench.imagekit("--config", "six.yaml"), "goreleaser": bench.goreleaser}
    if only in ("", "warm"):
        compare(runs | bare, 1)
        rows.append(_row("two platforms, nothing changed", compare(runs | bare, repeat), 0.45, "ko"))
    if only in ("", "change"):
        compare(runs, 1)
        rows.append(_row("two platforms, one line changed", compare(runs, repeat, bench.change), 0.8, "ko"))
    if only in ("", "six"):
        bench.run("git", "clean", "-fdxq")
        compare(six, 1)
        rows.append(_row("six targets, nothing changed", compare(six, repeat), 0.5, "goreleaser"))
    if cold and only in ("", "cold"):
        rows.append(measure_cold(bench, cold))
    return rows


def measure_cold(bench: Bench, repeat: int) -> dict[str, object]:
    fresh = {"GOCACHE": "", "XDG_CACHE_HOME": ""}

    def empty() -> None:
        for name in fresh:
            if fresh[name]:
                shutil.rmtree(fresh[name], ignore_errors=True)
            fresh[name] = tempfile.mkdtemp(dir=bench.folder)
        shutil.rmtree(bench.folder / "bare-cold", ignore_errors=True)

    seconds = compare(
        {
            "imagekit": lambda: bench.imagekit(**fresh),
            "sequential": lambda: bench.bare(TWO, "bare-cold", parallel=False, GOCACHE=fresh["GOCACHE"]),
            "parallel": lambda: bench.bare(TWO, "bare-cold", parallel=True, GOCACHE=fresh["GOCACHE"]),
        },
        repeat,
        empty,
    )
    return _row("two platforms, cold", seconds, 1.03, min(("sequential", "parallel"), key=seconds.__getitem__))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=10)
    parser.add_argument(
        "--cold", type=int, default=3, help="repetitions of the cold figure, which takes minutes; 0: none"
    )
    parser.add_argument("--only", choices=["", "warm", "change", "six", "cold"], default="", help="one figure alone")
    parser.add_argument("--python", type=Path, default=SYSTEM)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="imagekit-bench-", ignore_cleanup_errors=True) as place:
        install(Path(place), chosen.python)
        bench = Bench(Path(place))
        bench.prepare()
        with base_image(bench.folder) as base:
            rows = measure(bench, base, chosen.repeat, chosen.cold, chosen.only)
        memory = peak_memory(bench)
        print(f"imagekit's own memory: {memory:.0f} MiB (at most 80)")
        version = compare({"imagekit": lambda: bench.run("imagekit", "--version")}, chosen.repeat)
        print(f"imagekit --version: {version['imagekit'] * 1000:.0f} ms (at most 100)")
    if chosen.json:
        chosen.json.write_text(json.dumps({"rows": rows, "memory_mib": memory, "version_s": version}, indent=1) + "\n")


if __name__ == "__main__":
    main()
