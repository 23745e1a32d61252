"""GStreamer's own RTSP server as a camera, for the system's Python, which has its bindings (Debian: gir1.2-gst-rtsp-server-1.0).

    /usr/bin/python3 gstreamer_rtsp.py [--user NAME --password WORD] [--certificate FILE --key FILE] [--check]

Prints the port of 127.0.0.1 that it listens on, and serves a moving picture of 320x240 at /live until its input ends.
"""

import argparse
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gio, GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402 - the versions are named first

PIPELINE = (
    "( videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=240,framerate=15/1 "
    "! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 ! rtph264pay name=pay0 pt=96 )"
)
ROLE = "viewer"


def make_authentication(arguments: argparse.Namespace) -> GstRtspServer.RTSPAuth:
    """Digest where a user is given, TLS where a certificate is."""
    authentication = GstRtspServer.RTSPAuth()
    if arguments.certificate:
        certificate = Gio.TlsCertificate.new_from_files(arguments.certificate, arguments.key)
        authentication.set_tls_certificate(certificate)
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", ROLE)
    if arguments.user:
        authentication.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        authentication.add_digest(arguments.user, arguments.password, token)
    else:
        authentication.set_default_token(token)
    return authentication


def main() -> None:
    """Serve until standard input is closed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--user")
    parser.add_argument("--password", default="")
    parser.add_argument("--certificate")
    parser.add_argument("--key")
    parser.add_argument("--check", action="store_true", help="only say by the exit status whether it could serve")
    arguments = parser.parse_args()
    Gst.init(None)
    if arguments.check:
        sys.exit(0 if all(map(Gst.ElementFactory.find, ("videotestsrc", "x264enc", "rtph264pay"))) else 1)
    server = GstRtspServer.RTSPServer(address="127.0.0.1", service="0")
    factory = GstRtspServer.RTSPMediaFactory(launch=PIPELINE, shared=True)
    if arguments.user or arguments.certificate:
        server.set_auth(make_authentication(arguments))
        rights = f"{ROLE}, media.factory.access=(boolean)true, media.factory.construct=(boolean)true"
        factory.add_role_from_structure(Gst.Structure.new_from_string(rights))
    server.get_mount_points().add_factory("/live", factory)
    server.attach(None)
    loop = GLib.MainLoop()
    GLib.io_add_watch(
        sys.stdin.fileno(), GLib.PRIORITY_DEFAULT, GLib.IOCondition.HUP | GLib.IOCondition.IN, lambda *_: loop.quit()
    )
    print(server.get_bound_port(), flush=True)
    loop.run()


if __name__ == "__main__":
    main()
