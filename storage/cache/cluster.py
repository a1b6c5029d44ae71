"""A client for Redis Cluster, which django-redis lacks."""

import threading
from typing import Any, ClassVar

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
