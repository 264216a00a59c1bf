"""The gate again, on the far side: every program in every image of a bundle, judged by the policies that hold here."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from imagekit.audit.finding import Finding, Severity, Skip
from imagekit.audit.judge import Report, judge
from imagekit.audit.policy import Policy
from imagekit.audit.subject import Source, Subject
from imagekit.audit.subjects.layers import Content, Program, merged, read_layer, started
from imagekit.content import Digest
from imagekit.errors import IntegrityError, RefusedError
from imagekit.oci.blobs import BlobReader
from imagekit.oci.hybrid import NamedImage, Runnable, Tree, runnables

_SHOWN = 20


class _Unpacked(msgspec.Struct, frozen=True):
    """One platform of one image with what its layers hold."""

    name: str
    image: Runnable
    layers: tuple[Content, ...]

    @property
    def label(self) -> str:
        return f"{self.name}:{self.image.config.platform}"


def judge_images(
    store: BlobReader, tree: Tree, images: Sequence[NamedImage], policies: Sequence[Policy], *, today: datetime.date
) -> tuple[Report, ...]:
    """A report a policy on every program in the layers; subjects are `image:platform:/path`.

    The file that an image starts must be one of them and of the image's platform. Raises `IntegrityError` for layers
    that are not what the image's configuration promises.
    """
    unpacked = list(_unpack(store, tree, images))
    subjects = [subject for one in unpacked for subject in _subjects(one)]
    findings = [finding for one in unpacked for finding in _foreign(one)]
    skips = [skip for one in unpacked for skip in _unseen(one)]
    other = sum(layer.other for one in unpacked for layer in one.layers)
    return tuple(
        judge(subjects, policy, today=today, findings=findings, skips=skips, other=other) for policy in policies
    )


def refuse(reports: Sequence[Report], name: str) -> None:
    """Raise `RefusedError` with every finding that is an error, and every skip, if there is one in any report."""
    said = [
        f"  {finding.subject}: {finding.rule}: {finding.message}"
        for report in reports
        for finding in report.findings
        if finding.severity >= Severity.ERROR
    ]
    said += [f"  {skip.path}: not examined: {skip.reason}" for report in reports for skip in report.skips]
    unique = list(dict.fromkeys(said))
    if unique:
        more = [f"  … and {len(unique) - _SHOWN} more"] if len(unique) > _SHOWN else []
        heading = f"{name}: the policy refuses{unique[0].removeprefix(' ')}"
        raise RefusedError(
            "\n".join([heading, *unique[1:_SHOWN], *more]), hint="nothing was loaded; see docs/air-gap.md"
        )


def _unpack(store: BlobReader, tree: Tree, images: Sequence[NamedImage]) -> Iterator[_Unpacked]:
    """Each platform of each image once; a layer that several share is read once."""
    read: dict[tuple[Digest, Digest], Content] = {}
    with TemporaryDirectory(prefix="imagekit-gate-") as folder:
        for image in images:
            for one in runnables(store, tree, image.descriptor):
                diff_ids = one.config.rootfs.diff_ids
                if len(diff_ids) != len(one.manifest.layers):
                    raise IntegrityError(f"{image.ref_name}: {one.descriptor.digest} counts its layers in two ways")
                pairs = list(zip(one.manifest.layers, diff_ids, strict=True))
                for layer, diff_id in pairs:
                    if (layer.digest, diff_id) not in read:
                        read[layer.digest, diff_id] = read_layer(store, layer, diff_id, Path(folder))
                contents = tuple(read[layer.digest, diff_id] for layer, diff_id in pairs)
                yield _Unpacked(image.ref_name, one, contents)


def _subjects(unpacked: _Unpacked) -> Iterator[Subject]:
    for layer, content in zip(unpacked.image.manifest.layers, unpacked.layers, strict=True):
        for program in content.programs:
            suffix = f"#{program.facts.slice}" if program.facts.slice else ""
            yield Subject(
                path=f"{unpacked.label}:{program.path}{suffix}",
                digest=program.digest,
                size=program.size,
                facts=program.facts,
                functions=program.functions,
                source=Source(
                    kind="bundle",
                    ref=unpacked.name,
                    manifest=unpacked.image.descriptor.digest,
                    platform=str(unpacked.image.config.platform),
                    layer=layer.digest,
                    path=program.path,
                ),
            )


def _unseen(unpacked: _Unpacked) -> Iterator[Skip]:
    """The file that the image starts, if it is not among the programs that were examined."""
    word, path = started(unpacked.image.config, merged(unpacked.layers))
    if word and not path:
        yield Skip(unpacked.label, f"its entrypoint {word!r} is no file in its layers")
    elif word and not _entry(unpacked, path):
        yield Skip(f"{unpacked.label}:{path}", "the entrypoint is not an ELF, PE or Mach-O program")


def _foreign(unpacked: _Unpacked) -> Iterator[Finding]:
    """The file that the image starts, if it is for another system than the image says."""
    _, path = started(unpacked.image.config, merged(unpacked.layers))
    wanted = unpacked.image.config.platform
    programs = _entry(unpacked, path)
    found = [program.facts.platform for program in programs if program.facts.platform is not None]
    if found and not any((one.os, one.architecture) == (wanted.os, wanted.architecture) for one in found):
        yield Finding(
            rule="mismatch",
            severity=Severity.ERROR,
            subject=f"{unpacked.label}:{path}",
            message=f"the image says {wanted}, its entrypoint is for {found[0]}",
            hint="build the image again for its platform",
        )


def _entry(unpacked: _Unpacked, path: str) -> tuple[Program, ...]:
    """The program at the path in the highest layer that has one there."""
    for content in reversed(unpacked.layers):
        if found := tuple(program for program in content.programs if program.path == path):
            return found
    return ()
