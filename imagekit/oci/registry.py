"""Registries: reaching a repository, its mirrors included, and pushing an image to it. Touches the network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

from imagekit.cancellation import Cancellation
from imagekit.errors import NetworkError
from imagekit.oci.answers import PassingError, about, drain
from imagekit.oci.blobs import BlobReader, read_verified
from imagekit.oci.copy import copy
from imagekit.oci.documents import Descriptor
from imagekit.oci.endpoint import Endpoint
from imagekit.oci.hosts import load_registries, mirrored
from imagekit.oci.reference import Reference, check_tag, is_loopback
from imagekit.oci.repository import Repository
from imagekit.oci.transport import CONNECTIONS, Transport
from imagekit.oci.trees import walk
from imagekit.workers import Workers

_MIRROR_ATTEMPTS = 2
"""The registry itself stands behind it, so not much time is spent on one that does not answer."""


def push(
    store: BlobReader,
    descriptor: Descriptor,
    reference: Reference,
    tags: Sequence[str] = (),
    *,
    cancellation: Cancellation,
) -> frozenset[Descriptor]:
    """Put an image or index with all that it needs into a repository, then point `tags` and the reference's tag at it.

    Children go before parents, tags last; what is there already is not sent again. Returns what was sent. Raises
    `NetworkError`, `IntegrityError`, `UnreadableError` for what `store` cannot give, `UsageError` for a tag that cannot
    be one.
    """
    wanted = dict.fromkeys(check_tag(tag) for tag in (*tags, reference.tag) if tag)
    workers = Workers(CONNECTIONS, cancellation)
    with connected(reference, actions="pull,push", cancellation=cancellation) as repository:
        sent: frozenset[Descriptor] = frozenset()
        if not _has_all(repository, store, descriptor, workers):
            sent = copy(store, repository, descriptor, workers=workers)
        raw = read_verified(store, descriptor)
        if descriptor not in sent:
            repository.list_referrer(raw, descriptor)
        for tag in wanted:
            repository.tag(tag, raw, descriptor)
    return sent


def _has_all(repository: Repository, store: BlobReader, root: Descriptor, workers: Workers) -> bool:
    """Whether the repository has `root` and every manifest and index below it, as `store` knows them.

    A retention rule may take a manifest that its index still names. Blobs are not asked for: a registry takes them away
    only when no manifest needs them any more.
    """
    repository.learn(root)
    if not repository.has(root.digest):
        return False
    children = [node.descriptor for node in walk(store, (root,)).documents.values() if node.descriptor != root]
    for child in children:
        repository.learn(child)
    return not [child for child, there in workers.each(lambda each: repository.has(each.digest), children) if not there]


@contextmanager
def connected(reference: Reference, *, cancellation: Cancellation, actions: str = "pull") -> Iterator[Repository]:
    """The repository of `reference`, with permission for `actions` (`pull`, `pull,push`) asked for as it is needed.

    What is only read is asked of the mirrors first that registries.yaml names. Raises `ConfigError` for a mistake in
    that file, `NetworkError` if nobody is there.
    """
    registries = load_registries()
    named = registries.host(reference.host).mirrors if "push" not in actions else ()
    with ExitStack() as stack:

        def entered(place: Reference, mirrors: Sequence[Repository] = (), attempts: int | None = None) -> Repository:
            transport = stack.enter_context(Transport(cancellation, registries=registries, attempts=attempts))
            try:
                base = settle(transport, place)
            except NetworkError as error:
                raise about(error, place.name) from error
            return Repository(Endpoint(place, transport, base, actions), mirrors)

        mirrors = []
        for mirror in named:
            with suppress(NetworkError):
                mirrors.append(entered(mirrored(mirror, reference), attempts=_MIRROR_ATTEMPTS))
        yield entered(reference, mirrors)


def settle(transport: Transport, reference: Reference) -> str:
    """The address of a registry, which `transport` then takes for named by the user; asks it where http is possible."""
    host = reference.api_host
    transport.trust(host)
    known = transport.registries.host(reference.host)
    for each in (*known.token_hosts, *known.storage_hosts):
        transport.trust(each, home=False)
    if known.plain_http:
        return f"http://{host}"
    return transport.patiently(lambda: _base(transport, host))


def _base(transport: Transport, host: str) -> str:
    """`https://host`; on this machine http if that is what is spoken there."""
    if not is_loopback(host):
        return f"https://{host}"
    try:
        answer = transport.send("GET", f"http://{host}/v2/", {})
        drain(answer)
        if answer.status != 400:
            return f"http://{host}"
    except PassingError as error:
        plain = error
    else:
        plain = PassingError(f"{host} does not answer")
    try:
        drain(transport.send("GET", f"https://{host}/v2/", {}))
    except PassingError:
        raise plain from None
    return f"https://{host}"
