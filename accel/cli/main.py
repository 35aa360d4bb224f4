"""The entry point: finds the command, imports only that one, and turns every error into one sentence.

Exit codes: 0 done; 1 a gate or a guard the user asked for failed; 2 the input is wrong; 3 nothing could be measured,
the disk or the memory gave out, or accel itself is at fault (then the sentence names a log with the details);
130 interrupted.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
from collections.abc import Sequence

import click

from accel import __version__
from accel.errors import AccelError, InputError, nearest

COMMANDS = {
    "bench": "Compare the ways to run a model and recommend one for batch and one for online.",
    "compare": "Hold two studies side by side, and fail where a limit for getting slower is broken.",
    "doctor": "Say what is installed, how noisy this machine is, what it can do and can show.",
    "list": "List the plug-ins, the fields of one, or what happened in a study.",
    "plan": "Say how many replicas of which variant a load needs, from a finished study.",
    "report": "Write the HTML page of one study or several.",
}
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
_NO_ACCESS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ENOTDIR}


class _Lazy(click.Group):
    """A group that imports a command's module only when that command runs; its help comes from the table above."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"accel.cli.{name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if not args[0].startswith("-") and args[0] not in COMMANDS:
            raise InputError(f"There is no command `{args[0]}`. {nearest(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="accel", message="%(prog)s %(version)s")
def cli() -> None:
    """The fastest honest way to run your model on this machine, for batch jobs and for online requests."""


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and give its exit code; prints at most one sentence about what went wrong."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = cli.main(args=words, prog_name="accel", standalone_mode=False, obj=words)
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (KeyboardInterrupt, click.Abort):
        return _say("Interrupted. What was measured is kept; --out DIR --resume goes on.", 130)
    except BaseException as error:
        return _failed(error)
    return code if isinstance(code, int) else 0


def main() -> None:
    """What the script `accel` calls."""
    sys.exit(run())


def _failed(error: BaseException) -> int:
    if isinstance(error, AccelError):
        return _say(str(error), error.exit_code)
    if isinstance(error, click.ClickException):
        return _say(_usage(error), error.exit_code)
    if isinstance(error, OSError) and error.errno in _NO_SPACE:
        place = f" while writing `{error.filename}`" if error.filename else ""
        return _say(f"The disk is full{place}. Finished runs are kept: free some space and go on with --resume.", 3)
    if isinstance(error, OSError) and error.errno in _NO_ACCESS and error.filename:
        reason = (error.strerror or "it can't be used").lower()
        return _say(f"`{error.filename}` can't be used: {reason}. Give another path.", 2)
    if isinstance(error, MemoryError):
        return _say("The memory is used up. Close what isn't needed, or give fewer or smaller samples.", 3)
    return _unexpected(error)


def _usage(error: click.ClickException) -> str:
    """What click says about options, in the words of the other messages."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "accel"
    if isinstance(error, click.NoSuchOption) and context is not None:
        known = [word for parameter in context.command.params for word in parameter.opts if word.startswith("--")]
        return f"`{path}` has no option `{error.option_name}`. {nearest(error.option_name, [*known, '--help'])}"
    message = error.format_message().rstrip(".")
    return f"{message}. See `{path} --help`."


def _unexpected(error: BaseException) -> int:
    """An error nobody foresaw: a sentence with the path of a log that holds the traceback."""
    import tempfile
    import traceback

    details = "".join(traceback.format_exception(error))
    told = f"accel failed in a way it should not ({type(error).__name__}: {error})"
    try:
        handle, path = tempfile.mkstemp(prefix="accel-", suffix=".log")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(f"accel {__version__}\n{' '.join(sys.argv)}\n\n{details}")
    except OSError:
        return _say(f"{told}, and no log could be written.", 3)
    return _say(f"{told}. Please report it with the log `{path}`.", 3)


def _say(sentence: str, code: int) -> int:
    click.echo(f"accel: {' '.join(sentence.split())}", err=True)
    return code


if __name__ == "__main__":
    main()
