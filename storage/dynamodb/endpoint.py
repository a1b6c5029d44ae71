"""Where calls past botocore go, and whether they can."""

import logging
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from storage.dynamodb.signing import Signer

logger = logging.getLogger(__name__)

UNKNOWN = (AttributeError, ImportError, LookupError, TypeError)
"""What private names of botocore raise that are gone, or have become something else."""


class NotKnown(Exception):
    """A botocore that lacks what is needed here."""


class Endpoint:
    """Where requests with one access key go: the rules of endpoints may look at the account."""

    def __init__(
        self, client: Any, access_key: str, connect_seconds: float, read_seconds: float
    ) -> None:
        from botocore.httpsession import get_cert_path

        from storage.dynamodb.curl import Http

        operation = client.meta.service_model.operation_model("GetItem")
        context = {
            "client_region": client.meta.region_name,
            "client_config": client.meta.config,
        }
        url = client._resolve_endpoint_ruleset(operation, {}, context)[0].rstrip("/")
        certificates = get_cert_path(client._endpoint.http_session._verify)
        self.access_key = access_key
        self.signer = Signer(_host(url), client._request_signer.region_name, "dynamodb")
        self.http = Http(url, connect_seconds, read_seconds, certificates)


def endpoint_for(
    client: Any, access_key: str, connect_seconds: float, read_seconds: float
) -> Endpoint:
    """Returns the endpoint. Raises NotKnown, and what botocore's rules raise."""
    try:
        return Endpoint(client, access_key, connect_seconds, read_seconds)
    except UNKNOWN as error:
        raise NotKnown(f"{type(error).__name__}: {error}") from error


def is_plain(client: Any, *, discovers: bool) -> bool:
    """Whether all that is set up is known here. Says why not, if that is no choice of anybody.

    `discovers` tells whether botocore asks DynamoDB for its endpoint.
    """
    try:
        import pycurl  # noqa: F401
    except ImportError:
        logger.info("There is no libcurl (pycurl), so calls of DynamoDB go through botocore.")
        return False
    try:
        config, credentials = client.meta.config, client._request_signer._credentials
        return (
            client._request_signer._signature_version == "v4"
            and bool(client._endpoint.http_session._verify)
            and not config.client_cert
            and not discovers
            and _is_bare(client.meta.endpoint_url)
            and not _has_proxy(client.meta.endpoint_url, config.proxies)
            and callable(client._resolve_endpoint_ruleset)
            and (credentials is None or callable(credentials.get_frozen_credentials))
        )
    except UNKNOWN as error:
        tell_unknown(error)
        return False


def tell_unknown(error: Exception) -> None:
    """Log that this botocore lacks what is needed here."""
    logger.warning("This botocore is not known, so calls of DynamoDB go through it: %s", error)


def _is_bare(url: str) -> bool:
    """Whether there is nothing but scheme, host and port: the rest would have to be signed too."""
    parts = urlsplit(url)
    return parts.path in ("", "/") and not parts.query and parts.username is None


def _has_proxy(url: str, configured: Any) -> bool:
    """As botocore decides: by the scheme alone. It does not know ALL_PROXY."""
    parts = urlsplit(url)
    if configured is None:
        configured = {} if proxy_bypass(parts.netloc) else getproxies()
    return parts.scheme in configured


def _host(url: str) -> str:
    """The header `Host` as it is signed and sent: in lower case, and without the usual port."""
    parts = urlsplit(url)
    name = parts.hostname or ""
    host = f"[{name}]" if ":" in name else name
    usual = {"http": 80, "https": 443}[parts.scheme]
    return host if parts.port in (None, usual) else f"{host}:{parts.port}"
