"""The `lrx` command: `tune` chooses a learning rate, `show` draws a schedule, `diagnose` and `watch` read a log.

A wrong argument is one line on stderr and exit code 2; an error in the user's own code one line and exit code 1.
"""

import logging
import sys
import warnings
from typing import Annotated, Any

from .._version import __version__
from . import _diagnose, _show, _tune, _watch
from ._lines import stop
from ._plain import replace_in_plain_output

MISSING = 'the command needs typer and rich: pip install "lrx[cli]"'


def main() -> None:
    """Run the command with the arguments of the process, and exit."""
    logging.getLogger("jax").setLevel(logging.ERROR)  # not about which device it found
    warnings.filterwarnings("ignore", module="jax|optax")
    replace_in_plain_output()
    make_app()(prog_name="lrx")


def make_app() -> Any:
    """The typer application, made when asked for so that `import lrx.cli` works without typer."""
    try:
        import rich  # noqa: F401  # later imports count on it
        import typer
        from typer.core import TyperGroup
    except ImportError:
        stop(MISSING)

    usage_error: Any = typer.BadParameter.__base__  # click's UsageError, wherever this version of typer keeps it

    class OneLine(TyperGroup):
        """A group whose usage errors are one line."""

        def main(self, *args: Any, standalone_mode: bool = True, **kwargs: Any) -> Any:
            del standalone_mode
            try:
                sys.exit(super().main(*args, standalone_mode=False, **kwargs) or 0)
            except usage_error as e:
                more = f" See '{e.ctx.command_path} --help'." if e.ctx else ""
                stop(e.format_message().rstrip(".") + "." + more)
            except (KeyboardInterrupt, typer.Abort):
                sys.exit(130)

    app = typer.Typer(cls=OneLine, add_completion=False, pretty_exceptions_enable=False)

    def version(asked: bool) -> None:
        if asked:
            typer.echo(f"lrx {__version__}")
            raise typer.Exit

    @app.callback()
    def root(
        version: Annotated[bool, typer.Option("--version", callback=version, is_eager=True, help="Print it.")] = False,
    ) -> None:
        """Learning rates for JAX: choose them, look at them, find out what is wrong with them."""

    _tune.add_to(app)
    _show.add_to(app)
    _diagnose.add_to(app)
    _watch.add_to(app)
    return app
