"""Groups of commands: `autonama db`, `autonama replay`."""

import click

_WHOLE = 10_000  # characters: no sentence is longer


class Group(click.Group):
    """A group whose help has the first sentence of each command whole; click's would be cut."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands, each with what it does."""
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, found.get_short_help_str(_WHOLE)) for name, found in self.commands.items()]
            )
