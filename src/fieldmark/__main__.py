"""The command `fieldmark`: one line on standard error and exit status 2 for whatever a user can mend."""

import os
import sys
from pathlib import Path

from fieldmark.errors import FieldmarkError


def main() -> None:
    """Run the command line; never returns."""
    import click

    from fieldmark.cli import cli
    from fieldmark.progress import steady_streams

    steady_streams()
    terminated = _stop_on_sigterm()
    try:
        Path.cwd()
    except OSError:  # native libraries of the engines abort there, in words that say nothing
        sys.exit(_say("the current folder is gone or cannot be read; change to another one first (cd)"))
    try:
        code = cli.main(prog_name="fieldmark", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        code = 2
    except (KeyboardInterrupt, click.Abort):
        code = _stopped(terminated)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except Exception as error:
        if terminated:  # libraries make errors of their own of an interruption
            code = _stopped(terminated)
        elif isinstance(error, click.ClickException):
            code = _say(error.format_message())
        elif isinstance(error, FieldmarkError):
            code = _say(str(error))
        elif isinstance(error, OSError):
            place = error.filename or "a file or standard output"
            code = _say(f"{place}: {error.strerror or error}; check the place and its free room")
        else:
            raise
    sys.exit(code if isinstance(code, int) else 0)


def _stopped(terminated: list[int]) -> int:
    how = "; run the same train command with --resume to go on" if sys.argv[1:2] == ["train"] else ""
    sys.stderr.write(f"fieldmark: stopped{how}\n")
    return 143 if terminated else 130


def _stop_on_sigterm() -> list[int]:
    """Make SIGTERM end the work like Ctrl-C, so that nothing half done stays; the list then holds the signal."""
    import signal
    import threading

    came: list[int] = []
    own = os.getpid()

    def stop(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)  # a second one ends it at once
        if os.getpid() != own:
            os.kill(os.getpid(), number)
        came.append(number)
        raise KeyboardInterrupt

    here = threading.current_thread() is threading.main_thread()
    if here and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, stop)
    return came


def _say(message: str) -> int:
    from fieldmark.printing import visible

    sys.stderr.write(f"fieldmark: {visible(' '.join(message.split()))}\n")
    return 2


if __name__ == "__main__":
    main()
