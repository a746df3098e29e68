"""Units for radios, so that what they say is nobody's doubt."""

from collections.abc import Iterable
from pathlib import Path


def write_units(folder: Path, radios: Iterable[str]) -> None:
    """``units.toml`` in ``folder``: a unit for each radio id; name it as ``units_file``."""
    tables = [
        f'[[unit]]\nid = "unit-{number}"\nname = "单元{number}"\nradios = ["{radio}"]\n'
        for number, radio in enumerate(radios)
    ]
    (folder / "units.toml").write_text("\n".join(tables), encoding="utf-8")
