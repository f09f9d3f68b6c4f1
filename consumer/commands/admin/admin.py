"""The entry point `snapshot-admin`. A new command is a module beside this one, and a line here."""

import typer

from consumer.commands.admin import dead_letters, demo, forget, topics
from snapshot.cli.command import run
from snapshot.cli.options import with_options

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Inspect the snapshotter and set it up.",
)
app.command("demo")(demo.demo_command)
app.add_typer(dead_letters.app, name="dead-letters")
app.command("forget")(with_options(forget.forget_command))
app.command("topics")(with_options(topics.topics_command))


def admin() -> None:
    """Run `snapshot-admin`."""
    run(app)
