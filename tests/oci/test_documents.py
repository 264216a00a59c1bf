"""Documents: the bytes we write, and what we believe of the bytes of others."""

from __future__ import annotations

import json

import msgspec
import pytest

from imagekit.content import digest_of
from imagekit.errors import FormatError, UnreadableError
from imagekit.oci import documents as doc
from imagekit.platform import Platform

SHA = digest_of(b"")
LAYER = doc.Descriptor(doc.LAYER_GZIP, SHA, 7)


def as_json(value: object) -> bytes:
    return json.dumps(value).encode()


def test_a_manifest_is_written_in_the_order_of_the_spec():
    manifest = doc.Manifest(
        annotations={"b": "2", "a": "1"},
        subject=LAYER,
        layers=(LAYER,),
        config=doc.Descriptor(doc.CONFIG, SHA, 0),
        artifact_type="application/x",
    )
    layer = f'{{"mediaType":"{doc.LAYER_GZIP}","digest":"{SHA}","size":7}}'
    assert doc.encode(manifest).decode() == (
        f'{{"schemaVersion":2,"mediaType":"{doc.MANIFEST}","artifactType":"application/x",'
        f'"config":{{"mediaType":"{doc.CONFIG}","digest":"{SHA}","size":0}},"layers":[{layer}],'
        f'"subject":{layer},"annotations":{{"a":"1","b":"2"}}}}'
    )


def test_an_index_is_written_in_the_order_of_the_spec():
    entry = doc.Descriptor(
        doc.MANIFEST, SHA, 3, platform=doc.PlatformObject.of(Platform("linux", "arm", "v7")), annotations={"k": "v"}
    )
    assert doc.encode(doc.Index(manifests=(entry,))).decode() == (
        f'{{"schemaVersion":2,"mediaType":"{doc.INDEX}","manifests":[{{"mediaType":"{doc.MANIFEST}","digest":"{SHA}",'
        '"size":3,"annotations":{"k":"v"},"platform":{"architecture":"arm","os":"linux","variant":"v7"}}]}'
    )


def test_a_configuration_is_written_in_the_order_of_the_spec():
    config = doc.ImageConfig(
        rootfs=doc.RootFS(diff_ids=(SHA,)),
        os="linux",
        architecture="arm64",
        created="2026-01-01T00:00:00Z",
        config=doc.RuntimeConfig(
            user="65532:65532",
            env=("A=1",),
            entrypoint=("/app",),
            working_dir="/",
            labels={"b": "", "a": ""},
            healthcheck=doc.Healthcheck(test=("CMD", "/app", "health"), interval=10),
        ),
        history=(doc.History(created_by="imagekit", empty_layer=True),),
    )
    assert doc.encode(config).decode() == (
        '{"created":"2026-01-01T00:00:00Z","architecture":"arm64","os":"linux","config":{"User":"65532:65532",'
        '"Env":["A=1"],"Entrypoint":["/app"],"WorkingDir":"/","Labels":{"a":"","b":""},'
        '"Healthcheck":{"Test":["CMD","/app","health"],"Interval":10}},'
        f'"rootfs":{{"type":"layers","diff_ids":["{SHA}"]}},"history":[{{"created_by":"imagekit","empty_layer":true}}]}}'
    )


def test_the_empty_descriptor_is_the_one_of_the_spec():
    found = doc.EMPTY_DESCRIPTOR
    assert found.digest == "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    assert (found.media_type, found.size) == ("application/vnd.oci.empty.v1+json", 2)


def test_what_others_write_is_read_and_kept():
    raw = as_json(
        {
            "schemaVersion": 2,
            "manifests": [
                {
                    "mediaType": doc.MANIFEST,
                    "digest": SHA,
                    "size": 1,
                    "platform": {
                        "architecture": "amd64",
                        "os": "windows",
                        "os.version": "10.0.1",
                        "os.features": ["win32k"],
                        "features": ["sse4"],
                    },
                    "future": {"x": [1]},
                }
            ],
            "unheard-of": None,
        }
    )
    (entry,) = doc.decode_index(raw).manifests
    assert entry.platform == doc.PlatformObject(
        "amd64", "windows", os_version="10.0.1", os_features=("win32k",), features=("sse4",)
    )
    assert entry.platform.plain == Platform("windows", "amd64")
    assert json.loads(doc.encode(entry))["platform"]["os.features"] == ["win32k"]


def test_a_configuration_as_docker_writes_it():
    config = doc.decode_config(
        as_json(
            {
                "architecture": "amd64",
                "os": "linux",
                "container": "x",
                "config": {
                    "Hostname": "",
                    "Env": None,
                    "Cmd": None,
                    "Entrypoint": ["/a"],
                    "ExposedPorts": {"80/tcp": {}},
                    "Volumes": None,
                    "Labels": None,
                    "OnBuild": None,
                },
                "rootfs": {"type": "layers", "diff_ids": [SHA]},
                "history": [{"created": "2026-01-01T00:00:00.1Z", "created_by": "/bin/sh"}],
            }
        )
    )
    assert config.platform == Platform("linux", "amd64")
    assert config.config is not None
    assert config.config.exposed_ports == {"80/tcp": {}}


