"""The gate again, on the far side: every program in every image of a bundle, judged by the policies that hold here."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from imagekit.audit.finding import Finding, Severity, Skip
from imagekit.audit.judge import Report, judge
from imagekit.audit.policy import Policy
from imagekit.audit.subjects.entrypoint import judge_entrypoint
from imagekit.audit.subjects.program import Wishes
from imagekit.audit.subjects.unpacking import Image, Unpacker
from imagekit.errors import RefusedError
from imagekit.oci.blobs import BlobReader
from imagekit.oci.parcel import NamedImage
from imagekit.oci.trees import Tree, runnables

_SHOWN = 20


def judge_images(
    store: BlobReader, tree: Tree, images: Sequence[NamedImage], policies: Sequence[Policy], *, today: datetime.date
) -> tuple[Report, ...]:
    """A report a policy on every program in the layers; subjects are `image:platform:/path`.

    The file that an image starts must be one of them and of the image's platform. Raises `IntegrityError` for layers
    that are not what the image's configuration promises.
    """
    asked = any(policy.forbidden_packages for policy in policies)
    with Unpacker(store, Wishes(every_format=False, packages=asked)) as unpacker:
        unpacked = [
            unpacker.unpack(Image("bundle", image.ref_name, one))
            for image in images
            for one in runnables(store, image.descriptor, tree)
        ]
    subjects = [subject for one in unpacked for subject in one.subjects()]
    said = [word for one in unpacked for word in judge_entrypoint(one)]
    findings = [word for word in said if isinstance(word, Finding)]
    skips = [skip for one in unpacked for skip in one.skips] + [word for word in said if isinstance(word, Skip)]
    other = sum(one.other for one in unpacked)
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
