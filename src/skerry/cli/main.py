"""The command group: names, order and help of all sub-commands; the modules load late."""

import importlib
import os
import sys
from typing import Any, Final

import click

from skerry import __version__

# Command → (module in skerry.cli, one-line help). The help is here so that `--help` loads none of them.
COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "up": ("up", "Start the platform on this machine."),
    "down": ("down", "Stop the platform and its pods."),
    "status": ("status", "Tell what runs and what is wrong."),
    "kubeconfig": ("kubeconfig", "Print the path of the kubeconfig, for kubectl and oc."),
    "apply": ("apply", "Create or change objects from YAML files."),
    "get": ("get", "List objects, with kubectl's columns."),
    "describe": ("describe", "Show one object with its events."),
    "delete": ("delete", "Delete objects."),
    "logs": ("logs", "Print the logs of a pod."),
    "expose": ("expose", "Make a Route for a Service, as `oc expose` does."),
    "serve": ("serve", "Serve one model by itself, without the platform."),
    "bench": ("bench", "Measure how fast a model answers, on any server of the protocol."),
    "infer": ("infer", "Send a picture or a JSON request to a model."),
    "model": ("model", "Package, list and push models as OCI images."),
    "backup": ("backup", "Save the objects of this machine, and bring them back."),
    "version": ("version", "Print the versions of Skerry and of the API."),
    "completion": ("completion", "Print a completion script for your shell."),
}


class LateGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"skerry.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=LateGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with:  skerry up -d;  export KUBECONFIG=$(skerry kubeconfig);  kubectl get nodes",
)
@click.version_option(__version__, prog_name="skerry")
def cli() -> None:
    """Serve AI models on one small machine, with KServe's API and no cluster."""


def main() -> None:
    """Run the command line; an interrupted command ends with 130 as shells expect."""
    try:
        result: Any = cli.main(standalone_mode=False)
    except click.exceptions.Exit as exit_:
        sys.exit(exit_.exit_code)
    except click.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # Nobody reads any more (`skerry get pods | head`): what is left in the buffer has nowhere to go either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        click.echo(
            f"Error: cannot use{where}: {error.strerror or error}; run as its owner, or set SKERRY_HOME", err=True
        )
        sys.exit(1)
    sys.exit(result if isinstance(result, int) else 0)
