"""`imagekit bundle create|verify|load`: carry images across an air gap."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imagekit.cli.options import Timeout
from imagekit.cli.stopping import SWITCH, limit_time
from imagekit.errors import UsageError
from imagekit.text import line

if TYPE_CHECKING:
    from imagekit.bundle.verify import Verified

_PASSWORD = "IMAGEKIT_KEY_PASSWORD"  # noqa: S105 - the name of a variable, not its value

Bundle = Annotated[Path, typer.Argument(metavar="BUNDLE", help="The tar; VOLUMES.sha256 and its .asc lie beside it.")]
Trust = Annotated[
    Path | None, typer.Option("--trust", metavar="FILE", help="trust.yaml: whose signatures count (require.bundle).")
]
PolicyFile = Annotated[
    str | None,
    typer.Option("--policy", metavar="FILE", help="Judge the programs by this policy too: a profile or policy.yaml."),
]
Volumes = Annotated[
    Path | None,
    typer.Option("--volumes", metavar="FILE", help="The signed list; default VOLUMES.sha256 beside BUNDLE."),
]


def create(
    images: Annotated[
        list[str],
        typer.Argument(metavar="IMAGE...", help="oci:DIR[:NAME], oci-archive:FILE[:NAME], bundle:FILE[:NAME]"),
    ],
    out: Annotated[Path, typer.Option("-o", metavar="FILE", help="The tar to write.")],
    openpgp: Annotated[
        list[str] | None,
        typer.Option("--openpgp", metavar="FINGERPRINT", help="Sign with this key of your gpg; repeatable."),
    ] = None,
    password_file: Annotated[
        Path | None,
        typer.Option(
            "--password-file", metavar="FILE", help=f"The keys' password; else {_PASSWORD}, else gpg's agent asks."
        ),
    ] = None,
    timeout: Timeout = None,
) -> None:
    """Write one tar that is an OCI layout and a docker archive, with its digest beside it, both signed.

    Prints the tar's line of sha256sum.
    """
    from imagekit.bundle.create import create
    from imagekit.content import hex_of
    from imagekit.image.words import source_date_epoch

    limit_time(timeout)
    sign = _signer(openpgp or [], password_file)
    epoch = source_date_epoch(os.environ.get("SOURCE_DATE_EPOCH"))
    made = create(images, out, sign=sign, epoch=epoch, cancellation=SWITCH)
    for image in made.document.images:
        _say(f"{image.ref}  {image.digest}  {' '.join(image.platforms)}")
    _say(
        f"wrote {out} ({made.size} bytes) and {made.volumes}" + (f", signed by {', '.join(openpgp)}" if openpgp else "")
    )
    if not made.signed:
        _say("it is not signed, so no `bundle verify` will believe it: add --openpgp FINGERPRINT")
    print(f"{hex_of(made.digest)}  {out}")


def verify(
    bundle: Bundle,
    trust: Trust = None,
    policy: PolicyFile = None,
    volumes: Volumes = None,
    timeout: Timeout = None,
) -> None:
    """Check a bundle without network or gpg: signatures, every byte, the documents, and the programs again.

    Prints each image as repository@digest.
    """
    limit_time(timeout)
    with _verified(bundle, trust, policy, volumes) as verified:
        for image in verified.images:
            name, colon, tag = image.docker_tags[0].rpartition(":")
            print(line(f"{name if colon and '/' not in tag else image.docker_tags[0]}@{image.descriptor.digest}"))


Into = Annotated[str, typer.Option("--into", metavar="WHERE", help="An engine (docker, podman, …), or oci:DIR.")]


def load(
    bundle: Bundle,
    trust: Trust = None,
    policy: PolicyFile = None,
    volumes: Volumes = None,
    into: Into = "docker",
    timeout: Timeout = None,
) -> None:
    """Verify a bundle, and only when all of it passes put its images into a container engine or a layout.

    Prints the engine's image id, or oci:DIR:NAME, for each image.
    """
    from imagekit.bundle.load import load

    limit_time(timeout)
    with _verified(bundle, trust, policy, volumes) as verified:
        loaded = load(verified, into, cancellation=SWITCH)
        for name in {image.ref_name for image in verified.images} - {image.name for image in loaded}:
            _say(f"{name} was not loaded: it has no linux platform")
    for image in loaded:
        _say(f"loaded {image.name} into {into}")
        print(line(image.where))


def _verified(bundle: Path, trust: Path | None, policy: str | None, volumes: Path | None) -> Verified:
    if trust is None:
        raise UsageError(
            "--trust is missing: a bundle cannot say itself whom to believe",
            hint="write trust.yaml as docs/air-gap.md shows and give --trust trust.yaml",
        )
    from imagekit.audit import policy as audit_policy
    from imagekit.bundle.verify import verify
    from imagekit.trust import policy as trust_policy

    judged_by = audit_policy.load(policy) if policy else None
    demanded = trust_policy.load(trust)
    verified = verify(bundle, demanded, policy=judged_by, volumes=volumes, cancellation=SWITCH)
    for signer in verified.signers:
        _say(f"signed by {signer.certificate}")
    for report in verified.reports:
        _say(f"{len(report.subjects)} programs pass the policy {report.policy}")
    _say(f"{bundle}: {len(verified.store.members)} files, {verified.source.size} bytes, all as signed")
    return verified


def _signer(fingerprints: Sequence[str], password_file: Path | None) -> Callable[[bytes], bytes] | None:
    from imagekit.trust import openpgp

    if not fingerprints:
        return None
    wanted = [openpgp.parse_fingerprint(text) for text in fingerprints]
    password = _password(password_file)
    terminal = os.ttyname(0) if sys.stdin is not None and sys.stdin.isatty() else ""
    env = openpgp.signing_environment(os.environ, terminal)
    return lambda content: openpgp.sign_detached(content, wanted, env=env, password=password, cancellation=SWITCH)


def _password(file: Path | None) -> bytes | None:
    """The first line of the file, else of the environment variable; None lets gpg's agent ask."""
    if file is not None:
        with file.open("rb") as stream:
            return stream.readline(4096).rstrip(b"\r\n")
    return os.environb[_PASSWORD.encode()] if _PASSWORD in os.environ else None


def _say(text: str) -> None:
    print(line(text), file=sys.stderr)
