"""imagekit image copy beside crane and skopeo, as ratios in one run.

    make peers engine && .venv/bin/python benchmarks/images.py [--repeat 10] [--python PYTHON] [--json FILE]

Everything runs on loopback: go-containerregistry's registry, an image of 300 MB in 6 layers of which half can be
compressed. Runs alternate between the competitors, each figure is the median. imagekit is what pip installs into an
environment of the system's Python, with the versions that this one has; its start-up is in all figures.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from measuring import SYSTEM, Runs, compare, install

from imagekit.oci import documents as doc
from imagekit.oci.blobs import put
from imagekit.oci.layers import Compression, Entry, write_layer
from imagekit.oci.store import Layout

PEERS = Path(os.environ.get("IMAGEKIT_PEERS") or Path.home() / ".cache/imagekit-peers") / "bin"
LAYERS, SIZE = 6, 300_000_000
SHARED, PLATFORMS = 16, 4


def make_image(folder: Path, layers: int, size: int) -> None:
    """A layout with one image `app`; every layer is half noise and half zeros, the same bytes every time."""
    noise = random.Random(4711)  # noqa: S311 - bytes to move, no secret
    layout = Layout.create(folder)
    made = []
    for number in range(layers):
        content = folder.parent / "content"
        with content.open("wb") as out:
            for _ in range(size // layers // 2_000_000):
                out.write(noise.randbytes(1_000_000) + bytes(1_000_000))
        made.append(
            write_layer(layout, [Entry(f"file{number}", content=content)], mtime=0, compression=Compression("none"))
        )
        content.unlink()
    rootfs = doc.RootFS(diff_ids=tuple(one.diff_id for one in made))
    config = put(layout, doc.encode(doc.ImageConfig(architecture="amd64", os="linux", rootfs=rootfs)), doc.CONFIG)
    manifest = doc.Manifest(config=config, layers=tuple(one.descriptor for one in made))
    found = put(layout, doc.encode(manifest), doc.MANIFEST, annotations={doc.REF_NAME: "app"})
    layout.set_index(doc.Index(manifests=(found,)))


def make_shared(folder: Path) -> int:
    """A layout with an index whose platforms have the same layers; how many blobs that are, configurations included."""
    layout = Layout.create(folder)
    layers = [
        write_layer(
            layout, [Entry(f"file{n}", content=bytes([n]) * 1_000_000)], mtime=0, compression=Compression("none")
        )
        for n in range(SHARED)
    ]
    manifests = []
    for architecture in ("amd64", "arm64", "s390x", "riscv64")[:PLATFORMS]:
        rootfs = doc.RootFS(diff_ids=tuple(one.diff_id for one in layers))
        config = put(
            layout, doc.encode(doc.ImageConfig(architecture=architecture, os="linux", rootfs=rootfs)), doc.CONFIG
        )
        manifest = doc.encode(doc.Manifest(config=config, layers=tuple(one.descriptor for one in layers)))
        manifests.append(put(layout, manifest, doc.MANIFEST, platform=doc.PlatformObject(architecture, "linux")))
    found = put(layout, doc.encode(doc.Index(manifests=tuple(manifests))), doc.INDEX, annotations={doc.REF_NAME: "app"})
    layout.set_index(doc.Index(manifests=(found,)))
    return SHARED + PLATFORMS


@contextmanager
def registry(log: Path = Path(os.devnull)) -> Iterator[str]:
    """A registry of its own, which keeps everything in memory; a line a request goes to `log`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [PEERS / "registry", "-port", str(port)]
    with log.open("ab") as stream:
        server = subprocess.Popen(words, stdout=stream, stderr=stream)
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.02)
        yield f"localhost:{port}"
    finally:
        server.terminate()
        server.wait()


def run(*words: str | Path) -> None:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, words))}: exit {done.returncode}\n{done.stderr[-3000:]}")


def imagekit(*words: str | Path) -> None:
    run("imagekit", "image", "copy", *words)


def bare(layout: Path, out: Path) -> None:
    """What nobody can go below: read every blob, hash it, write it."""
    with out.open("wb") as stream:
        for blob in sorted((layout / "blobs/sha256").iterdir()):
            state = hashlib.sha256()
            with blob.open("rb") as source:
                while piece := source.read(1 << 20):
                    state.update(piece)
                    stream.write(piece)


def row(title: str, seconds: dict[str, float], limits: dict[str, float]) -> list[dict[str, object]]:
    shown = " · ".join(f"{name} {value:.3f} s" for name, value in seconds.items())
    rows: list[dict[str, object]] = []
    for against, limit in limits.items():
        ratio = seconds["imagekit"] / seconds[against]
        print(f"{title}: {ratio:.2f} x {against} (at most {limit}) {'ok' if ratio <= limit else 'MISSED'}    {shown}")
        rows.append({"figure": title, "against": against, "ratio": round(ratio, 3), "limit": limit, "seconds": seconds})
    return rows


