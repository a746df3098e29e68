"""The end of a certificate is told before it comes: by ``check``, by the probe and in service."""

import asyncio
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway import probe
from gateway.app import Gateway
from gateway.catalog import Catalog
from gateway.certificates import ends_in
from gateway.check import Finding, check
from gateway.model.quantities import NS_PER_S
from gateway.roster.units import Roster
from gateway.runtime.health import Metrics
from tests.conftest import find_tool
from tests.support.certificates import Authority
from tests.support.mosquitto import Mosquitto
from tests.support.sink_rows import eventually, loaded

pytestmark = pytest.mark.needs("openssl")


def end_by_openssl(file: Path) -> int:
    """Nanoseconds, as the reference reads them."""
    program = find_tool("openssl")
    assert program is not None
    words: list[str | Path] = [program, "x509", "-in", file, "-noout", "-enddate"]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    text = told.strip().removeprefix("notAfter=").removesuffix(" GMT")
    at = datetime.strptime(text, "%b %d %H:%M:%S %Y").replace(tzinfo=UTC)
    return int(at.timestamp()) * NS_PER_S


@pytest.mark.parametrize("days", [-1, 1, 825, 3650, 36_500])  # the last in a longer form
def test_the_end_is_read_as_openssl_reads_it(tmp_path: Path, days: int) -> None:
    authority = Authority(tmp_path / "ours")
    file, _ = authority.issue("server", "127.0.0.1", days=days)
    both = file.read_text() + authority.file.read_text()
    assert ends_in(both) == [end_by_openssl(file), end_by_openssl(authority.file)]


def test_what_is_no_certificate_is_refused_whatever_it_is(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ours")
    text = authority.file.read_text()
    assert ends_in("") == []
    assert ends_in((authority.folder / "ca.key").read_text()) == []
    body = "".join(text.splitlines()[1:-1])
    form = "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n"
    whole = ends_in(form.format(body))
    for length in range(0, len(body), 4):
        try:
            found = ends_in(form.format(body[:length]))
        except ValueError:
            continue
        assert found == whole, "it ended after the date"
    for wrong in ("!", "AAAA", "MAAw", text[:200]):
        with pytest.raises(ValueError):  # noqa: PT011 - the message depends on where it ends
            ends_in(form.format(wrong))


class Site:
    """Settings with the certificates of an authority that a test makes."""

    def __init__(self, folder: Path, **days: int) -> None:
        self.folder = folder
        self.authority = Authority(folder / "ours", days=days.pop("authority", 400))
        for name, left in {"server": 400, "gateway": 400, **days}.items():
            self.authority.issue(name, "127.0.0.1" if name == "server" else name, days=left)

    def toml(self, port: int = 8883) -> Path:
        file = self.folder / "gateway.toml"
        file.write_text(
            f'[site]\nid = "town"\n[mqtt]\nenabled = true\nport = {port}\n'
            'ca_file = "ours/ca.crt"\ncert_file = "ours/gateway.crt"\n'
            'key_file = "ours/gateway.key"\n'
        )
        return file

    def findings(self) -> dict[str, Finding]:
        _, _, found = check(self.toml(), Catalog.scan())
        return {each.where: each for each in found if each.where.startswith("mqtt")}


def test_check_warns_of_what_ends_within_a_month_and_of_nothing_else(tmp_path: Path) -> None:
    assert not Site(tmp_path / "far").findings()
    near = Site(tmp_path / "near", gateway=20).findings()
    assert near.keys() == {"mqtt.cert_file"}
    assert re.search(
        r"ends on \d{4}-\d\d-\d\d, in (19|20) days; renew", near["mqtt.cert_file"].text
    )
    assert not near["mqtt.cert_file"].is_wrong
    late = Site(tmp_path / "late", gateway=-1, authority=25).findings()
    assert late.keys() == {"mqtt.cert_file", "mqtt.ca_file"}
    assert late["mqtt.cert_file"].is_wrong
    assert "ended on" in late["mqtt.cert_file"].text


def test_of_several_authorities_the_last_counts(tmp_path: Path) -> None:
    """As in a file of the system's, where some end each month."""
    site = Site(tmp_path / "far")
    older = Authority(tmp_path / "older", days=3)
    site.authority.file.write_text(older.file.read_text() + site.authority.file.read_text())
    assert not site.findings()


def broker_settings(site: Site) -> tuple[str, ...]:
    place = site.authority.folder
    return (
        "allow_anonymous true", f"cafile {site.authority.file}",
        f"certfile {place / 'server.crt'}", f"keyfile {place / 'server.key'}",
    )  # fmt: skip


@pytest.mark.needs("mosquitto")
@pytest.mark.parametrize(("days", "told"), [(20, 1), (400, 0)])
def test_the_probe_looks_at_the_brokers_own(tmp_path: Path, days: int, told: int) -> None:
    site = Site(tmp_path / "here", server=days)
    with Mosquitto(tmp_path, *broker_settings(site)) as broker:
        town, _, _ = check(site.toml(broker.port), Catalog.scan())
        found = asyncio.run(probe._broker(town))
    assert not probe.is_wrong(found), found
    assert sum("the certificate ends on" in each.text for each in found) == told


@pytest.mark.needs("mosquitto")
def test_in_service_each_is_a_figure_and_a_renewed_one_is_seen(tmp_path: Path) -> None:
    site = Site(tmp_path / "here", server=20, gateway=10)
    files = {
        "ca_file": "here/ours/ca.crt",
        "cert_file": "here/ours/gateway.crt",
        "key_file": "here/ours/gateway.key",
    }

    def days(gateway: Gateway) -> dict[str, int]:
        facts = gateway.facts
        text = Metrics(gateway.counters, facts.health, facts.links, facts.resources).text().decode()
        found = re.findall(
            r'^pdt_certificate_expires_seconds\{certificate="(.*)"\} (\S+)$', text, re.MULTILINE
        )
        return {name: round(float(value) / 86_400) for name, value in found}

    async def story(broker: Mosquitto) -> None:
        town = loaded(tmp_path, mqtt={"port": broker.port, "enabled": True, **files})
        gateway = Gateway(town, Roster(), Catalog.scan())
        (sink,) = (each for each in gateway.sinks if each.name == "mqtt")
        assert days(gateway) == {"mqtt.ca_file": 400, "mqtt.cert_file": 10}, "before it is reached"
        running: asyncio.Task[Any] = asyncio.ensure_future(sink.run())
        await eventually(lambda: "broker" in days(gateway), "connected")
        assert days(gateway) == {"mqtt.ca_file": 400, "mqtt.cert_file": 10, "broker": 20}
        broker.kill()
        for name, left in (("server", 300), ("gateway", 200)):
            site.authority.issue(name, "127.0.0.1" if name == "server" else name, days=left)
        broker.start()
        await eventually(lambda: days(gateway)["broker"] == 300, "the new one")
        assert days(gateway)["mqtt.cert_file"] == 200
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    with Mosquitto(tmp_path, *broker_settings(site)) as broker:
        asyncio.run(story(broker))


def test_without_tls_there_is_nothing_to_tell(tmp_path: Path) -> None:
    gateway = Gateway(loaded(tmp_path, mqtt={"enabled": True}), Roster(), Catalog.scan())
    assert gateway.facts.resources().certificates_s == {}
