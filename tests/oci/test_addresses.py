"""Where urls lead, told without asking anybody."""

from __future__ import annotations

import pytest

from imagekit.oci.addresses import Kind, joined, kind_of, may_lead, same_site, shown_url

KINDS = {
    "127.0.0.1": Kind.LOOPBACK,
    "[::1]": Kind.LOOPBACK,
    "0.0.0.0": Kind.LOOPBACK,
    "localhost": Kind.LOOPBACK,
    "LOCALHOST.": Kind.LOOPBACK,
    "x.localhost": Kind.LOOPBACK,
    "::ffff:127.0.0.1": Kind.LOOPBACK,
    "10.0.0.1": Kind.PRIVATE,
    "172.16.0.1": Kind.PRIVATE,
    "192.168.0.1": Kind.PRIVATE,
    "100.64.0.1": Kind.PRIVATE,
    "fd00::1": Kind.PRIVATE,
    "64:ff9b::10.0.0.1": Kind.PRIVATE,
    "2002:0a00:0001::": Kind.PRIVATE,
    "169.254.169.254": Kind.LINK,
    "fe80::1%eth0": Kind.LINK,
    "224.0.0.1": Kind.LINK,
    "8.8.8.8": Kind.PUBLIC,
    "2606:4700::1111": Kind.PUBLIC,
    "registry.example": None,
    "127.0.0.1.example": None,
}


@pytest.mark.parametrize(("address", "kind"), KINDS.items())
def test_kinds(address, kind):
    assert kind_of(address) is kind


def test_who_may_lead_where():
    assert may_lead(Kind.PUBLIC, {Kind.LOOPBACK})
    assert may_lead(Kind.PRIVATE, {Kind.PRIVATE})
    assert not may_lead(Kind.PRIVATE, {Kind.LOOPBACK})
    assert not may_lead(Kind.LOOPBACK, {Kind.PRIVATE, Kind.PUBLIC})
    assert not may_lead(Kind.LINK, set(Kind))


SITES = {
    ("r.example.com", "r.example.com"): True,
    ("registry-1.docker.io", "auth.docker.io"): True,
    ("registry.gitlab.com", "gitlab.com"): True,
    ("ghcr.io", "ghcr.io"): True,
    ("example.co.uk", "auth.example.co.uk"): True,
    ("example.co.uk", "evil.co.uk"): False,
    ("a.example.com", "b.example.org"): False,
    ("example.com", "evil.com"): False,
    ("r.example.com", "rexample.com"): False,
    ("127.0.0.1", "127.0.0.2"): False,
    ("127.0.0.1", "localhost"): False,
    ("registry", "auth"): False,
}


@pytest.mark.parametrize(("hosts", "wanted"), SITES.items(), ids=map(str, SITES))
def test_sites(hosts, wanted):
    assert same_site(*hosts) is wanted


LOCATIONS = {
    "/v2/x?a=b": "https://r.example/v2/x?a=b",
    "https://s.example:8443/x": "https://s.example:8443/x",
    "//s.example/x": "https://s.example/x",
    "https://me@s.example/": "",
    "file:///etc/passwd": "",
    "https://s.example/\r\nX: y": "",
    "https://s.example/a b": "",
    "https://s.example:99999/": "",
    "https:///x": "https://r.example/x",
}


@pytest.mark.parametrize(("location", "wanted"), LOCATIONS.items())
def test_locations(location, wanted):
    assert joined("https://r.example/v2/y", location) == wanted


def test_secrets_in_urls_are_not_shown():
    assert shown_url("https://me:word@r.example/x@y?token=secret") == "https://r.example/x@y"
