"""Permission to talk to one repository: the registry's challenge, answered with Basic or a bearer token.

RFC 9110 section 11 and the token flow of the distribution spec. Touches the network through `Transport`. The scope of a
token is chosen here, never by the challenge. Credentials go to the registry, to the token service (`realm`) that it
names on its own host or in its own domain, to token services that the user named, and to nobody else; by http only if
the registry itself is spoken to so.
"""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Callable
from itertools import zip_longest
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit, urlunsplit

import msgspec

from imagekit.content import parse_json
from imagekit.errors import NetworkError
from imagekit.oci.addresses import authority, origin, same_site, shown_url
from imagekit.oci.answers import drain, failure
from imagekit.oci.transport import Transport
from imagekit.workers import waited

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

    from imagekit.oci.credentials import Credentials

_SCHEME = r"(?:^|,)\s*(?P<scheme>[A-Za-z][A-Za-z0-9-]*)(?=\s+[A-Za-z0-9_-]+\s*=|\s*(?:,|$))"
_PARAMETER = r'(?<![A-Za-z0-9_-])(?P<key>[A-Za-z0-9_-]+)\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[^\s,"]+))'
_USABLE = r"[\x21-\x7e]{1,16384}"
_TOKEN_LIMIT = 64 << 10
CLIENT = "imagekit"


class Challenge(msgspec.Struct, frozen=True):
    """What `WWW-Authenticate` demands; `scheme` in lower case: `basic`, `bearer`, '' for neither."""

    scheme: str = ""
    realm: str = ""
    service: str = ""


def parse_challenge(header: str) -> Challenge:
    """The challenge to answer, bearer before basic; an empty one where neither is offered."""
    marks = list(re.finditer(_SCHEME, header))
    found: dict[str, Challenge] = {}
    for mark, after in zip_longest(marks, marks[1:]):
        text = header[mark.end() : after.start() if after else len(header)]
        given = {each["key"].lower(): _unquoted(each) for each in re.finditer(_PARAMETER, text)}
        scheme = mark["scheme"].lower()
        found.setdefault(scheme, Challenge(scheme, given.get("realm", ""), given.get("service", "")))
    return found.get("bearer") or found.get("basic") or Challenge()


def _unquoted(found: re.Match[str]) -> str:
    return found["bare"] or re.sub(r"\\(.)", r"\1", found["quoted"] or "")


class Authorization:
    """The `Authorization` header for one repository of one registry; safe for threads."""

    def __init__(
        self,
        transport: Transport,
        base: str,
        repository: str,
        actions: str,
        find: Callable[[], Credentials],
        token_hosts: tuple[str, ...] = (),
    ) -> None:
        self._transport, self._base, self._find, self._token_hosts = transport, base, find, token_hosts
        self._scopes = [f"repository:{repository}:{actions}"] if repository else []
        self._lock = threading.Lock()
        self._header = ""
        self._credentials: Credentials | None = None

    def headers_for(self, url: str) -> dict[str, str]:
        """What to send along with a request to `url`: nothing unless it is the registry itself."""
        return {"Authorization": self._header} if self._header and origin(url) == origin(self._base) else {}

    def also(self, repository: str) -> None:
        """Ask for permission to read another repository too, with the next token (mounting a blob needs it)."""
        scope = f"repository:{repository}:pull"
        with self._lock:
            if scope not in self._scopes:
                self._scopes.append(scope)

    def answer(self, refusal: BaseHTTPResponse, sent: str) -> bool:
        """Whether a request that was refused with 401, and had sent the header `sent`, is worth another try.

        Raises `NetworkError` where the challenge cannot or must not be answered, `PassingError` where the token service
        fails: whoever asks again with patience asks it again too.
        """
        challenge = parse_challenge(refusal.headers.get("WWW-Authenticate", ""))
        with self._lock:
            if self._header != sent:
                return True
            before, self._header = self._header, self._answered(challenge)
            return self._header not in ("", before)

    def _answered(self, challenge: Challenge) -> str:
        if self._credentials is None:
            self._credentials = waited(self._find, self._transport.cancellation)
        match challenge.scheme:
            case "basic":
                self._transport.check(self._base)
                return _basic(self._credentials) if self._credentials.username else ""
            case "bearer":
                return f"Bearer {self._token(challenge, self._credentials)}"
            case _:
                return ""

    def _token(self, challenge: Challenge, credentials: Credentials) -> str:
        self._check_realm(challenge.realm, credentials)
        fields = [("service", challenge.service), *(("scope", scope) for scope in self._scopes)]
        if credentials.identity_token:
            answer = self._exchange(challenge.realm, fields, credentials.identity_token)
        else:
            headers = {"Authorization": _basic(credentials)} if credentials else {}
            answer = self._granted("GET", _with_query(challenge.realm, fields), headers, None)
        return _read_token(answer, challenge.realm)

    def _exchange(self, realm: str, fields: list[tuple[str, str]], token: str) -> bytes:
        """The OAuth2 way: an identity token is traded in for an access token."""
        scopes = " ".join(value for key, value in fields if key == "scope")
        form = {"grant_type": "refresh_token", "client_id": CLIENT, "refresh_token": token}
        form |= {key: value for key, value in (dict(fields) | {"scope": scopes}).items() if value}
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return self._granted("POST", realm, headers, urlencode(form).encode())

    def _granted(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> bytes:
        answer = self._transport.send(method, url, headers, body)
        if answer.status != 200:
            raise failure(answer, f"a token from {shown_url(url)}")
        return drain(answer, _TOKEN_LIMIT)

    def _check_realm(self, realm: str, credentials: Credentials) -> None:
        """Raise `NetworkError` unless a token may be asked for at `realm`, with these credentials."""
        base = shown_url(self._base)
        try:
            self._transport.check(realm)
            plain = realm.startswith("http:")
        except NetworkError:
            plain = True
        if plain and not (self._base.startswith("http:") and self._is_plain(realm)):
            raise NetworkError(
                f"{base} wants credentials sent to {shown_url(realm)!r}, which is not encrypted",
                hint="the registry's token realm must be https",
            )
        self._transport.moved(self._base, realm, setting="token_hosts")
        host, own = origin(realm)[1], origin(self._base)[1]
        if credentials and not same_site(own, host) and not {host, authority(realm)}.intersection(self._token_hosts):
            raise NetworkError(
                f"{base} wants credentials sent to {shown_url(realm)!r}, which is another host",
                hint=f'if that is right, name it in registries.yaml: token_hosts: ["{authority(realm)}"]',
            )

    def _is_plain(self, realm: str) -> bool:
        try:
            _, host, port = origin(realm)
        except ValueError:
            return False
        return bool(host) and realm.startswith("http:") and self._transport.may_be_plain(host, port)


def _basic(credentials: Credentials) -> str:
    pair = f"{credentials.username}:{credentials.password}".encode()
    return "Basic " + base64.b64encode(pair).decode()


def _with_query(realm: str, fields: list[tuple[str, str]]) -> str:
    parts = urlsplit(realm)
    query = "&".join(filter(None, (parts.query, urlencode([(key, value) for key, value in fields if value]))))
    return urlunsplit((*parts[:3], query, ""))


class _Granted(msgspec.Struct):
    token: str = ""
    access_token: str = ""


def _read_token(content: bytes, realm: str) -> str:
    try:
        granted = parse_json(content, _Granted)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        granted = _Granted()
    token = granted.token or granted.access_token
    if not re.fullmatch(_USABLE, token):
        raise NetworkError(f"{shown_url(realm)} gave no usable token")
    return token
