"""A checksum database on loopback: a real log with a key of its own, which can be told to lie."""

from __future__ import annotations

import base64
import hashlib
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

NAME = "sums.test"
Answer = tuple[int, bytes]


def h1_of(text: str) -> str:
    return "h1:" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


class Log:
    """The Merkle tree of RFC 6962, written as the RFC says it: recursive and slow."""

    def __init__(self, texts: list[str]) -> None:
        self.texts = texts
        self._leaves = [hashlib.sha256(b"\0" + text.encode()).digest() for text in texts]
        self._known: dict[tuple[int, int], bytes] = {}

    def hash(self, low: int, high: int) -> bytes:
        if high - low == 0:
            return hashlib.sha256().digest()
        if high - low == 1:
            return self._leaves[low]
        if (low, high) not in self._known:
            split = 1
            while split * 2 < high - low:
                split *= 2
            middle = low + split
            both = self.hash(low, middle) + self.hash(middle, high)
            self._known[low, high] = hashlib.sha256(b"\1" + both).digest()
        return self._known[low, high]


class Database:
    """Serves `/sumdb/sums.test/…` as a module proxy does. `lies`: path -> another answer; `asked`: all paths."""

    def __init__(self, modules: dict[tuple[str, str], tuple[str, str]], size: int, seed: str = "") -> None:
        self.private = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"key").digest())
        filler = [f"filler.test/m{seed}{n} v1.0.0 {h1_of(f'{seed}{n}')}\n" for n in range(size - len(modules))]
        self.numbers: dict[str, int] = {}
        texts = list(filler)
        for place, ((path, version), (zip_sum, mod_sum)) in enumerate(modules.items()):
            at = (place * 89) % (len(texts) + 1)
            texts.insert(at, f"{path} {version} {zip_sum}\n{path} {version}/go.mod {mod_sum}\n")
        for number, text in enumerate(texts):
            self.numbers["@".join(text.split()[:2])] = number
        self.log = Log(texts)
        self.size = len(texts)
        self.asked: list[str] = []
        self.lies: dict[str, Callable[[Answer], Answer]] = {}
        self.delay = 0.0
        self.drip = 0.0

    @property
    def key(self) -> str:
        public = b"\1" + self.private.public_key().public_bytes_raw()
        hashed = hashlib.sha256(NAME.encode() + b"\n" + public).digest()[:4]
        return f"{NAME}+{hashed.hex()}+{base64.b64encode(public).decode()}"

    def note(self, size: int | None = None) -> bytes:
        size = self.size if size is None else size
        root = base64.b64encode(self.log.hash(0, size)).decode()
        return self.sign(f"go.sum database tree\n{size}\n{root}\n")

    def sign(self, text: str) -> bytes:
        signed = bytes.fromhex(self.key.split("+")[1]) + self.private.sign(text.encode())
        return f"{text}\n— {NAME} {base64.b64encode(signed).decode()}\n".encode()

    def answer(self, path: str) -> Answer:
        kind, _, rest = path.partition("/")
        honest = {"supported": self._supported, "lookup": self._lookup, "tile": self._tile}.get(kind, self._nothing)
        found = honest(rest)
        lie = self.lies.get(path) or self.lies.get(kind)
        return lie(found) if lie else found

    def _supported(self, _: str) -> Answer:
        return 200, b""

    def _nothing(self, _: str) -> Answer:
        return 404, b"not here"

    def _lookup(self, rest: str) -> Answer:
        number = self.numbers.get(rest)
        if number is None or number >= self.size:
            return 404, b"no such module"
        return 200, f"{number}\n{self.log.texts[number]}\n".encode() + self.note()

    def _tile(self, rest: str) -> Answer:
        parts = rest.split("/")
        width = 256
        if len(parts) > 2 and parts[-2].endswith(".p"):
            width = int(parts.pop())
            parts[-1] = parts[-1].removesuffix(".p")
        level, index = int(parts[1]), int("".join(part.removeprefix("x") for part in parts[2:]))
        span = 256**level
        available = min(self.size // span - index * 256, 256)
        if width > available or (available == 256 and width < 256):
            return 404, b"no such tile"
        first = index * 256
        return 200, b"".join(self.log.hash(n * span, (n + 1) * span) for n in range(first, first + width))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    database: Database

    def do_GET(self) -> None:
        database = self.server.database  # type: ignore[attr-defined]  # the server below carries it
        path = self.path.removeprefix(f"/sumdb/{NAME}/")
        database.asked.append(path)
        time.sleep(database.delay)
        status, body = database.answer(path)
        try:
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            if database.drip:
                for at in range(len(body)):
                    self.wfile.write(body[at : at + 1])
                    time.sleep(database.drip)
            else:
                self.wfile.write(body)
        except OSError:
            self.close_connection = True

    def log_message(self, *arguments: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


@pytest.fixture
def database_class() -> type[Database]:
    return Database


@pytest.fixture
def serve() -> Iterator[Callable[[Database], str]]:
    """Serve a database; the URL to write into GOPROXY."""
    running: list[_Server] = []

    def start(database: Database) -> str:
        server = _Server(("127.0.0.1", 0), _Handler)
        server.database = database  # type: ignore[attr-defined]  # read by the handler above
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        running.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


@pytest.fixture
def goroot(tmp_path: Path) -> Path:
    """A Go source tree that knows the key of the database on loopback."""
    root = tmp_path / "goroot"
    folder = root / "src/cmd/go/internal/modfetch"
    folder.mkdir(parents=True)
    key = Database({}, 1).key
    (folder / "key.go").write_text(
        f'package modfetch\n\nvar knownGOSUMDB = map[string]string{{\n\t"{NAME}": "{key}",\n}}\n'
    )
    alias = f'\tif gosumdb == "alias.test" {{\n\t\tgosumdb = "{NAME} https://alias.test"\n\t}}\n'
    (folder / "sumdb.go").write_text(alias)
    return root


@pytest.fixture
def make_zip(tmp_path: Path) -> Callable[..., Path]:
    """Write a zip from (name, content) pairs or ready ZipInfo entries."""

    def make(*entries: tuple[str | zipfile.ZipInfo, bytes], name: str = "module.zip") -> Path:
        path = tmp_path / name
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for entry, content in entries:
                archive.writestr(entry, content)
        return path

    return make
