"""The manifests and indexes of a repository: read whole and checked, put and deleted. Touches the network.

Where a digest is kept, under `manifests/` or `blobs/`, is learnt from the descriptors and documents that pass.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from imagekit.content import Digest, digest_of, parse_digest, parse_json
from imagekit.errors import IntegrityError, UnreadableError
from imagekit.oci.answers import drain
from imagekit.oci.documents import DOCUMENT_LIMIT, INDEX_TYPES, MANIFEST_TYPES, Descriptor, decode_document
from imagekit.oci.endpoint import Endpoint
from imagekit.text import line

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

_TYPES = MANIFEST_TYPES | INDEX_TYPES
_ACCEPT = ", ".join(sorted(_TYPES))
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_KEPT = (201, 200, 202, 204)
"""How a registry says that it keeps a manifest: 201 by the spec, the others as every client takes them."""
_SIZE = re.compile(r"[0-9]{1,15}")


class Manifests:
    """What a repository keeps under `manifests/`; a `target` is a tag or a digest."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._known: dict[Digest, str] = {}
        self._fetched: dict[Digest, bytes] = {}

    def kind(self, digest: Digest) -> str:
        """The media type of what is known to be a manifest or index; '' for any other blob."""
        return self._known.get(digest, "")

    def learn(self, descriptor: Descriptor) -> None:
        """Remember a manifest or index, which other blobs are not."""
        if descriptor.is_document:
            self._known[descriptor.digest] = descriptor.media_type

    def resolve(self, target: str) -> Descriptor:
        """What the target stands for; raises `MissingBlobError`, and `IntegrityError` for another digest."""
        answer = self._endpoint.ask("HEAD", f"manifests/{target}", {"Accept": _ACCEPT})
        answer.release_conn()
        media_type = _media_type(answer)
        digest, size = answer.headers.get("Docker-Content-Digest", ""), answer.headers.get("Content-Length", "")
        if not (_DIGEST.fullmatch(digest) and _SIZE.fullmatch(size) and media_type in _TYPES):
            raw, media_type = self.read(target)
            digest, size = digest_of(raw), str(len(raw))
        if target.startswith("sha256:") and target != digest:
            raise IntegrityError(f"{self._endpoint}: asked for {target}, the registry has {line(digest)[:80]}")
        return Descriptor(media_type, parse_digest(digest), int(size))

    def fetch(self, target: str) -> Descriptor:
        """`resolve` by reading it; `read` of its digest then need not ask again. Raises what `read` raises."""
        raw, media_type = self.read(target)
        found = Descriptor(media_type, digest_of(raw), len(raw))
        self._fetched[found.digest] = raw
        self.learn(found)
        return found

    def read(self, target: str) -> tuple[bytes, str]:
        """Bytes and media type; what the document names is learnt.

        Raises `MissingBlobError`, `IntegrityError` for other bytes than those of a digest, `UnreadableError` for what
        is none.
        """
        if (fetched := self._fetched.get(Digest(target))) is not None:
            return fetched, self.kind(Digest(target))
        raw, answer = self._endpoint.patiently(lambda: self._asked(target))
        if len(raw) > DOCUMENT_LIMIT:
            raise UnreadableError(f"{self._endpoint}: manifest {target} has more than {DOCUMENT_LIMIT} bytes")
        digest, said = digest_of(raw), answer.headers.get("Docker-Content-Digest", "")
        if target.startswith("sha256:") and digest != target:
            raise IntegrityError(f"{self._endpoint}: asked for {target}, the registry gave {digest}")
        if _DIGEST.fullmatch(said) and said != digest:
            raise IntegrityError(
                f"{self._endpoint}: manifest {target}: the registry gave {digest}, and calls it {said}"
            )
        media_type = self.kind(digest) or self._true_type(target, raw, _media_type(answer))
        try:
            children = decode_document(raw, media_type).children
        except UnreadableError as error:
            raise UnreadableError(f"{self._endpoint}: manifest {target}: {error.message}", hint=error.hint) from error
        for child in children:
            self.learn(child)
        return raw, media_type

    def put(self, target: str, raw: bytes, descriptor: Descriptor) -> BaseHTTPResponse:
        """Keep `raw` under the target; the answer, drained. Raises `IntegrityError` if it is kept as another digest."""
        url, headers = f"{self._endpoint.url}/manifests/{target}", {"Content-Type": descriptor.media_type}
        answer = self._endpoint.patiently(lambda: self._endpoint.send("PUT", url, headers, raw, wanted=_KEPT))
        self._endpoint.check_kept(answer, descriptor)
        return answer

    def delete(self, target: str) -> None:
        """Take it away; raises `MissingBlobError` if it is not there."""
        drain(self._endpoint.ask("DELETE", f"manifests/{target}", {}, wanted=(202, 200, 204)))

    def _asked(self, target: str) -> tuple[bytes, BaseHTTPResponse]:
        what = f"GET manifests/{target}"
        answer = self._endpoint.send("GET", f"{self._endpoint.url}/manifests/{target}", {"Accept": _ACCEPT}, what=what)
        return drain(answer, DOCUMENT_LIMIT + 1, f"{self._endpoint}: {what}"), answer

    def _true_type(self, target: str, raw: bytes, said: str) -> str:
        """The media type that the registry says, else the one that the document has in itself."""
        if said in _TYPES:
            return said
        with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            if (own := parse_json(raw, _Typed).media_type) in _TYPES:
                return own
        raise UnreadableError(
            f"{self._endpoint}: manifest {target} is {line(said)[:80] or 'of no content type'}, no image or index",
            hint="is this the address of a registry? A page of a proxy looks so too; old schema 1 images are not read",
        )


class _Typed(msgspec.Struct, rename="camel"):
    media_type: str = ""


def _media_type(answer: BaseHTTPResponse) -> str:
    return answer.headers.get("Content-Type", "").partition(";")[0].strip()
