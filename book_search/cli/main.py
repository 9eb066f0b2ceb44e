"""The group of all commands: what they share, and how their errors are told."""

import atexit
import logging
import os
import sys
from collections.abc import Callable
from importlib import import_module

import click
from pydantic import ValidationError

from book_search import __version__

INTERRUPTED = 130  # 128 + SIGINT, as shells count

# Where each command is defined; a module is imported only when one of its commands runs or the help is shown.
COMMANDS = {
    "demo": "book_search.cli.demo",
    "run": "book_search.cli.road",
    "backfill": "book_search.cli.backfill",
    "why": "book_search.cli.road",
    "covers": "book_search.cli.covers",
    "search": "book_search.cli.search",
    "similar": "book_search.cli.search",
    "embed": "book_search.cli.search",
    "classify": "book_search.cli.search",
    "evaluate": "book_search.cli.search",
    "serve": "book_search.cli.serve",
    "psql": "book_search.cli.database",
    "doctor": "book_search.cli.database",
}


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command, in the order of the road."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command by its name, or None."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(COMMANDS[cmd_name]), cmd_name)
        return command


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Settings are environment variables, BOOK_SEARCH_HOME and others: see the README's table.",
)
@click.version_option(__version__, prog_name="book-search")
@click.option("--demo", "on_demo", is_flag=True, help="Work on the library that `make demo` made.")
@click.option("--debug", is_flag=True, help="Show where an error came from.")
def cli(on_demo: bool, debug: bool) -> None:
    """Search books by their covers.

    \b
    Try it on a small drawn library:   book-search demo
    Ask it something:                  book-search --demo search "a white ship under a moon"
    """
    if on_demo:
        from book_search.sample.demo import demo_home, enter_demo

        if click.get_current_context().invoked_subcommand == "run":
            raise click.UsageError("the demo's library is served by `book-search demo` alone: run that")
        if not (demo_home() / "dagster").is_dir():
            raise click.UsageError(f"there is no demo in {demo_home()}; make it with: book-search demo")
        enter_demo()
    from book_search.settings import load_settings

    level = "DEBUG" if debug else load_settings().log_level
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("book_search").setLevel(level)


def main() -> None:
    """Run the command line; an error is one sentence on stderr and exit code 1, with --debug its traceback too."""
    try:
        _run_command()
    except SystemExit as end:
        _leave(end)
    _leave(SystemExit(0))


def _leave(end: SystemExit) -> None:
    """End the process as `end` says.

    After DuckDB 2.0 was used beside torch, its binding prints 45 lines about "leaks" when the interpreter is taken
    apart, though nothing is lost; so what is to be done at the end is done, and the taking apart is not.
    """
    if "duckdb" not in sys.modules or not isinstance(end.code, int):
        raise end
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(end.code)


def _run_command() -> None:
    run: Callable[..., object] = cli.main
    try:
        run(standalone_mode=False, prog_name="book-search")
    except click.exceptions.Exit as exit_:
        sys.exit(exit_.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # `book-search search ... | head` is no error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        if "--debug" in sys.argv:
            raise
        click.echo(f"book-search: {told(error)}", err=True)
        sys.exit(1)
    except BaseException as error:
        if type(error).__name__ == "DagsterExecutionInterruptedError":  # Dagster's own KeyboardInterrupt
            sys.exit(INTERRUPTED)
        raise


def told(error: BaseException) -> str:
    """An error as one line: what is wrong at its root, and where to look for more if it is none of ours."""
    while inner := getattr(error, "user_exception", None) or (error.__cause__ if _is_of_dagster(error) else None):
        error = inner
    if isinstance(error, ValidationError):
        wrong = (f"BOOK_SEARCH_{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors())
        return "; ".join(wrong)
    message = " ".join(str(getattr(error, "description", None) or error).split())
    if isinstance(error, OSError | ValueError | RuntimeError | LookupError) or _is_of_dagster(error):
        return message
    return f"{message} ({type(error).__name__}; book-search --debug ... shows where)"


def _is_of_dagster(error: BaseException) -> bool:
    return type(error).__module__.partition(".")[0] == "dagster"
