"""The command ``ainfera-gateway``."""

from __future__ import annotations

import typer

from ainfera_gateway.cli.audit import audit_app
from ainfera_gateway.cli.db import db_app
from ainfera_gateway.cli.demo import demo_command
from ainfera_gateway.cli.doctor import doctor_command
from ainfera_gateway.cli.import_litellm import import_app
from ainfera_gateway.cli.local import local_app
from ainfera_gateway.cli.serve import serve_command
from ainfera_gateway.version import __version__

app = typer.Typer(
    name="ainfera-gateway",
    help="A gateway that fleets of AI agents call instead of model providers: routed, prepaid, and provable.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("serve")(serve_command)
app.command("demo")(demo_command)
app.command("doctor")(doctor_command)
app.add_typer(db_app)
app.add_typer(audit_app)
app.add_typer(local_app)
app.add_typer(import_app)


@app.command("version")
def version_command() -> None:
    """Say which version this is."""
    typer.echo(__version__)


def main() -> None:
    """Entry point of the ``ainfera-gateway`` script."""
    app()


if __name__ == "__main__":
    main()
