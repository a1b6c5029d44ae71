"""What stands between a client and a server, and passes on what they send."""

import contextlib
import select
import socket
import ssl
import threading


class Between:
    """Passes on bytes, in threads of its own. With `tls` it speaks TLS with the clients."""

    def __init__(self, server_port: int, tls: ssl.SSLContext | None = None) -> None:
        self._server_port, self._tls = server_port, tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take in no more connections."""
        self._listener.shutdown(socket.SHUT_RDWR)  # which ends `accept`; `close` alone does not
        self._thread.join()
        self._listener.close()

    def begins(self, client: socket.socket) -> bool:
        """Whether to serve this client, before any TLS."""
        return True

    def passes(self, sent: bytes) -> bool:
        """Whether to pass on what a client has sent; if not, the connection ends."""
        return True

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        with contextlib.suppress(OSError), plain:
            if not self.begins(plain):
                return
            client = self._tls.wrap_socket(plain, server_side=True) if self._tls else plain
            with client, socket.create_connection(("127.0.0.1", self._server_port)) as server:
                while self._passed_on(client, server):
                    pass

    def _passed_on(self, client: socket.socket, server: socket.socket) -> bool:
        """Pass on what either has sent; false at the end.

        By one thread: OpenSSL's connections are not for two at a time.
        """
        is_ready = isinstance(client, ssl.SSLSocket) and client.pending()
        for source in [client] if is_ready else select.select([client, server], [], [])[0]:
            sent = source.recv(65536)
            if not sent or (source is client and not self.passes(sent)):
                return False
            (server if source is client else client).sendall(sent)
        return True
