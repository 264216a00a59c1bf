"""Small real images, a real registry, and a server that misbehaves on request."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from imagekit.oci import documents as doc
from imagekit.oci.blobs import BlobStore, put
from imagekit.oci.layers import Entry, write_layer
from imagekit.oci.store import Layout
from imagekit.platform import Platform

BuildImage = Callable[..., doc.Descriptor]


def manifest(store: BlobStore, platform: str, entries: list[Entry]) -> doc.Descriptor:
    """An image manifest of one layer, with its platform as an index states it."""
    named = Platform.parse(platform)
    layer = write_layer(store, entries, mtime=0)
    config = doc.ImageConfig(
        created="1970-01-01T00:00:00Z",
        architecture=named.architecture,
        os=named.os,
        variant=named.variant,
        config=doc.RuntimeConfig(entrypoint=("/app",)),
        rootfs=doc.RootFS(diff_ids=(layer.diff_id,)),
    )
    kept = put(store, doc.encode(config), doc.CONFIG)
    content = doc.encode(doc.Manifest(config=kept, layers=(layer.descriptor,)))
    return put(store, content, doc.MANIFEST, platform=doc.PlatformObject.of(named))


@pytest.fixture(scope="session")
def build_image() -> BuildImage:
    """Put an image for these platforms into a store: an index; `content` makes it another image."""

    def build(store: BlobStore, *platforms: str, content: bytes = b"program") -> doc.Descriptor:
        entries = {name: [Entry("app", mode=0o555, content=content + name.encode())] for name in platforms}
        manifests = tuple(manifest(store, name, entries[name]) for name in platforms)
        return put(store, doc.encode(doc.Index(manifests=manifests)), doc.INDEX)

    return build


@pytest.fixture(scope="session")
def program_image(tmp_path_factory: pytest.TempPathFactory, go_program: Path) -> tuple[Layout, doc.Descriptor]:
    """A layout with an image that prints `it runs`."""
    layout = Layout.create(tmp_path_factory.mktemp("program") / "layout", durable=False)
    return layout, manifest(layout, "linux/amd64", [Entry("app", mode=0o555, content=go_program)])


@pytest.fixture(scope="session")
def go_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A static linux/amd64 program."""
    place = tmp_path_factory.mktemp("go")
    (place / "go.mod").write_text("module example.com/runs\n\ngo 1.24\n")
    (place / "main.go").write_text(
        'package main\n\nimport "os"\n\nfunc main() { os.Stdout.WriteString("it runs\\n") }\n'
    )
    go = shutil.which("go", path=os.pathsep.join([os.environ["PATH"], str(Path(sys.executable).parent)]))
    assert go, "run `make setup`"
    environment = os.environ | {"CGO_ENABLED": "0", "GOOS": "linux", "GOARCH": "amd64", "GOFLAGS": "-buildvcs=false"}
    subprocess.run([go, "build", "-o", "app", "."], cwd=place, env=environment, check=True)
    return place / "app"


