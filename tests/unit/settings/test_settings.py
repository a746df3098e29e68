"""A wrong setting names file, key, what was found and what would be right."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.catalog import Catalog
from gateway.check import check
from gateway.errors import ConfigError
from gateway.settings import SerialSettings, load_settings, parse_address

SITE = '[site]\nid = "town"\n'
LINK = SITE + '[[link]]\nid = "r1"\ndriver = "nmea0183"\ntransport = "serial"\nport = "/dev/x"\n'


def written(folder: Path, text: str) -> Path:
    file = folder / "settings.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_the_smallest_file_is_a_site(tmp_path: Path) -> None:
    loaded = load_settings(written(tmp_path, SITE))
    assert loaded.settings.site.id == "town"
    assert loaded.settings.desk.listen == "127.0.0.1:8080"
    assert loaded.path("var") == tmp_path / "var"


def test_a_link_is_read_by_its_transport(tmp_path: Path) -> None:
    link = load_settings(written(tmp_path, LINK)).settings.link[0]
    assert isinstance(link, SerialSettings)
    assert link.port == "/dev/x"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["site", "is missing"]),
        ("[site]\n", ["site.id", "is missing"]),
        ('[site]\nid = "a b"\n', ["site.id", "'a b'", "letters, digits"]),
        (SITE + "[mqtt]\nfix_qos = 3\n", ["mqtt.fix_qos", "3 is wrong", "one of 0, 1"]),
        (SITE + "[influx]\napi = '3'\n", ["influx.api", "'3' is wrong", "one of 1, 2"]),
        (SITE + "[mqtt]\nhosst = 'x'\n", ["mqtt.hosst", "no such key", "did you mean 'host'"]),
        (SITE + "[mqtt]\nport = 'x'\n", ["mqtt.port", "'x'", "expected `int`, got `str`"]),
        (SITE + "[mqtt]\nport = 70000\n", ["mqtt.port", "65535"]),
        (SITE + "[mqtt]\nbase_topic = 'a/#'\n", ["mqtt.base_topic", "pdt/v1/town"]),
        (SITE + "[desk]\nlisten = '8080'\n", ["desk.listen", "'8080'", "127.0.0.1:8080"]),
        (SITE + "[desk]\ntrusted_proxies = ['nginx']\n", ["desk.trusted_proxies", "'nginx'"]),
        (SITE + "[desk]\nmetrics_allow = ['*']\n", ["desk.metrics_allow", "'*'", "10.0/24"]),
        (SITE + "zone = 'Mars'\n", ["site.zone", "Mars", "Asia/Shanghai"]),
        (SITE + "zone = 'Asia'\n", ["site.zone", "'Asia'", "Asia/Shanghai"]),
        (SITE + f"zone = '{'9' * 500}'\n", ["site.zone", "Asia/Shanghai"]),
        (
            LINK.replace("serial", "seriel"),
            ["link 'r1'.transport", "'seriel'", "serial, tcp_client"],
        ),
        (LINK + LINK.removeprefix(SITE), ["two links", "'r1'", "rename"]),
        (
            SITE + "[influx]\nurl = 'nonsense'\n",
            ["influx.url", "'nonsense'", "http://127.0.0.1:8086"],
        ),
        (SITE + "[influx]\nurl = 'influx.local:8086'\n", ["influx.url", "http://host:port"]),
        (SITE + "[influx]\nurl = 'http://h:x'\n", ["influx.url", "'http://h:x'"]),
        (SITE + "[influx]\nurl = 'http://:8086'\n", ["influx.url", "http://host:port"]),
        ("site = [", ["not valid TOML"]),
        (SITE + 'data_dir = "a\\u0000b"\n', ["site.data_dir", "NUL"]),
        (SITE + '[mqtt]\npassword_file = "a\\u0000b"\n', ["mqtt.password_file", "NUL"]),
        (LINK.replace("/dev/x", "a\\u0000b"), ["link 'r1'.port", "NUL"]),
        (
            SITE + '[[link]]\nid="a"\ndriver="jt808"\ntransport="tcp_server"\n'
            'listen="127.0.0.1:1"\nallow=["everyone"]\n',
            ["allow", "everyone", "192.168.10.0/24"],
        ),
    ],
)
def test_a_wrong_setting_is_told_in_one_line(tmp_path: Path, text: str, parts: list[str]) -> None:
    file = written(tmp_path, text)
    with pytest.raises(ConfigError) as refused:
        load_settings(file)
    message = str(refused.value)
    assert message.startswith(str(file))
    assert "\n" not in message
    for part in parts:
        assert part in message


def test_a_password_in_a_url_is_refused_and_not_told(tmp_path: Path) -> None:
    file = written(tmp_path, SITE + "[influx]\nurl = 'http://gateway:hush@h:8086'\n")
    with pytest.raises(ConfigError, match="name the file that holds the secret") as refused:
        load_settings(file)
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8086", "https://influx.local", "http://[::1]:1/a"]
)
def test_the_url_of_a_server_is_taken(tmp_path: Path, url: str) -> None:
    file = written(tmp_path, SITE + f"[influx]\nurl = '{url}'\n")
    assert load_settings(file).settings.influx.url == url


def noted(folder: Path, text: str) -> dict[str, str]:
    """What `check` notes of settings that work, by place."""
    _, _, findings = check(written(folder, text), Catalog.scan())
    return {finding.where: finding.text for finding in findings}


TCP = SITE + '[[link]]\nid = "a"\ndriver = "jt808"\ntransport = "tcp_server"\n'
UDP = SITE + '[[link]]\nid = "a"\ndriver = "hytera_hrnp"\ntransport = "udp"\n'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (TCP + 'listen = "0.0.0.0:1"\n', "hears this machine alone"),
        (TCP + 'listen = "192.168.1.2:1"\nallow = ["127.0.0.1/32"]\n', "hears this machine alone"),
        (TCP + 'listen = "0.0.0.0:1"\nallow = ["10.0.0.0/8"]\n', ""),
        (TCP + 'listen = "127.0.0.1:1"\n', ""),
        (UDP + 'listen = "0.0.0.0:1"\n', "hears this machine alone"),
        (UDP + 'listen = "0.0.0.0:1"\nremote = "10.0.0.5:3005"\n', ""),
        (UDP + 'remote = "10.0.0.5:3005"\n', "cannot be reached from listen 127.0.0.1:0"),
        (
            UDP + 'listen = "0.0.0.0:1"\nremote = "10.0.0.5:1"\nallow = ["10.1.0.0/16"]\n',
            "remote 10.0.0.5:1 is not in allow",
        ),
        (UDP + 'listen = "0.0.0.0:1"\nremote = "10.0.0.5:1"\nallow = ["10.0.0.0/16"]\n', ""),
    ],
)
def test_addresses_that_do_not_go_together_are_noted(tmp_path: Path, text: str, told: str) -> None:
    found = noted(tmp_path, text).get("link 'a'", "")
    assert told in found
    assert bool(found) == bool(told)


def test_an_output_that_nobody_can_read_is_noted(tmp_path: Path) -> None:
    out = SITE + '[[nmea_out]]\nunit = "u"\nlisten = "0.0.0.0:1"\n'
    assert "this machine alone" in noted(tmp_path, out)["nmea_out 'u'"]
    assert "nmea_out 'u'" not in noted(tmp_path, out + 'allow = ["10.0.0.0/8"]\n')


def test_a_file_name_that_no_system_takes_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"site\.map_file: there is no file '999"):
        noted(tmp_path, SITE + f'map_file = "{"9" * 5000}"\n')


def test_a_series_of_2x_without_organisation_or_token_is_noted(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t")
    series = SITE + "[influx]\nenabled = true\n"
    assert {"influx.org", "influx.token_file"} <= noted(tmp_path, series).keys()
    whole = series + 'org = "o"\ntoken_file = "token"\n'
    for text in (whole, series + 'api = "1"\n', SITE):
        assert not [where for where in noted(tmp_path, text) if where.startswith("influx")]


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(tmp_path / "nothing.toml")


def test_a_secret_is_read_from_its_file_and_a_missing_one_is_told(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter2\n")
    loaded = load_settings(written(tmp_path, SITE + "[mqtt]\npassword_file = 'secret'\n"))
    assert loaded.secret("mqtt.password_file", "secret") == "hunter2"
    with pytest.raises(ConfigError, match=r"mqtt\.password_file.*other"):
        loaded.secret("mqtt.password_file", "other")


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (("nmea0183", "nmea183"), ["nmea183", "did you mean 'nmea0183'"]),
        (
            (
                'transport = "serial"\nport = "/dev/x"',
                'transport = "serial"\nport = "/dev/x"\noptions = {tone = 1}',
            ),
            ["tone"],
        ),
    ],
)
def test_a_wrong_driver_or_option_is_told(
    tmp_path: Path, change: tuple[str, str], parts: list[str]
) -> None:
    file = written(tmp_path, LINK.replace(*change))
    with pytest.raises(ConfigError) as refused:
        check(file, Catalog.scan())
    for part in ["r1", *parts]:
        assert part in str(refused.value)


@given(st.text(max_size=60))
def test_no_text_in_a_setting_ends_in_anything_but_a_clear_refusal(text: str) -> None:
    try:
        host, port = parse_address(text, "desk.listen")
    except ConfigError:
        return
    assert host
    assert 0 <= port <= 65535
