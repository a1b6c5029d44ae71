"""A client for Redis Cluster, which django-redis lacks."""

import threading
from collections.abc import Collection
from typing import Any, ClassVar

from django_redis.client import DefaultClient
from django_redis.pool import ConnectionFactory
from redis.cluster import RedisCluster


class ClusterConnectionFactory(ConnectionFactory):
    """Makes one RedisCluster per URL and process. It knows the slots and holds the pools."""

    _clusters: ClassVar[dict[str, RedisCluster]] = {}
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def connect(self, url: str) -> Any:
        """Returns the cluster to which the node in `url` belongs.

        Raises RedisClusterException if it does not answer.
        """
        with self._lock:
            if url not in self._clusters:
                parameters = self.make_connection_params(url) | self.pool_cls_kwargs
                del parameters["parser_class"]  # the cluster has its own
                # When a shard is down, the keys of the others stay available.
                self._clusters[url] = RedisCluster.from_url(
                    **parameters, require_full_coverage=False
                )
            return self._clusters[url]

    def disconnect(self, connection: Any) -> None:
        """Close the connections to all nodes."""
        connection.close()


class ClusterClient(DefaultClient):
    """What django-redis would do on one node only, done on all of them."""

    def get_many(
        self, keys: Collection[str], version: int | None = None, client: Any = None
    ) -> dict[str, Any]:
        """As for one server, but the keys may lie in several slots."""
        if client is None:
            client = self.get_client(write=False)
        values = client.mget_nonatomic([self.make_key(key, version=version) for key in keys])
        found = zip(keys, values, strict=True)
        return {key: self.decode(value) for key, value in found if value is not None}

    def keys(self, *args: Any, **kwargs: Any) -> Any:
        """Refused: it walks through the whole cache, and elsewhere sees one node of many."""
        raise NotImplementedError("Use iter_keys, which goes through every node.")
