"""The first screen of ``pdt-gateway --help``: what is there, in the order in which it is needed."""

from typing import Any

from typer.core import TyperGroup

PANELS = {
    "Run it 运行": ("demo", "init", "check", "run", "sign-in-link"),
    "Technician's tools 技术员": (
        "ports",
        "drivers",
        "decode",
        "record",
        "replay",
        "emulate",
        "number",
        "command",
        "commands",
        "airtime",
    ),
    "Data 数据": ("outbox", "influx", "grafana", "backup", "restore"),
}
PANEL_OF = {name: panel for panel, names in PANELS.items() for name in names}


class PlainGroup(TyperGroup):
    """Commands whose flags show no type: ``--probe <bool>`` reads as if a value were wanted."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command."""
        command: Any = super().get_command(ctx, cmd_name)
        if command is not None:
            for option in command.get_params(ctx):
                if getattr(option, "is_flag", False):
                    option.metavar = ""
        return command


class PanelGroup(PlainGroup):
    """Shows the commands in their panels; one that is in no panel comes last."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names, in the order of the panels."""
        order = list(PANEL_OF)
        return sorted(
            super().list_commands(ctx),
            key=lambda name: order.index(name) if name in PANEL_OF else len(order),
        )

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command, with its panel."""
        command: Any = super().get_command(ctx, cmd_name)
        if command is not None:
            command.rich_help_panel = PANEL_OF.get(cmd_name)
        return command
