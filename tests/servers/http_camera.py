"""An HTTP camera on 127.0.0.1 with faults: `/mjpeg`, `/snapshot.jpg` and any file under `/file/`.

with FakeHttpCamera(moving_square(n=30), fps=15) as camera:
    source = NetworkSource(camera.url("mjpeg"))
"""

from __future__ import annotations

import base64
import contextlib
import re
import ssl
import threading
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
from servers.certificate import SelfSigned


class FakeHttpCamera:
    """Serves pictures until stopped.

    Args:
        frames: (H, W, 3) uint8 RGB each; shown in turn, for ever.
        fps: pace of `/mjpeg`; `/snapshot.jpg` gives the next frame at each request.
        files: name → content of `/file/<name>`.
        status: answers every request with it unless 200.
        is_silent: accepts and says nothing.
        stall_after: `/mjpeg` sends nothing more after so many frames, and stays connected.
        close_after: `/mjpeg` ends after so many frames.
        username, password: asked for when given (basic).
        tls: speaks HTTPS with this certificate.

    Attributes:
        requests: paths asked for, in order.
    """

    def __init__(
        self,
        frames: Sequence[np.ndarray] = (),
        *,
        fps: float = 15.0,
        files: Mapping[str, bytes] | None = None,
        status: int = 200,
        is_silent: bool = False,
        stall_after: int | None = None,
        close_after: int | None = None,
        username: str | None = None,
        password: str | None = None,
        tls: SelfSigned | None = None,
    ) -> None:
        self.pictures = [cv2.imencode(".jpg", pixels[:, :, ::-1])[1].tobytes() for pixels in frames]
        self.fps = fps
        self.files = dict(files or {})
        self.status = status
        self.is_silent = is_silent
        self.stall_after = stall_after
        self.close_after = close_after
        self.requests: list[str] = []
        self.stopping = threading.Event()
        self._tls = tls
        self._credentials = f"{username}:{password}" if username is not None else None
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    def url(self, path: str) -> str:
        """Without credentials."""
        scheme = "https" if self._tls else "http"
        return f"{scheme}://127.0.0.1:{self._server.server_port}/{path}"

    def is_authorised(self, header: str) -> bool:
        if self._credentials is None:
            return True
        return header == "Basic " + base64.b64encode(self._credentials.encode()).decode()

    def __enter__(self) -> FakeHttpCamera:
        handler = type("Handler", (_Handler,), {"camera": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        if self._tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._tls.certificate, self._tls.key)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="fake-http", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


class _Handler(BaseHTTPRequestHandler):
    camera: FakeHttpCamera

    def log_message(self, *_: object) -> None:
        """Tests keep their output clean."""

    def do_GET(self) -> None:
        self.camera.requests.append(self.path)
        if self.camera.is_silent:
            self.camera.stopping.wait(30)
        elif not self.camera.is_authorised(self.headers.get("Authorization", "")):
            self._send(b"", "text/plain", status=401)
        elif self.camera.status != 200:
            self._send(b"", "text/plain", status=self.camera.status)
        elif self.path.startswith("/mjpeg"):
            self._stream()
        elif self.path.startswith("/snapshot.jpg"):
            self._send(self._picture(len(self.camera.requests) - 1), "image/jpeg")
        elif self.path.removeprefix("/file/") in self.camera.files:
            self._send_file(self.camera.files[self.path.removeprefix("/file/")])
        else:
            self._send(b"", "text/plain", status=404)

    def _picture(self, index: int) -> bytes:
        return self.camera.pictures[index % len(self.camera.pictures)]

    def _send(self, body: bytes, kind: str, *, status: int = 200) -> None:
        self.send_response(status)
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _send_file(self, content: bytes) -> None:
        """From the byte asked for on: FFmpeg seeks in recordings."""
        wanted = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(wanted[1]) if wanted else 0
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        with contextlib.suppress(OSError):  # the client left
            self.wfile.write(content[start:])

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        index = 0
        try:
            while not self.camera.stopping.wait(1 / self.camera.fps):
                if index == self.camera.close_after:
                    return
                if index == self.camera.stall_after:
                    self.camera.stopping.wait(30)
                    return
                picture = self._picture(index)
                self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(picture))
                self.wfile.write(picture + b"\r\n")
                index += 1
        except OSError:
            return  # the client left
