"""Whom we ask: by name, by every reading of an address, and by where a name leads."""

from ipaddress import ip_address

import pytest

from book_search.openlibrary.hosts import AllowedHosts, BlockedHostError, Origin, is_public, may_answer_for

REAL = AllowedHosts.of("https://covers.openlibrary.org", "https://archive.org")


@pytest.mark.parametrize(
    "url",
    [
        "https://covers.openlibrary.org/b/id/1-M.jpg",
        "https://archive.org/download/m_covers_0014/x",
        "https://ia804606.us.archive.org/15/items/x",
        "https://dn790008.ca.archive.org/0/items/x",
    ],
)
def test_the_configured_hosts_and_the_archives_nodes_may_be_asked(url: str) -> None:
    REAL.check(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://covers.openlibrary.org/b/id/1-M.jpg",
        "https://covers.openlibrary.org:8443/b/id/1-M.jpg",
        "https://openlibrary.org/",
        "https://evilarchive.org/",
        "https://ia804606.us.archive.org.example.com/",
        "https://web.archive.org/",
        "https://archive.org@example.com/",
        "https://me:secret@archive.org/",
        "https://169.254.169.254/latest/meta-data",
        "http://127.0.0.1/",
        "http://[::1]/",
        "file:///etc/passwd",
        "https://",
        "https://archive.org:port/",
        "https://archive.org\\@example.com/",
        "https://example.com\\.archive.org/",
        "https://archive\t.org/",
        "https://archive.org\n@example.com/",
        "https://archive.org\x00.example.com/",
        "https://archive%2eorg/",
        "https://\u24d0rchive.org/",
        "https://archive\u3002org/",
        "https://ia804606.us.archive.org:80/",
        "//archive.org/",
        "https:\t//archive.org/",
        "javascript:alert(1)",
        "https://[::ffff:127.0.0.1]/",
        "https://[fd00:ec2::254]/",
        "https://[::1%25lo]/",
    ],
)
def test_any_other_address_is_blocked(url: str) -> None:
    with pytest.raises(BlockedHostError):
        REAL.check(url)


def test_a_server_of_ones_own_is_asked_where_it_was_configured_and_nowhere_else() -> None:
    own = AllowedHosts.of("http://127.0.0.1:8000", "https://archive.org")

    own.check("http://127.0.0.1:8000/b/id/1-L.jpg")
    for url in ("https://127.0.0.1/", "http://127.0.0.1:8001/", "http://localhost:8000/", "http://2130706433:8000/"):
        with pytest.raises(BlockedHostError):
            own.check(url)


def test_hosts_are_told_apart_as_their_operators_count() -> None:
    assert Origin.of("https://archive.org/x").name == Origin.of("http://ARCHIVE.org.:8080/").name == "archive.org"
    assert Origin.of("http://127.0.0.1:8000/").name != Origin.of("http://127.0.0.1:8001/").name


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "207.241.224.2",
        "2620:0:9c0::1",
        "::ffff:8.8.8.8",
        "64:ff9b::808:808",  # NAT64 of 8.8.8.8: the way to the IPv4 internet from networks without it
        "2002:808:808::1",
    ],
)
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(ip_address(address))
    assert may_answer_for("covers.openlibrary.org", ip_address(address))


INSIDE = [
    "127.0.0.1",
    "127.255.0.7",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "169.254.170.2",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1",
    "fec0::1",
    "fd00:ec2::254",
    "fd12:3456::1",
    "ff02::1",
    "ff0e::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a9fe:a9fe",
    "2002:7f00:1::1",
    "2002:a9fe:a9fe::1",
    "2001:0:102:304::8080",
    "2600::5efe:7f00:1",
    "2001:db8::1",
]


@pytest.mark.parametrize("address", INSIDE)
def test_addresses_that_lead_inside_are_not_public(address: str) -> None:
    assert not is_public(ip_address(address))
    assert not may_answer_for("covers.openlibrary.org", ip_address(address))
    assert may_answer_for(address, ip_address(address))  # but for one who configured just that


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.1.2.3", "172.20.0.3", "192.168.0.2", "fd12:3456::1"])
def test_a_name_without_a_domain_may_be_in_ones_own_network(address: str) -> None:
    assert may_answer_for("covers", ip_address(address))
    assert may_answer_for("localhost", ip_address(address))


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "fd00:ec2::254", "::ffff:169.254.169.254", "100.100.100.200", "0.0.0.0", "fe80::1"]
)
def test_no_name_leads_to_a_clouds_metadata(address: str) -> None:
    assert not may_answer_for("covers", ip_address(address))


def test_an_address_as_a_name_stands_for_itself_alone() -> None:
    assert not may_answer_for("127.0.0.1", ip_address("127.0.0.2"))
    assert may_answer_for("[::1]", ip_address("::1"))
