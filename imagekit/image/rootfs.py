"""The constant pieces of a root file system, each a layer with the same bytes for every image and architecture.

Reads disk: certifi's bundle, the tzdata wheel's files, and what a recipe names instead of them.
"""

from __future__ import annotations

import base64
import io
import os
import re
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from imagekit.audit.needs import Piece
from imagekit.content import Digest, digest_of, hash_file
from imagekit.errors import ConfigError, UnreadableError
from imagekit.image.kept import LayerCache, identity_of, with_digest
from imagekit.image.recipe import CertificateSetting, Recipe, setting_of
from imagekit.image.sink import write_tar
from imagekit.oci.files import open_regular
from imagekit.oci.layers import Compression, Entry

MTIME = 0
"""Seconds since 1970 of every entry in a constant layer: the commit must not change bytes that it did not change."""

CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
ZONES = "usr/share/zoneinfo"
_PASSWD = b"root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n"
_GROUP = b"root:x:0:\nnonroot:x:65532:\n"
_NSSWITCH = b"passwd: files\ngroup: files\nhosts: files dns\n"
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")
_BEGIN = re.compile(rb"-----BEGIN (?:[A-Z0-9]+ )*CERTIFICATE-----")
_SEQUENCE = 0x30
"""The tag of a DER sequence (X.690 8.9, 8.14)."""
_LARGEST = 8 << 20
"""Bytes of one file of a piece: certifi's bundle has 0.23 MB, the largest zone file 4 kB, tzdata.zi 0.11 MB."""
_MOST_ZONES = 10_000


def entries_of(recipe: Recipe, piece: Piece, root: Path) -> tuple[Entry, ...]:
    """The entries of a piece that was found needed; paths in the recipe are relative to `root`.

    Raises `ConfigError` for a replacement that is not what it should be.
    """
    setting = setting_of(recipe, piece)
    replaced = root / setting if isinstance(setting, str) and setting != "auto" else None
    match piece:
        case Piece.CA:
            extra = setting.extra if isinstance(setting, CertificateSetting) else ()
            return (_file(CERTIFICATES, _bundle(replaced, tuple(root / path for path in extra))),)
        case Piece.TZDATA:
            return tuple(_zones(replaced)) if replaced else _packaged_zones()
        case Piece.USERS:
            return _users(replaced)
        case Piece.NSSWITCH:
            return (_file("etc/nsswitch.conf", _nsswitch(recipe, root)),)
        case Piece.TMP:
            return (Entry("tmp", "dir", 0o1777),)


def write_rootfs_tar(path: Path, tree: tuple[Entry, ...], cache: LayerCache) -> tuple[Digest, int]:
    """dist/rootfs/<image>.tar at `path`, where none is yet: `tree` as one plain tar; its digest and size in bytes.

    Docker unpacks it in `ADD`; an empty one it would copy as a file, so Dockerfiles of an empty tree leave it out.
    """
    plain = Compression("none")
    promised = tuple(map(with_digest, tree))
    identity = ["rootfs", MTIME, [identity_of(entry) for entry in promised]]
    return cache.file(path, identity, lambda stream: write_tar(stream, promised, mtime=MTIME, compression=plain))


def _file(path: str, content: bytes) -> Entry:
    return Entry(path, "file", 0o444, content=content, digest=digest_of(content))


def _bundle(replaced: Path | None, extra: tuple[Path, ...]) -> bytes:
    base = certificates_in(replaced) if replaced else _read(_certifi())
    return b"".join((base, *map(certificates_in, extra)))


def sources_digest() -> Digest:
    """Of what the constant pieces are made from: certifi's bundle as it is now, and tzdata's rules."""
    bundle, _ = hash_file(_certifi())
    rules, _ = hash_file(_packaged_zone_folder() / "tzdata.zi")
    return digest_of("\n".join((bundle, rules, digest_of(_PASSWD + _GROUP + _NSSWITCH))).encode())


def _certifi() -> Path:
    import certifi

    return Path(certifi.where())


