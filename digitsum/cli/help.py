"""Help in plain text: options in groups, and examples below them."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

WIDEST = 30  # characters of an option, above which its help begins on the next line
GROUPS = ("Data", "Model", "Run", "Output")  # in this order; options of no group come last


class Command(TyperCommand):
    """A command whose help puts options into groups and ends with examples.

    The group of an option is its `rich_help_panel`, the examples are the lines of the `epilog`.
    """

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Writes arguments, then the options of each group."""
        groups: dict[str, list[tuple[str, str]]] = {"Arguments": []}
        groups |= {f"{name} options": [] for name in GROUPS} | {"Options": []}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is None:
                continue
            group = getattr(param, "rich_help_panel", None)
            if param.param_type_name == "argument":
                groups["Arguments"].append(record)
            else:
                groups[f"{group} options" if group else "Options"].append(record)
        lengths = [len(name) for records in groups.values() for name, _ in records]
        wide = min(max(lengths, default=0), WIDEST)
        for title, records in groups.items():
            if records:  # padded, so that help texts begin in one column over all groups
                with formatter.section(title):
                    formatter.write_dl([(name.ljust(wide), text) for name, text in records])

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Writes the examples as they are, so that they can be copied."""
        if self.epilog:
            with formatter.section("Examples"):
                for line in self.epilog.splitlines():
                    formatter.write(f"{'':>{formatter.current_indent}}{line}\n")