def peak_memory(*words: str | Path) -> float:
    """MiB that `imagekit image copy` held at most: anonymous and shared, sampled every millisecond."""
    command = ["imagekit", "image", "copy", *map(str, words)]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
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


def transfers(folder: Path) -> dict[str, object]:
    """How many blobs go up and down for an index of several platforms that share all their layers."""
    layout, log = folder / "shared", folder / "requests"
    blobs = make_shared(layout)
    with registry(log) as host:
        imagekit(f"oci:{layout}:app", f"{host}/shared/app:1")
        imagekit(f"{host}/shared/app:1", f"oci:{folder / 'out-shared'}:app")
        imagekit(f"{host}/shared/app:1", f"{host}/other/app:1")
    lines = log.read_text().splitlines()
    up = sum(" PUT /v2/shared/app/blobs/uploads/" in line for line in lines)
    down = sum(" GET /v2/shared/app/blobs/" in line for line in lines)
    beside = sum(" PUT /v2/other/app/blobs/uploads/" in line for line in lines)
    right = (up, down) == (blobs, blobs)
    print(
        f"{SHARED} layers shared by {PLATFORMS} platforms, {blobs} blobs in all: {up} sent, {down} fetched, "
        f"{beside} sent to another repository of the registry {'ok' if right else 'MISSED'}"
    )
    return {"figure": "shared layers", "blobs": blobs, "sent": up, "fetched": down, "beside": beside}


class Places:
    """Fresh names, and what must be gone before a run."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.number = folder, 0

    def name(self) -> str:
        self.number += 1
        return f"n{self.number}"

    def clear(self) -> None:
        for path in self.folder.glob("out*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def measure(folder: Path, repeat: int) -> list[dict[str, object]]:
    layout, places = folder / "layout", Places(folder)
    out, skopeo = folder / "out", ("skopeo", "copy", "-q")
    with registry() as host:
        rows = row("fresh push", fresh_pushes(layout, repeat), {"crane": 1.0})
        source = f"{host}/bench/app:1"
        run(PEERS / "crane", "push", layout, source)
        pulls: Runs = {
            "imagekit": lambda: imagekit(source, f"oci:{out}:app"),
            "crane": lambda: run(PEERS / "crane", "pull", "--format=oci", source, out),
            "skopeo": lambda: run(
                "skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{source}", f"oci:{out}:app"
            ),
        }
        rows += row("pull to a layout", compare(pulls, repeat, places.clear), {"crane": 1.0, "skopeo": 0.6})
        tar = folder / "out.tar"
        archives: Runs = {
            "imagekit": lambda: imagekit(f"oci:{layout}:app", f"oci-archive:{tar}"),
            "skopeo": lambda: run(*skopeo, f"oci:{layout}:app", f"oci-archive:{tar}:app"),
            "bare": lambda: bare(layout, tar),
        }
        rows += row("layout to archive", compare(archives, repeat, places.clear), {"skopeo": 0.6, "bare": 1.3})
        again = compare({"imagekit": lambda: imagekit(f"oci:{layout}:app", source)}, repeat)["imagekit"]
        print(f"second push: {again * 1000:.0f} ms (at most 300) {'ok' if again <= 0.3 else 'MISSED'}")
        memory = max(
            peak_memory(source, f"oci:{folder / 'out-memory'}:app"), peak_memory(f"oci:{layout}:app", f"{host}/m/app:1")
        )
        print(f"imagekit's own memory: {memory:.0f} MiB (at most 80) {'ok' if memory <= 80 else 'MISSED'}")
    return [*rows, transfers(folder), {"figure": "second push", "seconds": again}, {"figure": "memory", "mib": memory}]


def fresh_pushes(layout: Path, repeat: int) -> dict[str, float]:
    """Each push goes to a registry that has nothing."""
    seconds: dict[str, list[float]] = {"imagekit": [], "crane": []}
    for _ in range(repeat):
        for name in seconds:
            with registry() as host:
                to = f"{host}/bench/app:1"
                start = time.perf_counter()
                if name == "crane":
                    run(PEERS / "crane", "push", layout, to)
                else:
                    imagekit(f"oci:{layout}:app", to)
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=10)
    parser.add_argument("--python", type=Path, default=SYSTEM)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="imagekit-bench-", ignore_cleanup_errors=True) as place:
        install(Path(place), chosen.python)
        make_image(Path(place) / "layout", LAYERS, SIZE)
        rows = measure(Path(place), chosen.repeat)
    if chosen.json:
        chosen.json.write_text(json.dumps({"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
