"""The address that a request comes from, as limits count it."""

import functools
from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any

from django.conf import settings

IPV6_PREFIX = 64
"""What one customer of a provider has at least: who has so many addresses counts as one."""

LONGEST = 100
"""Characters of an address, with a zone and a port, at most. What is longer is not remembered."""


def address_of(environ: Mapping[str, Any]) -> str:
    """Returns the client's IPv4 address or IPv6 network, from the environ of a WSGI request.

    Only what NUM_PROXIES proxies have added to X-Forwarded-For is believed. A request that has
    not come through all of them is from whoever has connected.
    """
    peer = environ.get("REMOTE_ADDR") or ""
    if settings.NUM_PROXIES:
        hops = environ.get("HTTP_X_FORWARDED_FOR", "").split(",")
        if len(hops) >= settings.NUM_PROXIES:
            return _network(hops[-settings.NUM_PROXIES].strip()[:LONGEST]) or _network(peer) or peer
    return _network(peer) or peer


def is_from_proxies(environ: Mapping[str, Any]) -> bool:
    """Whether a request has come through the NUM_PROXIES proxies, whose headers are believed."""
    hops = environ.get("HTTP_X_FORWARDED_FOR", "").split(",")
    if not settings.NUM_PROXIES or len(hops) < settings.NUM_PROXIES:
        return False
    return bool(_network(hops[-settings.NUM_PROXIES].strip()[:LONGEST]))


@functools.lru_cache(maxsize=4096)
def _network(text: str) -> str:
    """The address without a port, or the network of an IPv6 address; empty if it is neither."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return ""
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ip_network((int(address), IPV6_PREFIX), strict=False))
