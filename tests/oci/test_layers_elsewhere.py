"""Layers on other CPU models, architectures and Pythons: the recorded bytes, or an identity that says they are others.

`golden/layers.json` has the digests of x86-64; `pytest tests/oci/test_layers_elsewhere.py --renew-golden` rewrites it
from what is made here. If one changes, so does every layer ever built: the CHANGELOG must say why.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent / "golden/layers.json"
ROOT = Path(__file__).parents[2]
Packed = dict[str, dict[str, str]]
Peer = Callable[[str], Path]
Pack = Callable[..., Packed]

_PACK = """
import json, sys
from pathlib import Path
from isal import isal_zlib
from imagekit.content import CHUNK, digest_of
from imagekit.oci.layers import Compression, Entry, write_layer
from imagekit.oci.store import Memory

def entries(folder):
    yield Entry("tmp", "dir", 0o1777)
    yield Entry("usr/bin/app", "link", 0o777, target="../../code")
    for path in folder.iterdir():
        yield Entry(path.name, mode=0o555, content=path)

def pack(folder, algorithm, level):
    chosen = Compression(algorithm, level)
    made = write_layer(Memory(), list(entries(folder)), mtime=0, compression=chosen)
    return {"layer": made.descriptor.digest, "diff_id": made.diff_id, "identity": chosen.identity}

def beyond(path):
    compressor = isal_zlib.compressobj(3, isal_zlib.DEFLATED, -15)
    with path.open("rb") as stream:
        packed = [compressor.compress(piece) for piece in iter(lambda: stream.read(CHUNK), b"")]
    return {"layer": digest_of(b"".join(packed) + compressor.flush())}

large, small = map(Path, sys.argv[1:])
made = {f"gzip {level}": pack(large, "gzip", level) for level in (1, 2)}
made["zstd 3"] = pack(large, "zstd", 3)
made |= {f"zstd {level}, small": pack(small, "zstd", level) for level in range(1, 20)}
made["isal 3"] = beyond(large / "code")
print(json.dumps(made))
"""
"""Packs two folders by what the recipe allows, and one file by a level of isal that it refuses."""


def _code(seed: int, size: int) -> bytes:
    """As machine code packs: a few hundred instructions, some much more often than others, and operands between."""
    chance = random.Random(seed)
    instructions = [chance.randbytes(chance.randrange(1, 6)) for _ in range(300)]
    weights = [1 / (rank + 1) for rank in range(300)]
    count = size // 3
    chosen = chance.choices(instructions, weights, k=count)
    operands = chance.choices([b"", b"\0\0\0", b"\xff\xff\xff", *(chance.randbytes(2) for _ in range(200))], k=count)
    return b"".join(part for pair in zip(chosen, operands, strict=True) for part in pair)[:size]


def _text(seed: int, size: int) -> bytes:
    chance = random.Random(seed)
    words = ["".join(chance.choices("etaoinshrdlu", k=chance.randrange(2, 9))) for _ in range(2000)]
    return " ".join(chance.choices(words, k=size // 4)).encode()[:size]


LARGE = {
    "code": _code(1, (5 << 19) + 1),
    "text": _text(2, (1 << 20) - 512),
    "noise": random.Random(3).randbytes(1 << 20),
    "zeros": bytes(300_000),
    "empty": b"",
}
SMALL = {"code": _code(4, 150_000), "text": _text(5, 70_000), "noise": random.Random(6).randbytes(30_001)}
"""Of the slow levels of zstd; LARGE crosses the pieces of 1 MiB that the compressor is fed."""


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    """What a Python, started as `words`, makes of LARGE and SMALL."""
    folders = []
    for content in (LARGE, SMALL):
        folders.append(tmp_path_factory.mktemp("content"))
        for name, written in content.items():
            (folders[-1] / name).write_bytes(written)

    def run(*words: str | Path) -> Packed:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        argv = [*words, "-c", _PACK, *folders]
        return json.loads(subprocess.run(argv, env=environment, capture_output=True, check=True, text=True).stdout)

    return run


@pytest.fixture(scope="module")
def here(pack: Pack) -> Packed:
    return pack(sys.executable)


@pytest.fixture(scope="module")
def recorded(request: pytest.FixtureRequest, here: Packed) -> Packed:
    """What layers are everywhere."""
    if request.config.getoption("--renew-golden"):
        GOLDEN.write_text(json.dumps(_layers(here), indent=1) + "\n")
    return json.loads(GOLDEN.read_text())


def _layers(made: Packed) -> Packed:
    return {name: one for name, one in made.items() if name != "isal 3"}


def test_the_bytes_are_the_recorded_ones(here: Packed, recorded: Packed) -> None:
    assert _layers(here) == recorded


@pytest.fixture(scope="module")
def on_cpu(pack: Pack, peer: Peer) -> Callable[[str], Packed]:
    """What this Python makes on a CPU model that qemu plays."""
    return cache(lambda model: pack(peer("qemu-x86_64-static"), "-cpu", model, sys.executable))


@pytest.mark.real
@pytest.mark.parametrize("model", ["Nehalem", "Haswell", "EPYC", "max"])
def test_the_cpu_model_does_not_matter(on_cpu: Callable[[str], Packed], recorded: Packed, model: str) -> None:
    assert _layers(on_cpu(model)) == recorded


@pytest.mark.real
def test_the_compressor_sees_the_cpu_model(on_cpu: Callable[[str], Packed]) -> None:
    """Else the test above would prove nothing; and why level 3 is refused."""
    assert on_cpu("Nehalem")["isal 3"] != on_cpu("Haswell")["isal 3"]


@pytest.mark.real
@pytest.mark.parametrize("machine", ["x86-64 without SSE4.2", "ARM64"])
def test_where_gzip_has_other_bytes_its_identity_says_so(
    pack: Pack, on_cpu: Callable[[str], Packed], recorded: Packed, peer: Peer, machine: str
) -> None:
    made = pack(peer("python3.13-arm64")) if machine == "ARM64" else on_cpu("qemu64")
    for name, one in _layers(made).items():
        assert one["diff_id"] == recorded[name]["diff_id"]
        for field in ("layer", "identity"):
            assert (one[field] == recorded[name][field]) is name.startswith("zstd"), (name, field)


@pytest.mark.real
@pytest.mark.parametrize("python", ["python3.13-amd64", "python3.14-amd64"])
def test_the_python_does_not_matter(pack: Pack, recorded: Packed, peer: Peer, python: str) -> None:
    """They are Debian's builds, with other versions of zlib and OpenSSL than this one has."""
    assert _layers(pack(peer(python))) == recorded
