"""The `lrx` command: `find` or `tune` a rate, `show` a schedule, `diagnose` or `watch` a log, `fit` a law to several.

A wrong argument is one line on stderr and exit code 2; an error in the user's own code one line and exit code 1.
"""

import codecs
import io
import logging
import os
import signal
import sys
import threading
import warnings
from typing import Annotated, Any

from .._version import __version__
from . import _diagnose, _find, _fit, _show, _tune, _watch
from ._lines import plain_where_needed, stop

MISSING = 'the command needs typer and rich: pip install "lrx[cli]"'


def main() -> None:
    """Run the command with the arguments of the process, and exit."""
    logging.getLogger("jax").setLevel(logging.ERROR)  # not about which device it found
    warnings.filterwarnings("ignore", module="jax|optax")
    codecs.register_error("lrx-plain", plain_where_needed)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="lrx-plain")
    _leave_at_once()
    try:
        try:
            make_app()(prog_name="lrx")
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # whoever reads has seen enough
        _forget_output()
        sys.exit(0)
    except OSError as error:
        _forget_output()
        stop(f"cannot write the output: {error.strerror or error}.", code=1)


def _forget_output() -> None:
    """Nothing more is written at the end of the process, where it would fail once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _leave_at_once() -> None:
    """On Ctrl-C end with the code 130, also in the middle of a compilation.

    An exception would have to go through the compiler, which may crash, and so may its threads while Python ends.
    """

    def leave(*_: Any) -> None:
        if sys.stderr.isatty():
            os.write(2, b"\x1b[?25h\n")  # a progress bar hides the cursor
        os._exit(130)

    def wait() -> None:
        while signal.SIGINT not in os.read(reader, 64):
            pass
        leave()

    signal.signal(signal.SIGINT, leave)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)  # written to at once, whatever the main thread does
    threading.Thread(target=wait, daemon=True).start()


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

    _find.add_to(app)
    _tune.add_to(app)
    _show.add_to(app)
    _diagnose.add_to(app)
    _watch.add_to(app)
    _fit.add_to(app)
    return app