def manifest_with(**changes: object) -> bytes:
    descriptor = {"mediaType": "x", "digest": SHA, "size": 1}
    return as_json({"schemaVersion": 2, "config": descriptor, "layers": [descriptor], **changes})


def descriptor_with(**changes: object) -> bytes:
    return manifest_with(layers=[{"mediaType": "x", "digest": SHA, "size": 1, **changes}])


REFUSED = {
    "schema 1": (manifest_with(schemaVersion=1), "schema version 1"),
    "no schema version": (as_json({"config": {}, "layers": []}), "schema version 0"),
    "an index too": (manifest_with(manifests=[]), "another kind"),
    "docker schema 1 too": (manifest_with(fsLayers=[]), "another kind"),
    "calls itself an index": (manifest_with(mediaType=doc.INDEX), "calls itself"),
    "calls itself docker's": (manifest_with(mediaType=doc.DOCKER_MANIFEST), "calls itself"),
    "a path as digest": (descriptor_with(digest="sha256:../../etc/passwd"), "digest"),
    "a digest with a newline": (descriptor_with(digest=SHA + "\n"), "digest"),
    "an upper-case digest": (descriptor_with(digest=SHA.upper()), "digest"),
    "another algorithm": (descriptor_with(digest="md5:" + "0" * 32), "digest"),
    "sha512": (descriptor_with(digest="sha512:" + "0" * 128), r"what stands at `\$.*digest` is no sha256 digest"),
    "a negative size": (descriptor_with(size=-1), "size"),
    "a fractional size": (descriptor_with(size=1.5), "size"),
    "a huge size": (descriptor_with(size=2**70), "size"),
    "no layers": (as_json({"schemaVersion": 2, "config": {"mediaType": "x", "digest": SHA, "size": 1}}), "layers"),
    "a list": (b"[]", "object"),
    "too large": (b" " * (doc.DOCUMENT_LIMIT + 1), "not read"),
}


@pytest.mark.parametrize(("raw", "message"), REFUSED.values(), ids=REFUSED)
def test_a_manifest_that_cannot_be_believed_is_refused(raw, message):
    with pytest.raises(UnreadableError, match=message):
        doc.decode_document(raw, doc.MANIFEST)


BROKEN = {
    "empty": (b"", 0),
    "cut": (b'{"schemaVersion":2,', 0),
    "not UTF-8": (b'{"schemaVersion":2,"mediaType":"\xff"}', 0),
    "deep": (b'{"schemaVersion":2,"x":' + b"[" * 1_000_000, 0),
    "garbage": (b'{"schemaVersion":2,!', 19),
}


@pytest.mark.parametrize(("raw", "offset"), BROKEN.values(), ids=BROKEN)
def test_what_is_no_json_says_where(raw, offset):
    with pytest.raises(FormatError) as raised:
        doc.decode_document(raw, doc.MANIFEST)
    assert raised.value.offset == offset


def test_a_list_of_nothing_may_be_null_as_go_writes_it():
    config = {"mediaType": doc.CONFIG, "digest": "sha256:" + "0" * 64, "size": 2}
    raw = json.dumps({"schemaVersion": 2, "config": config, "layers": None}).encode()
    assert doc.decode_manifest(raw) == doc.Manifest(config=doc.Descriptor(doc.CONFIG, config["digest"], 2), layers=())
    assert doc.decode_index(b'{"schemaVersion":2,"manifests":null}') == doc.Index(manifests=())
    for rootfs in (b'{"type":"layers"}', b'{"type":"layers","diff_ids":null}'):
        raw = b'{"architecture":"amd64","os":"linux","rootfs":%b}' % rootfs
        assert doc.decode_config(raw).rootfs.diff_ids == ()
    for raw in (
        b'{"schemaVersion":2}',
        b'{"schemaVersion":2,"manifests":0}',
        b'{"schemaVersion":2,"manifests":[null]}',
    ):
        with pytest.raises(UnreadableError, match="manifests"):
            doc.decode_index(raw)


def test_another_media_type_is_not_read():
    with pytest.raises(UnreadableError, match="neither"):
        doc.decode_document(b"{}", "text/html")


def test_what_was_written_is_read_the_same():
    index = doc.Index(manifests=(doc.Descriptor(doc.MANIFEST, SHA, 1, urls=("u",), data="AA==", artifact_type="t"),))
    assert doc.decode_index(doc.encode(index), doc.INDEX) == index
    assert msgspec.json.decode(doc.encode(index)) == msgspec.json.decode(
        doc.encode(doc.decode_index(doc.encode(index)))
    )
