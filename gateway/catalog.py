"""Finds the drivers: every module of ``drivers/`` that ends in a manifest called ``DRIVER``."""

import difflib
import importlib
import pkgutil
from typing import Any

import msgspec

import drivers
from drivers.api import Codec, Driver
from gateway.errors import ConfigError
from gateway.model.identity import SLUG


class Catalog:
    """The drivers that are installed, by name."""

    def __init__(self, found: dict[str, Driver[Any]]) -> None:
        self._found = found

    @classmethod
    def scan(cls) -> "Catalog":
        """Import every module of ``drivers/`` and keep those with a manifest."""
        found: dict[str, Driver[Any]] = {}
        for module in pkgutil.iter_modules(drivers.__path__):
            manifest = getattr(importlib.import_module(f"drivers.{module.name}"), "DRIVER", None)
            if manifest is None:
                continue
            if manifest.name != module.name or not SLUG.match(manifest.name):
                raise ConfigError(
                    f"drivers/{module.name}.py: DRIVER.name is {manifest.name!r}; "
                    "it must be the module's name"
                )
            found[manifest.name] = manifest
        return cls(found)

    def __iter__(self) -> Any:
        return iter(sorted(self._found.values(), key=lambda driver: driver.name))

    def get(self, name: str) -> Driver[Any]:
        """The driver called ``name``; raises ConfigError with the nearest name otherwise."""
        driver = self._found.get(name)
        if driver is None:
            near = difflib.get_close_matches(name, self._found, n=1)
            known = ", ".join(sorted(self._found))
            hint = f"did you mean {near[0]!r}?" if near else f"one of {known}"
            raise ConfigError(f"driver {name!r} does not exist; {hint}")
        return driver

    def codec(self, name: str, options: dict[str, Any], link_id: str, peer: str = "") -> Codec:
        """A codec of driver ``name`` for one peer; raises ConfigError where an option is wrong."""
        driver = self.get(name)
        try:
            return driver.new_codec(options, link_id, peer)
        except (msgspec.ValidationError, ValueError) as error:
            known = ", ".join(f.encode_name for f in msgspec.structs.fields(driver.options))
            raise ConfigError(
                f"options of driver {name!r}: {error}; it knows {known or 'no options'}"
            ) from None
