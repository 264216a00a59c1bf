"""References as docker reads them, and strings that are none."""

from __future__ import annotations

import pytest

from imagekit.errors import UsageError
from imagekit.oci.login import registry_host
from imagekit.oci.reference import Reference, check_tag, is_loopback

SHA = "sha256:" + "a" * 64
READ = {
    "app": ("docker.io", "library/app", "", ""),
    "app:1.0": ("docker.io", "library/app", "1.0", ""),
    "team/app": ("docker.io", "team/app", "", ""),
    "docker.io/app": ("docker.io", "library/app", "", ""),
    "index.docker.io/team/app": ("docker.io", "team/app", "", ""),
    "registry.example/app": ("registry.example", "app", "", ""),
    "registry.example/a/b/c:v1_2-3": ("registry.example", "a/b/c", "v1_2-3", ""),
    "localhost/app": ("localhost", "app", "", ""),
    "localhost:5000/app:x": ("localhost:5000", "app", "x", ""),
    "127.0.0.1:65535/a/b": ("127.0.0.1:65535", "a/b", "", ""),
    "[::1]:5000/app": ("[::1]:5000", "app", "", ""),
    "[fe80::1]/app": ("[fe80::1]", "app", "", ""),
    "Registry/app": ("Registry", "app", "", ""),
    "host-name:1/a__b/c--d.e_f": ("host-name:1", "a__b/c--d.e_f", "", ""),
    f"registry.example/app@{SHA}": ("registry.example", "app", "", SHA),
    f"registry.example/app:1@{SHA}": ("registry.example", "app", "1", SHA),
    f"app@{SHA}": ("docker.io", "library/app", "", SHA),
}


@pytest.mark.parametrize("text", READ)
def test_a_reference_is_read_as_docker_reads_it(text):
    found = Reference.parse(text)
    assert (found.host, found.repository, found.tag, found.digest) == READ[text]
    assert Reference.parse(str(found)) == found


REFUSED = {
    "empty": "",
    "a scheme": "https://registry.example/app",
    "upper case": "registry.example/App",
    "upper case alone": "App",
    "no repository": "registry.example/",
    "two slashes": "registry.example//app",
    "a slash at the end": "registry.example/app/",
    "upwards": "registry.example/../app",
    "a dot": "registry.example/./app",
    "a space": "registry.example/a b",
    "a newline": "registry.example/app\n",
    "a newline in the tag": "registry.example/app:1\n",
    "a query": "registry.example/app?x=1",
    "a percent sign": "registry.example/%2e%2e/app",
    "an empty tag": "app:",
    "a long tag": "app:" + "x" * 129,
    "a tag with a dash first": "app:-x",
    "a tag not ASCII": "app:é",
    "digits not ASCII": "app:١",
    "a short digest": "app@sha256:abc",
    "another digest": "app@md5:" + "a" * 32,
    "an empty digest": "app@",
    "two digests": f"app@{SHA}@{SHA}",
    "port zero": "localhost:0/app",
    "a port too large": "localhost:65536/app",
    "a port of letters": "localhost:http/app",
    "an account": "user:pass@registry.example/app",
    "a host with a dash first": "-host.example/app",
    "a host with two dots": "host..example/app",
    "an open bracket": "[::1/app",
    "a zone": "[fe80::1%eth0]/app",
    "three underscores": "registry.example/a___b",
    "a separator last": "registry.example/app-",
    "long": "registry.example/" + "a" * 300,
    "very long": "a/" * 100_000 + "!",
    "slow for a careless pattern": "registry.example/" + "a-" * 120 + "!",
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_a_string_that_is_none_is_refused(text):
    with pytest.raises(UsageError, match="is not an image reference") as raised:
        Reference.parse(text)
    assert raised.value.hint
    assert len(raised.value.message) < 1100


ACCOUNTS = {
    "https://me:s3cret@host.example/a/b:1": "https://…@host.example/a/b:1",
    "http://s3cret@host.example/a/b": "http://…@host.example/a/b",
    "me:s3cret@host.example/a/b:1": "…@host.example/a/b:1",
    "me:s3cret@host.example:5000/a/b": "…@host.example:5000/a/b",
    "me:s3cret@host:5000": "…@host:5000",
    "me:s3cr@et@host.example/a/b": "…@host.example/a/b",
    "me:s3c/ret@host.example/a/b": "…@host.example/a/b",
    "me:s3c://ret@host.example/a/b": "…@host.example/a/b",
    f"me:s3cret@host.example/a/b@{SHA}": f"…@host.example/a/b@{SHA}",
    "s3cret@": "…@",
    f"app@{SHA[:-1]}": f"app@{SHA[:-1]}",
    "app@md5:abc": "app@md5:abc",
    "app@sha512:" + "a" * 128: "app@sha512:" + "a" * 128,
    "App": "App",
}


@pytest.mark.parametrize("text", ACCOUNTS)
def test_an_account_is_not_shown(text):
    for read in (Reference.parse, registry_host):
        with pytest.raises(UsageError) as raised:
            read(text)
        assert repr(ACCOUNTS[text]) in raised.value.message
        assert "s3c" not in raised.value.message + raised.value.hint


@pytest.mark.parametrize(
    ("text", "target"),
    [("a/b", "latest"), ("a/b:1", "1"), (f"a/b:1@{SHA}", SHA)],
    ids=["nothing", "a tag", "a digest counts"],
)
def test_what_the_registry_is_asked_for(text, target):
    assert Reference.parse(text).target == target


def test_the_hub_answers_elsewhere():
    assert Reference.parse("app").api_host != "docker.io"
    assert Reference.parse("localhost:1/app").api_host == "localhost:1"


def test_at_a_digest_the_tag_is_gone():
    assert str(Reference.parse("registry.example/app:1").at(SHA)) == f"registry.example/app@{SHA}"


LOOPBACK = {
    "localhost": True,
    "LOCALHOST:5000": True,
    "127.0.0.1": True,
    "127.255.0.9:80": True,
    "[::1]:5000": True,
    "::1": True,
    "0.0.0.0": False,
    "10.0.0.1": False,
    "[::ffff:127.0.0.1]": False,
    "localhost.example": False,
    "127.0.0.1.example": False,
    "127.1": False,
    "2130706433": False,
    "": False,
}


@pytest.mark.parametrize("host", LOOPBACK)
def test_only_this_machine_is_this_machine(host):
    assert is_loopback(host) is LOOPBACK[host]


def test_a_tag_is_given_back():
    assert check_tag("1.0_x-y") == "1.0_x-y"
