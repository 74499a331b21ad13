"""The command `fieldmark`: one line on standard error and exit status 2 for whatever a user can mend."""

import io
import os
import sys

from fieldmark.errors import FieldmarkError


def main() -> None:
    """Run the command line; never returns."""
    import click

    from fieldmark.cli import cli

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file name may hold what the terminal's encoding does not
            stream.reconfigure(errors="backslashreplace")
    try:
        code = cli.main(prog_name="fieldmark", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        code = 2
    except click.ClickException as error:
        code = _say(error.format_message())
    except FieldmarkError as error:
        code = _say(str(error))
    except (KeyboardInterrupt, click.Abort):
        how = "; run the same train command with --resume to go on" if sys.argv[1:2] == ["train"] else ""
        click.echo(f"fieldmark: stopped{how}", err=True)
        code = 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except OSError as error:
        code = _say(f"{error.filename or 'a file'}: {error.strerror or error}; check the place and its free room")
    sys.exit(code if isinstance(code, int) else 0)


def _say(message: str) -> int:
    sys.stderr.write(f"fieldmark: {' '.join(message.split())}\n")
    return 2


if __name__ == "__main__":
    main()
