"""The command line: a file per group of commands, each imported when it is called.

A command calls functions and prints what they return. Errors for people become a message and status 1.
"""

from __future__ import annotations

import errno
import importlib
import io
import os
import sys
import warnings
from typing import Any

import click

from ktnet_lite import __version__
from ktnet_lite.errors import KTNetError

COMMANDS = {  # name -> module, and the first line of its help, so that --help imports nothing
    "compare": ("tables", "Compare two result files on the same clips."),
    "bench": ("deploy", "Measure what a trained model costs: time per clip, memory, size."),
    "data": ("data", "Get, convert and check data sets."),
    "export": ("deploy", "Write a trained model as an ONNX file, which predicts without torch."),
    "extract": ("extract", "Extract words, face and voice from clips: SOURCE is one clip, or a folder of clips."),
    "experiments": ("train", "List the parameters of the training notebook, for papermill -p and -f."),
    "live": ("live", "Score a clip while it runs, as its steps would arrive."),
    "models": ("train", "List the systems that --model names, and the data that each takes."),
    "predict": ("predict", "Write the scores of a trained model, one per clip."),
    "report": ("tables", "Show tables from result files alone."),
    "reproduce": ("tables", "Train what a table of the paper needs, and show it."),
    "robust": ("robust", "Test systems when whole modalities or steps of them are missing."),
    "search": ("search", "Search for the settings of each system, on the validation set."),
    "train": ("train", "Train by running the training notebook, and compare the runs."),
}


def _note(message: Warning | str, *_: object, **__: object) -> None:
    click.echo(f"Note: {message}", err=True)


class Main(click.Group):
    """Import commands when called; turn errors for people into a message, and Ctrl-C into status 130."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Write what a terminal or file cannot encode as its escape; draw without a user's settings."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        os.environ.update(MPLBACKEND="agg", MATPLOTLIBRC=os.devnull)
        return super().main(*args, **kwargs)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        return getattr(importlib.import_module(f"{__name__}.{COMMANDS[cmd_name][0]}"), cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in sorted(COMMANDS.items())])

    def invoke(self, ctx: click.Context) -> object:
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _note
                returned = super().invoke(ctx)
                print(end="", flush=True)
                return returned
        except KTNetError as error:
            raise click.ClickException(str(error)) from error
        except ModuleNotFoundError as error:
            raise click.ClickException(
                f"this command needs the package {error.name}: pip install 'ktnet-lite[experiments]'"
            ) from error
        except OSError as error:  # that no function has explained, such as standard output on a full disk
            if error.errno == errno.EPIPE:
                raise
            raise click.ClickException(str(error)) from error
        except KeyboardInterrupt:
            click.echo("\nStopped. The same command resumes where it can.", err=True)
            ctx.exit(130)


@click.group(cls=Main, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ktnet-lite")
def main() -> None:
    """Multimodal sentiment analysis with missing audio: data, training, prediction."""