def certificates_in(path: Path) -> bytes:
    """The PEM certificates of a file, one after the other, without what stands between them.

    Raises `ConfigError` if there is none, if one is cut off or damaged, or if the file holds a private key: Go passes
    over a certificate that it cannot read, and the image would trust less than its recipe says.
    """
    content = _read(path)
    if b"PRIVATE KEY-----" in content:
        raise ConfigError(f"{path} holds a private key", hint="name a file that holds certificates only")
    found, begun = _PEM.findall(content), len(_BEGIN.findall(content))
    if not begun:
        raise ConfigError(f"{path} holds no PEM certificate", hint="convert it: openssl x509 -inform der -outform pem")
    if (whole := sum(map(_is_whole, found))) != begun:
        raise ConfigError(
            f"{path} holds {begun} certificates, and only {whole} of them can be read",
            hint="get the file again: one is cut off or damaged; a TRUSTED one becomes plain by openssl x509 -in FILE",
        )
    return b"".join(block.replace(b"\r", b"") + b"\n" for block in found)


def _is_whole(block: bytes) -> bool:
    """Whether a PEM block holds one DER sequence, as long as it says (X.690 8.1.3): what a certificate is at least."""
    try:
        der = base64.b64decode(b"".join(block.split(b"-----")[2].split()), validate=True)
    except ValueError:
        return False
    if len(der) < 2 or der[0] != _SEQUENCE:
        return False
    more = der[1] & 0x7F if der[1] & 0x80 else 0
    return len(der) == 2 + more + (int.from_bytes(der[2 : 2 + more]) if more else der[1])


@cache
def _packaged_zones() -> tuple[Entry, ...]:
    """Read once a run: 600 files, for every platform of every image the same."""
    return tuple(_zones(_packaged_zone_folder()))


def _packaged_zone_folder() -> Path:
    spec = find_spec("tzdata")
    places = list(spec.submodule_search_locations or ()) if spec else []
    if not places:
        raise UnreadableError("the tzdata package is not installed", hint="pip install tzdata")
    return Path(places[0]) / "zoneinfo"


def _zones(folder: Path) -> Iterator[Entry]:
    """Every zone file below `folder`, sorted; Python's own files in the package are left out."""
    found = 0
    for inside, path in _walk(folder, ""):
        yield _file(f"{ZONES}/{inside}", _read(path))
        found += 1
    if not 0 < found <= _MOST_ZONES:
        raise ConfigError(f"{folder} holds {found} zone files", hint="name a folder like /usr/share/zoneinfo")


def _walk(folder: Path, inside: str) -> Iterator[tuple[str, Path]]:
    try:
        with os.scandir(folder) as listing:
            members = sorted(listing, key=lambda member: member.name)
    except OSError as error:
        raise ConfigError(
            f"cannot list {folder}: {error.strerror}",
            hint="rootfs.tzdata names a folder like /usr/share/zoneinfo",
        ) from error
    for member in members:
        name = f"{inside}{member.name}"
        if member.name.endswith((".py", ".pyc")) or member.name == "__pycache__":
            continue
        if member.is_dir(follow_symlinks=False):
            yield from _walk(Path(member.path), f"{name}/")
        elif member.is_file():
            yield name, Path(member.path)


def _users(replaced: Path | None) -> tuple[Entry, ...]:
    passwd = _read(replaced / "passwd") if replaced else _PASSWD
    group = _read(replaced / "group") if replaced else _GROUP
    return (_file("etc/group", group), _file("etc/passwd", passwd))


def _nsswitch(recipe: Recipe, root: Path) -> bytes:
    """The folder that replaces the users may bring its own nsswitch.conf."""
    users = recipe.rootfs.users
    if isinstance(users, str) and users not in ("auto", "true", "false"):
        own = root / users / "nsswitch.conf"
        return _read(own) if own.is_file() else _NSSWITCH
    return _NSSWITCH


def _read(path: Path) -> bytes:
    try:
        with io.BufferedReader(open_regular(path)) as stream:
            content = stream.read(_LARGEST + 1)
    except OSError as error:
        raise ConfigError(
            f"cannot read {path}: {error.strerror}", hint="paths are relative to imagekit.yaml"
        ) from error
    if len(content) > _LARGEST:
        raise ConfigError(f"{path} is larger than {_LARGEST} bytes", hint="name a smaller file")
    return content
