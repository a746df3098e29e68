"""The files in ``config/`` are what the program and the demo say, and the program accepts them."""

import json
import re
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from gateway.catalog import Catalog
from gateway.check import check
from gateway.demo.teams import units_file
from gateway.demo.town import Town
from gateway.settings import AnyLinkSettings, Settings, SiteSettings, load_settings
from tools import write_config

CONFIG = Path(__file__).resolve().parents[3] / "config"
SWITCHED_OFF = re.compile(r'^#(?=[a-z_]+ = |"[^"]+" = |\[)', re.MULTILINE)
HOW = "run: python -m tools.write_config"


@pytest.fixture(name="everything")
def _everything(tmp_path: Path) -> Path:
    """The example settings with every # in front of a key taken away."""
    example = (CONFIG / "gateway.toml").read_text(encoding="utf-8")
    for beside in ("units.toml", "town.geojson"):
        (tmp_path / beside).write_bytes((CONFIG / beside).read_bytes())
    file = tmp_path / "gateway.toml"
    file.write_text(SWITCHED_OFF.sub("", example), encoding="utf-8")
    return file


@pytest.mark.parametrize("file", write_config.contents(), ids=lambda file: file.name)
def test_a_generated_file_is_up_to_date(file: Path) -> None:
    assert file.read_text(encoding="utf-8") == write_config.contents()[file], HOW


def test_the_example_is_accepted_and_has_a_link_that_an_emulated_terminal_finds() -> None:
    loaded, roster, findings = check(CONFIG / "gateway.toml", Catalog.scan())
    assert [link.driver for link in loaded.settings.link] == ["jt808"]
    assert roster.units
    assert roster.sites
    assert not findings


def test_the_example_is_accepted_with_every_key_switched_on(everything: Path) -> None:
    loaded, _, _ = check(everything, Catalog.scan())
    tags = {type(link).__struct_config__.tag for link in loaded.settings.link}
    assert tags == {kind.__struct_config__.tag for kind in get_args(AnyLinkSettings)}
    assert {link.driver for link in loaded.settings.link} == {d.name for d in Catalog.scan()}


def test_every_default_that_is_shown_is_the_default(everything: Path) -> None:
    shown = load_settings(everything).settings
    bare = Settings(site=SiteSettings(id="x"))
    for field in msgspec.structs.fields(Settings):
        if field.name == "site" or isinstance(field.default, tuple):  # [[…]]: shown by an example
            continue
        assert getattr(shown, field.name) == getattr(bare, field.name), field.name
    assert shown.site.zone == bare.site.zone
    for link in shown.link:
        if link.id.startswith("my_"):
            assert _defaults(type(link)).items() <= msgspec.structs.asdict(link).items()


def _defaults(kind: Any) -> dict[str, object]:
    """Every default of a link's table; ``baud`` has none to show but the driver's."""
    return {
        field.name: field.default
        for field in msgspec.structs.fields(kind)
        if field.default is not msgspec.NODEFAULT and field.name != "baud"
    }


def test_every_key_of_the_settings_is_shown(everything: Path) -> None:
    text = everything.read_text(encoding="utf-8")
    kinds = [SiteSettings, *get_args(AnyLinkSettings)]
    for field in msgspec.structs.fields(Settings):
        if field.name not in {"site", "link"}:
            kinds += [get_args(field.type)[0] if get_args(field.type) else field.type]
    for kind in kinds:
        for field in msgspec.structs.fields(kind):
            assert re.search(rf"^{field.name} = ", text, re.MULTILINE), f"{kind}: {field.name}"


def test_no_secret_stands_in_the_example() -> None:
    text = (CONFIG / "gateway.toml").read_text(encoding="utf-8")
    assert not re.search(r"^#?(password|token|secret) =", text, re.MULTILINE)


def test_units_and_map_are_the_demos() -> None:
    assert (CONFIG / "units.toml").read_text(encoding="utf-8") == units_file()
    drawn = json.loads((CONFIG / "town.geojson").read_text(encoding="utf-8"))
    assert drawn == Town().geojson()


def test_a_key_without_an_explanation_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {key: text for key, text in write_config.TEXTS.items() if key != "log.level"}
    monkeypatch.setattr(write_config, "TEXTS", texts)
    with pytest.raises(write_config.MissingTextError, match=r"log\.level"):
        write_config.settings_text()