@pytest.fixture(scope="session")
def registry_of(start_registry: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """`127.0.0.1:port` of a registry by its kind; started when it is asked for first, then shared by the session."""
    with ExitStack() as stack:

        @cache
        def host(kind: str) -> str:
            return str(stack.enter_context(start_registry(kind, tmp_path_factory.mktemp(kind))))

        yield host


@pytest.fixture(scope="session")
def registry(registry_of: Callable[[str], str]) -> str:
    """`127.0.0.1:port` of go-containerregistry's registry, shared by the session."""
    return registry_of("registry")


@pytest.fixture
def new_registry(peer: Callable[[str], Path], tmp_path: Path) -> Callable[[], AbstractContextManager[str]]:
    """Start the same as a process, empty, for a part of a test."""

    def start() -> AbstractContextManager[str]:
        port = find_port()
        return running([peer("registry"), "-port", str(port)], port, tmp_path / "registry.log")

    return start


@pytest.fixture
def fresh_registry(new_registry: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    """One of them, for one test."""
    with new_registry() as host:
        yield host


@contextmanager
def running(words: list[object], port: int, log: Path, **environment: str) -> Iterator[str]:
    with log.open("wb") as stream:
        started = subprocess.Popen(
            [str(word) for word in words], stdout=stream, stderr=stream, env=os.environ | environment
        )
    try:
        wait_for(port, started)
        yield f"127.0.0.1:{port}"
    finally:
        started.terminate()
        started.wait()


CONFIG = """version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {place}/root}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


@pytest.fixture(scope="session")
def start_registry(contained: Callable[..., Any], peer: Callable[[str], Path]) -> Callable[..., Any]:
    """Run a registry: `registry` (go-containerregistry's), `referrers` (the same, with that API), `distribution` (3.1),
    `docker-registry` (2.8).

    The last, Debian's, as a process, the others in containers of images that imagekit built. With `certificate` over
    TLS, with `htpasswd` for those accounts only; the first two have neither. `place` is a folder of its own.
    """

    @contextmanager
    def start(
        kind: str, place: Path, *, certificate: tuple[Path, Path] | None = None, htpasswd: str = ""
    ) -> Iterator[str]:
        environment = {"REGISTRY_STORAGE_DELETE_ENABLED": "true"}
        for name, path in zip(("CERTIFICATE", "KEY"), certificate or (), strict=False):
            environment[f"REGISTRY_HTTP_TLS_{name}"] = str(shutil.copy(path, place))
        if htpasswd:
            (place / "htpasswd").write_text(htpasswd)
            environment |= {"REGISTRY_AUTH_HTPASSWD_REALM": "test", "REGISTRY_AUTH_HTPASSWD_PATH": f"{place}/htpasswd"}
        if kind != "docker-registry":
            with contained(kind, place, **environment) as served:
                yield served.host
            return
        port = find_port()
        (place / "config.yml").write_text(CONFIG.format(place=place, port=port))
        with running([peer(kind), "serve", place / "config.yml"], port, place / "log", **environment) as host:
            yield host

    return start


def find_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def free_port() -> int:
    """A port of this machine where nobody listens."""
    return find_port()


def wait_for(port: int, started: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and started.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    raise RuntimeError("the registry did not start")


@pytest.fixture
def docker_context(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str, str], None]:
    """Write a context as `docker context create` does, under a docker configuration of its own."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "config.json").write_text("{}")

    def create(name: str, address: str) -> None:
        words = ["docker", "context", "create", name, "--docker", f"host={address}"]
        subprocess.run(words, check=True, capture_output=True)
        assert json.loads((next((tmp_path / "contexts/meta").iterdir()) / "meta.json").read_text())["Name"] == name

    return create


Answer = Callable[["_Handler"], None]


class Fault:
    """What the next `times` requests of this method and path (a pattern) get instead of the right answer.

    An `early` one comes before the request's body is read.
    """

    def __init__(self, method: str, path: str, answer: Answer, times: int = 1, *, early: bool = False) -> None:
        self.method, self.path, self.answer, self.left, self.early = method, re.compile(path), answer, times, early
        self.met = False

    def meets(self, method: str, path: str, early: bool) -> bool:
        if self.left < 1 or method != self.method or not self.path.search(path) or early is not self.early:
            return False
        self.left -= 1
        self.met = True
        return True


class Seen(NamedTuple):
    """One request on the wire."""

    method: str
    path: str
    authorization: str
    body: bytes
    headers: dict[str, str]


class LittleRegistry:
    """A registry in memory, on a real socket, that keeps a log of what came over the wire and misbehaves on request."""

    def __init__(
        self, certificate: tuple[Path, Path] | None = None, authority: Path | None = None, address: str = "127.0.0.1"
    ) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, tuple[str, bytes]] = {}
        self.uploads: dict[str, bytes] = {}
        self.seen: list[Seen] = []
        self.faults: list[Fault] = []
        self.challenge = ""
        self.accepted: set[str] = set()
        self.token_for: set[str] = {""}
        self.token = b'{"token":"good"}'
        self.mounts = self.lists_referrers = self.ranges = False
        self.page = 2
        handler = type("Handler", (_Handler,), {"registry": self})
        self._server = ThreadingHTTPServer((address, 0), handler)
        self._server.daemon_threads = True
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            if authority is not None:
                context.verify_mode = ssl.CERT_REQUIRED
                context.load_verify_locations(authority)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.host = f"{address}:{self._server.server_port}"
        self.url = f"{'https' if certificate else 'http'}://{self.host}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def fail(self, method: str, path: str, answer: Answer, times: int = 1, *, early: bool = False) -> None:
        self.faults.append(Fault(method, path, answer, times, early=early))

    def want_basic(self, username: str, password: str) -> None:
        self.challenge = 'Basic realm="little"'
        self.accepted = {"Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()}

    def want_token(self, realm: str = "", *, paid_with: str = "") -> None:
        """Demand the bearer token `good`, which `realm` (our own) gives for this `Authorization`."""
        self.challenge = f'Bearer realm="{realm or self.url + "/token"}",service="little",scope="repository:other:*"'
        self.accepted, self.token_for = {"Bearer good"}, {paid_with}

    def calls(self, method: str, part: str = "") -> list[Seen]:
        return [seen for seen in self.seen if seen.method == method and part in seen.path]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    registry: LittleRegistry
    protocol_version = "HTTP/1.1"
    timeout = 30

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (OSError, ValueError):
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Nothing: `seen` is the log."""

    def do_any(self) -> None:
        if fault := self._fault(early=True):
            self._note(b"")
            fault.answer(self)
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        authorization = self._note(body)
        if fault := self._fault(early=False):
            fault.answer(self)
        elif self.path.startswith("/token"):
            self._give_token(authorization)
        elif self.registry.challenge and authorization not in self.registry.accepted:
            self.answer(401, {"WWW-Authenticate": self.registry.challenge}, b'{"errors":[{"code":"UNAUTHORIZED"}]}')
        else:
            self._serve(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_any  # noqa: N815 - http.server's names

    def _note(self, body: bytes) -> str:
        authorization = self.headers.get("Authorization", "")
        self.registry.seen.append(Seen(self.command, self.path, authorization, body, dict(self.headers)))
        return authorization

    def _fault(self, *, early: bool) -> Fault | None:
        return next((each for each in self.registry.faults if each.meets(self.command, self.path, early)), None)

    def answer(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _give_token(self, authorization: str) -> None:
        if authorization in self.registry.token_for:
            self.answer(200, {}, self.registry.token)
        else:
            self.answer(401)

    def _serve(self, body: bytes) -> None:
        path, _, query = self.path.partition("?")
        name = path.rpartition("/")[2]
        kinds = ("/manifests/", "/blobs/uploads/", "/blobs/", "/referrers/", "/tags/list")
        match (self.command, next((kind for kind in kinds if kind in path), "")):
            case ("PUT", "/manifests/"):
                self._keep_manifest(name, body)
            case ("DELETE", "/manifests/"):
                self.answer(202 if self.registry.manifests.pop(name, None) else 404)
            case (method, "/blobs/uploads/"):
                self._upload(method, path, name, parse_qs(query), body)
            case (_, "/manifests/") if name in self.registry.manifests:
                kind, raw = self.registry.manifests[name]
                self.answer(200, {"Content-Type": kind, "Docker-Content-Digest": digest(raw), **length(raw)}, raw)
            case (_, "/blobs/") if name in self.registry.blobs:
                self._give(self.registry.blobs[name])
            case (_, "/tags/list"):
                tags = sorted(name for name in self.registry.manifests if ":" not in name)
                self._give_page(path, parse_qs(query), tags, lambda page: {"name": "x", "tags": page})
            case (_, "/referrers/") if self.registry.lists_referrers:
                self._give_referrers(path, name, parse_qs(query))
            case ("GET" | "HEAD", "") if path == "/v2/":
                self.answer(200)
            case _:
                self.answer(404, {}, b'{"errors":[{"code":"UNKNOWN","message":"not here"}]}')

    def _keep_manifest(self, name: str, body: bytes) -> None:
        for key in (name, digest(body)):
            self.registry.manifests[key] = (self.headers["Content-Type"], body)
        subject = json.loads(body).get("subject") if self.registry.lists_referrers else None
        listed = {"OCI-Subject": subject["digest"]} if subject else {}
        self.answer(201, {"Docker-Content-Digest": digest(body), **listed})

    def _upload(self, method: str, path: str, name: str, query: dict[str, list[str]], body: bytes) -> None:
        uploads = self.registry.uploads
        if method == "POST":
            if self.registry.mounts and query.get("mount", [""])[0] in self.registry.blobs:
                self.answer(201, {"Docker-Content-Digest": query["mount"][0]})
                return
            new = str(len(self.registry.seen))
            uploads[new] = b""
            self.answer(202, {"Location": f"{path}{new}?state=secret"})
        elif name not in uploads and method != "PUT":
            self.answer(404, {}, b'{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}')
        elif method == "PUT":
            self._keep(query["digest"][0], uploads.pop(name, b"") + body)
        elif method == "PATCH" and int(self.headers["Content-Range"].partition("-")[0]) != len(uploads[name]):
            self.answer(416)
        else:
            uploads[name] += body
            state = {"Location": self.path, "Range": f"0-{max(len(uploads[name]) - 1, 0)}"}
            self.answer(202 if method == "PATCH" else 204, state)

    def _keep(self, promised: str, body: bytes) -> None:
        if promised != digest(body):
            self.answer(400, {}, b'{"errors":[{"code":"DIGEST_INVALID"}]}')
            return
        self.registry.blobs[promised] = body
        self.answer(201, {"Docker-Content-Digest": promised})

    def _give(self, content: bytes) -> None:
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not found or not self.registry.ranges:
            self.answer(200, length(content), content)
            return
        start, end = int(found[1]), int(found[2] or len(content) - 1)
        if start >= len(content):
            self.answer(416)
            return
        part = content[start : end + 1]
        state = {"Content-Range": f"bytes {start}-{start + len(part) - 1}/{len(content)}"}
        self.answer(206, state | length(part), part)

    def _give_page(self, path: str, query: dict[str, list[str]], items: list[Any], shape: Callable[[Any], Any]) -> None:
        start = int(query.get("from", ["0"])[0])
        page, more = items[start : start + self.registry.page], start + self.registry.page < len(items)
        link = {"Link": f'<{path}?from={start + self.registry.page}>; rel="next"'} if more else {}
        index = {"Content-Type": doc.INDEX} if "/referrers/" in path else {"Content-Type": "application/json"}
        self.answer(200, {**index, **link}, json.dumps(shape(page)).encode())

    def _give_referrers(self, path: str, name: str, query: dict[str, list[str]]) -> None:
        items = [
            {"mediaType": kind, "digest": key, "size": len(raw), "artifactType": json.loads(raw)["artifactType"]}
            for key, (kind, raw) in self.registry.manifests.items()
            if ":" in key and (json.loads(raw).get("subject") or {}).get("digest") == name
        ]
        self._give_page(
            path, query, items, lambda page: {"schemaVersion": 2, "mediaType": doc.INDEX, "manifests": page}
        )


def digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def length(content: bytes) -> dict[str, str]:
    return {"Content-Length": str(len(content))}


@pytest.fixture
def little_registry() -> Iterator[Callable[..., LittleRegistry]]:
    """Start registries that misbehave on request: `little_registry()`, `little_registry(certificate)` for TLS."""
    started: list[LittleRegistry] = []

    def start(*words: Any, **more: Any) -> LittleRegistry:
        started.append(LittleRegistry(*words, **more))
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.fixture
def little(little_registry: Callable[..., LittleRegistry]) -> LittleRegistry:
    """One of them, over plain HTTP."""
    return little_registry()


def answering(status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> Answer:
    return lambda handler: handler.answer(status, headers, body)


def resetting(handler: _Handler) -> None:
    """The connection is cut without an answer: RST, not FIN (socket(7), SO_LINGER of no seconds)."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.close_connection = True
    handler.connection.close()


def cutting(content: bytes, promised: int) -> Answer:
    """An answer that promises more than comes."""

    def answer(handler: _Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(promised))
        handler.end_headers()
        handler.wfile.write(content)
        handler.wfile.flush()
        resetting(handler)

    return answer


def cutting_a_chunk(content: bytes, promised: int) -> Answer:
    """A chunked answer (RFC 9112 7.1) whose second chunk promises more than comes before the reset."""

    def answer(handler: _Handler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        first, second = content[: len(content) // 2], content[len(content) // 2 :]
        handler.wfile.write(b"%x\r\n%b\r\n%x\r\n%b" % (len(first), first, promised - len(first), second))
        handler.wfile.flush()
        resetting(handler)

    return answer


def resetting_after(count: int) -> Answer:
    """So many bytes of the request's body are taken, then the connection is reset: for an `early` fault."""

    def answer(handler: _Handler) -> None:
        assert len(handler.rfile.read(count)) == count
        resetting(handler)

    return answer


@pytest.fixture
def answers() -> SimpleNamespace:
    """What a `Fault` can answer: `of(status, headers, body)`, `reset`, `reset_after(count)` of an upload,
    `cut(content, promised)`, and the same in chunks, `cut_chunk`.
    """
    return SimpleNamespace(
        of=answering, reset=resetting, reset_after=resetting_after, cut=cutting, cut_chunk=cutting_a_chunk
    )


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Certificate and key for 127.0.0.1 and registry.test, signed by themselves."""
    place = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    names = [x509.IPAddress(ip_address("127.0.0.1")), x509.DNSName("registry.test")]
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (place / "cert.pem").write_bytes(made.public_bytes(Encoding.PEM))
    plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (place / "key.pem").write_bytes(plain)
    return place / "cert.pem", place / "key.pem"


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Nothing of this machine's own settings, and no long pause."""
    (tmp_path / "docker").mkdir()
    monkeypatch.setattr("imagekit.oci.transport._BACKOFF", 0.001)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr("imagekit.oci.tls.SYSTEM_FOLDERS", (tmp_path / "etc",))
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "IMAGEKIT_REGISTRIES"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return tmp_path


@pytest.fixture
def account(alone: Path) -> Callable[..., None]:
    """Let docker's configuration have the account `me` for these hosts."""

    def write(*hosts: str) -> None:
        entry = {"auth": base64.b64encode(b"me:secret").decode()}
        (alone / "docker/config.json").write_text(json.dumps({"auths": dict.fromkeys(hosts, entry)}))

    return write
