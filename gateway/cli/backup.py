"""``pdt-gateway backup`` and ``restore``."""

from pathlib import Path
from typing import Annotated

import typer

from gateway import backup as saving
from gateway.cli.common import AsJson, ConfigFile, note_for_root, print_json
from gateway.clock import SystemClock
from gateway.settings import load_settings


def backup(
    config: ConfigFile,
    file: Annotated[Path, typer.Argument(help="The backup to write (a tar file); must not exist.")],
    *,
    json: AsJson = False,
) -> None:
    """Save settings, units, outbox and desk log as of now (the gateway may be running).

    Secrets are not in it. It holds positions of people: encrypt it.

    Example: pdt-gateway backup --config /etc/pdt-gateway/gateway.toml /srv/backup/monday.tar
    """
    contents = saving.back_up(load_settings(config), file, SystemClock())
    if json:
        print_json(contents)
        return
    print(f"{file}: site {contents.site}, version {contents.version}, {contents.at.text()}")
    for saved in contents.files:
        print(f"  {saved.name:12} {saved.size:12} bytes  sha256 {saved.sha256[:16]}…")


def restore(
    config: ConfigFile,
    file: Annotated[Path, typer.Argument(help="A backup.", dir_okay=False)],
    *,
    only: Annotated[str, typer.Option(help="One file of it, such as desk.db.")] = "",
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Move the databases that are there aside, then restore."),
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Compare checksums, touch nothing.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Put a backup back: the gateway must be stopped, and nothing may be in the way.

    Settings and units that are there are kept; a missing settings file comes from the backup. What
    is written belongs to whom its folder belongs: make the folders first, as when installing.

    Example: pdt-gateway restore --config /etc/pdt-gateway/gateway.toml /srv/backup/monday.tar
    """
    if check:
        done: object = saving.look_into(file)
    else:
        done = saving.restore(file, config, SystemClock(), may_replace=replace, only=only)
    if json:
        print_json(done)
    elif isinstance(done, saving.Contents):
        print(f"{file}: {len(done.files)} files, every checksum is right")
    elif isinstance(done, list):
        for each in done:
            print(f"{each.did:8} {each.file}{f' ({each.detail})' if each.detail else ''}")
        note_for_root(config)
