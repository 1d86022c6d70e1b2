"""`emojax serve`: the page that shows what faces show, and the API under it."""

from __future__ import annotations

import dataclasses
import ipaddress
import os
import secrets
import webbrowser
from pathlib import Path
from typing import Annotated

import cv2
import tyro

from emojax.errors import UserError
from emojax.runtime.quiet import quiet_libraries
from emojax.serve.limits import Limits

PROGRAM = "emojax serve"

DESCRIPTION = """Serve a page: camera, video or pictures in, action units and emotions out.

  emojax serve                                    with the network that comes with emojax
  emojax serve --open --model artifact faces      two networks to switch between
  emojax serve --port 0 --detect-every 1          any free port; every frame is searched whole
  emojax serve --host 0.0.0.0 --certificate cert.pem --key key.pem

The page's address is printed. Only this machine can open it, unless --host says otherwise; then
the address holds a token, and whoever has it can use the models.

Below the page is an API, described at /docs:

  curl --data-binary @photo.jpg 'http://127.0.0.1:8017/predict?name=photo.jpg'
  curl --data-binary @talk.mp4 'http://127.0.0.1:8017/predict?name=talk.mp4&form=csv'

Nothing that is sent is kept, and nothing leaves the machine. Ctrl-C ends it, status 130.
"""


@dataclasses.dataclass(frozen=True)
class ServeOptions:
    """What `emojax serve` takes."""

    model: tuple[str, ...] = ()
    """Artifact folders, as the export writes them, or `faces` (seven emotions, no action units) and
    `voices` (six, of sounds), which come with emojax. The first is used until another is chosen.
    Unset: faces."""
    host: str = "127.0.0.1"
    """Address to listen on. Any other than this machine's own opens the server to others: a token
    is made and printed."""
    port: Annotated[int, tyro.conf.arg(metavar="N")] = 8017
    """Port to listen on; 0: any free one."""
    open: bool = False
    """Open the page in the browser."""
    certificate: Path | None = None
    """Certificate for https, in PEM. Without it no browser gives its camera to a page of another
    machine, and pictures cross the network as they are."""
    key: Path | None = None
    """The certificate's private key, in PEM."""
    workers: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Frames that are worked on at once; unset: one for each core, four at most."""
    threads: Annotated[int, tyro.conf.arg(metavar="N")] = 1
    """Threads of the processor for one network."""
    detect_every: Annotated[int, tyro.conf.arg(metavar="N")] = 5
    """Of a stream's frames search one of so many whole for faces, and look near where they were in
    the others. In pictures and video files every frame is searched."""
    limits: Annotated[Limits, tyro.conf.arg(name="")] = dataclasses.field(default_factory=Limits)
    """How much is taken."""


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check(options: ServeOptions) -> None:
    if not 0 <= options.port <= 65535:
        raise UserError(f"--port {options.port}: wanted 0..65535")
    if not 1 <= options.detect_every <= 100:
        raise UserError(f"--detect-every {options.detect_every}: wanted 1..100")
    if options.workers is not None and not 1 <= options.workers <= 64:
        raise UserError(f"--workers {options.workers}: wanted 1..64")
    if (options.certificate is None) != (options.key is None):
        raise UserError("--certificate and --key: give both or none")


def serve(options: ServeOptions) -> int:
    """Serve until Ctrl-C, and return the exit status.

    Raises:
        UserError: no artifact, or an address that can't be listened on.
    """
    from emojax.serve.application import make_application
    from emojax.serve.guard import Gate, loopback_hosts
    from emojax.serve.pool import FairPool
    from emojax.serve.server import Certificate, check_certificate, make_server, open_socket
    from emojax.serve.service import Service
    from emojax.serve.shelf import Shelf

    _check(options)
    certificate = None
    if options.certificate is not None and options.key is not None:
        certificate = Certificate(options.certificate, options.key)
        check_certificate(certificate)
    cv2.setNumThreads(1)
    shelf = Shelf(options.model or (None,), options.threads)
    alone = is_loopback(options.host)
    with open_socket(options.host, options.port) as listening:
        port = listening.getsockname()[1]
        secure = certificate is not None
        token = None if alone else secrets.token_urlsafe(24)
        hosts = loopback_hosts(port, options.host, secure) if alone else None
        gate = Gate(hosts, token, secure)
        workers = options.workers or min(os.cpu_count() or 1, 4)
        service = Service(shelf, options.limits, FairPool(workers), options.detect_every)
        application = make_application(service, gate)
        server = make_server(application, options.limits.frame_bytes, certificate)
        shown = "127.0.0.1" if options.host in ("", "0.0.0.0", "::") else options.host
        shown = f"[{shown}]" if ":" in shown else shown
        address = f"{'https' if secure else 'http'}://{shown}:{port}/"
        if token is not None:
            address += f"?token={token}"
            say_what_is_open(options.host, port, secure)
        for name in shelf.names:
            artifact = shelf.artifact(shelf.choose(name))
            print(f"model {name}: {artifact.notice or 'says nothing about its training data'}")
        print(f"open  {address}")
        print("Nothing that is sent is kept. Ctrl-C ends it.", flush=True)
        if options.open:
            webbrowser.open(address)
        server.run(sockets=[listening])
    return 0


def say_what_is_open(host: str, port: int, secure: bool) -> None:
    """Print what a server on another address than the loopback one means."""
    print(f"--host {host}: whoever reaches port {port} of this machine and has the token below")
    print("  can run its models on pictures of their own. They see nobody else's pictures and no")
    print("  files of this machine. In the address below write this machine's name.")
    if not secure:
        print("  Pictures and token cross the network as they are, and browsers give no camera to")
        print(
            "  such a page: give --certificate and --key, or use an SSH tunnel instead of --host."
        )


def main(arguments: list[str]) -> int:
    """Run the command and return its exit status."""
    options = tyro.cli(ServeOptions, prog=PROGRAM, description=DESCRIPTION, args=arguments)
    with quiet_libraries():
        return serve(options)
