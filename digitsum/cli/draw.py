"""`digitsum draw`."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Annotated

import typer

from digitsum.cli import completion, options
from digitsum.cli.loading import load_models
from digitsum.errors import InstallationError, UsageError

EXAMPLES = (
    "digitsum draw",
    "digitsum draw reader cnn.pt --port 0",
)

LOCAL = ("127.0.0.1", "localhost")


def draw(
    models: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Checkpoints to choose between on the page.",
            show_default="reader",
            autocompletion=completion.checkpoints,
        ),
    ] = None,
    arch: options.Arch = None,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS", help="Address to listen on.", rich_help_panel=options.OUTPUT
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            metavar="0..65535",
            min=0,
            max=65535,
            help="Port to listen on; 0 takes any that is free.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = 8000,
) -> None:
    """Serve a page to write digits on.

    The page shows their sum as you write, and learns your hand from ten numbers. Only this machine
    can open it unless --host says otherwise. Needs the extra draw: pip install 'digitsum[draw]'.
    """
    try:
        from digitsum.draw.server import make_app
        from digitsum.draw.serving import serve
    except ModuleNotFoundError as error:
        raise InstallationError(
            f"the page needs {error.name}, which is not installed: pip install 'digitsum[draw]'"
        ) from error
    from digitsum.cli.display import say

    loaded = load_models(models or ["reader"], device, precision, arch)
    listening = _listen(host, port)
    port = listening.getsockname()[1]
    # it answers under any name only where it was asked to listen for others
    app = make_app(loaded, LOCAL if host in LOCAL else ["*"])
    if host not in LOCAL:
        say(f"warning: everyone who can reach {host} can use this page")
    name = f"[{host}]" if ":" in host else host
    say(f"write digits at http://{name}:{port}/ (Ctrl-C ends it)")
    serve(app, listening)


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens there.

    Raises:
        UsageError: It cannot.
    """
    try:
        socket.getaddrinfo(host or None, port)  # what cannot be a name would leave a socket open
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
    except (OSError, TypeError, ValueError) as error:  # of a name that no machine can have
        reason = getattr(error, "strerror", None) or error
        raise UsageError(
            f"cannot listen on {host}, port {port} ({reason}): give another --host or --port, or "
            "--port 0 for any that is free"
        ) from error
