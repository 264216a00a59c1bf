"""Real programs in real layouts, and a key of the real gpg."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from imagekit.bundle.create import Created, create
from imagekit.oci import documents as doc
from imagekit.oci.blobs import put
from imagekit.oci.layers import Compression, Entry, write_layer
from imagekit.oci.store import Layout
from imagekit.platform import Platform
from imagekit.trust import openpgp

TAG = "registry.example/team/app:1.0"
GREETING = "hello from the other side"
_MAIN = f'package main\n\nimport "fmt"\n\nfunc main() {{ fmt.Println("{GREETING}") }}\n'
MakeLayout = Callable[..., Path]


class Key:
    """A key in a GNUPGHOME of its own."""

    def __init__(self, home: Path, name: str) -> None:
        home.mkdir(mode=0o700)
        self.env = {**os.environ, "GNUPGHOME": str(home), "LC_ALL": "C"}
        self.gpg(
            "--pinentry-mode", "loopback", "--passphrase", "", "--quick-generate-key", name, "ed25519", "sign", "never"
        )
        listed = self.gpg("--list-keys", "--with-colons").decode().splitlines()
        self.fingerprint = next(line.split(":")[9] for line in listed if line.startswith("fpr:"))
        self.public = self.gpg("--export")

    def gpg(self, *words: str | Path) -> bytes:
        argv = ["gpg", "--batch", "--no-tty", "--quiet", *map(str, words)]
        return subprocess.run(argv, env=self.env, check=True, capture_output=True).stdout

    def sign(self, content: bytes) -> bytes:
        return openpgp.sign_detached(content, [self.fingerprint], env=self.env)

    def close(self) -> None:
        subprocess.run(["gpgconf", "--kill", "gpg-agent"], env=self.env, check=True)


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Key, Key]]:
    """The release key, and a stranger's."""
    folder = tmp_path_factory.mktemp("keys")
    made = (Key(folder / "release", "release@example.org"), Key(folder / "stranger", "stranger@example.org"))
    yield made
    for key in made:
        key.close()


@pytest.fixture(scope="session")
def key(keys: tuple[Key, Key]) -> Key:
    return keys[0]


@pytest.fixture(scope="session")
def stranger(keys: tuple[Key, Key]) -> Key:
    return keys[1]


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A static Go program for each of two platforms, and a dynamic program of this system."""
    folder = tmp_path_factory.mktemp("go")
    (folder / "main.go").write_text(_MAIN)
    (folder / "go.mod").write_text("module example.org/hello\n\ngo 1.21\n")
    made = {}
    for platform in ("linux/amd64", "linux/arm64"):
        made[platform] = folder / platform.replace("/", "_")
        env = {**os.environ, "CGO_ENABLED": "0", "GOOS": "linux", "GOARCH": platform.split("/")[1], "GOFLAGS": ""}
        words = ["go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", str(made[platform]), "."]
        subprocess.run(words, cwd=folder, env=env, check=True)
    dynamic = shutil.which("true")
    assert dynamic
    return {**made, "dynamic": Path(dynamic)}


@pytest.fixture(scope="session")
def make_layout(programs: dict[str, Path]) -> MakeLayout:
    """Write a layout with one image; `entries` replaces what its layers hold."""

    def make(
        path: Path,
        *,
        platforms: Sequence[str] = ("linux/amd64", "linux/arm64"),
        entries: Sequence[Sequence[Entry]] | None = None,
        name: str = "app",
        tag: str = TAG,
        compression: Compression | None = None,
        entrypoint: tuple[str, ...] = ("/app",),
        referrers: bool = True,
    ) -> Path:
        store = Layout.create(path)
        manifests = []
        for platform in platforms:
            parsed = Platform.parse(platform)
            chosen = entries or [[Entry("app", mode=0o755, content=programs[platform])]]
            layers = [write_layer(store, each, mtime=0, compression=compression) for each in chosen]
            config = doc.ImageConfig(
                created="2026-01-02T03:04:05Z",
                architecture=parsed.architecture,
                os=parsed.os,
                variant=parsed.variant,
                config=doc.RuntimeConfig(entrypoint=entrypoint, user="65532:65532"),
                rootfs=doc.RootFS(diff_ids=tuple(layer.diff_id for layer in layers)),
            )
            described = put(store, doc.encode(config), doc.CONFIG)
            manifest = doc.Manifest(config=described, layers=tuple(layer.descriptor for layer in layers))
            manifests.append(put(store, doc.encode(manifest), doc.MANIFEST, platform=doc.PlatformObject.of(parsed)))
        names = {doc.REF_NAME: name, doc.CONTAINERD_NAME: tag}
        image = put(store, doc.encode(doc.Index(manifests=tuple(manifests))), doc.INDEX, annotations=names)
        others = _referrers(store, manifests[0]) if referrers else ()
        store.set_index(doc.Index(manifests=(*store.index().manifests, image, *others)))
        return path

    return make


def _referrers(store: Layout, subject: doc.Descriptor) -> tuple[doc.Descriptor, ...]:
    """An SBOM of the image, and a signature of the SBOM."""
    put(store, doc.EMPTY_JSON, doc.EMPTY)
    found = []
    for kind in ("application/vnd.cyclonedx+json", "application/vnd.example.signature"):
        layer = put(store, b'{"of":"' + subject.digest.encode() + b'"}', kind)
        manifest = doc.Manifest(
            artifact_type=kind, config=doc.EMPTY_DESCRIPTOR, layers=(layer,), subject=subject.bare()
        )
        subject = put(store, doc.encode(manifest), doc.MANIFEST, artifact_type=kind)
        found.append(subject)
    return tuple(found)


@pytest.fixture(scope="session")
def layout(make_layout: MakeLayout, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image for two platforms with two referrers. Read only."""
    return make_layout(tmp_path_factory.mktemp("layout") / "oci")


@pytest.fixture(scope="session")
def bundle(layout: Path, key: Key, tmp_path_factory: pytest.TempPathFactory) -> Created:
    """A signed bundle of `layout`. Read only."""
    return create([f"oci:{layout}"], tmp_path_factory.mktemp("bundle") / "release.tar", sign=key.sign)


@pytest.fixture(scope="session")
def trust_file(key: Key, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Demands the release key and the scratch policy."""
    folder = tmp_path_factory.mktemp("trust")
    (folder / "release.gpg").write_bytes(key.public)
    (folder / "trust.yaml").write_text(
        "version: 1\nroots:\n  openpgp: {release: release.gpg}\n"
        "require:\n  bundle: {all: [openpgp.release]}\n  linkage: scratch\n"
    )
    return folder / "trust.yaml"


@pytest.fixture
def copied(bundle: Created, tmp_path: Path) -> Path:
    """A bundle of one's own to change; its list and signature lie beside it."""
    for path in (bundle.path, bundle.volumes, bundle.volumes.with_name("VOLUMES.sha256.asc")):
        shutil.copy(path, tmp_path / path.name)
    return tmp_path / bundle.path.name
