"""`digitsum draw`."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Annotated

import typer

from digitsum.cli import completion, options
from digitsum.errors import InstallationError, UsageError

LOCAL = ("127.0.0.1", "localhost")


def draw(
    models: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Checkpoints to choose between.",
            show_default="reader",
            autocompletion=completion.checkpoints,
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0: any that is free.")
    ] = 8000,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
) -> None:
    """Serve a page to write digits on, read as you write.

    For this machine alone unless --host says otherwise. Needs the extra draw: pip install
    'digitsum[draw]'.
    """
    try:
        import uvicorn

        from digitsum.web.server import make_app
    except ModuleNotFoundError as error:
        raise InstallationError(
            f"the page needs {error.name}, which is not installed: pip install 'digitsum[draw]'"
        ) from error
    from digitsum.cli.show import say
    from digitsum.inference import load_model

    loaded = [load_model(path, device, precision) for path in models or [Path("reader")]]
    listening = _listen(host, port)
    port = listening.getsockname()[1]
    # under any name only where it was asked to listen for others
    app = make_app(loaded, LOCAL if host in LOCAL else ["*"])
    if host not in LOCAL:
        say(f"careful: whoever reaches {host} can use this page")
    name = f"[{host}]" if ":" in host else host
    say(f"write digits at http://{name}:{port}/ (Ctrl-C ends it)")
    config = uvicorn.Config(app, log_level="warning", server_header=False)
    uvicorn.Server(config).run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens there.

    Raises:
        UsageError: It cannot.
    """
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
    except OSError as error:
        raise UsageError(
            f"cannot listen on {host}, port {port} ({error.strerror}): give another --host or "
            "--port, or --port 0 for any that is free"
        ) from error
