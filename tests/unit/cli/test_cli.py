"""The command line as a technician meets it: exit codes, one clear line, JSON for scripts."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.ports import free_port

SETTINGS = '[site]\nid = "town"\n[desk]\nenabled = false\n'
ALARM_2019 = (
    "7e0200402201000000000138001380000008000000010000000201cd77ed07299100"
    "000c0024005725062410153030011f310109737e"
)  # JT/T 808 position with SOS, 2019 header; worked by hand from the standard's table


def run(*words: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway", *words],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_a_frame_in_hex_becomes_one_array_of_events() -> None:
    done = run("decode", "jt808", "--hex", text=f"{ALARM_2019}\nzz\n{ALARM_2019[:-2]}00\n")
    assert done.returncode == 0
    events, not_hex, refused = map(json.loads, done.stdout.splitlines())
    assert [event["type"] for event in events] == ["emergency_raised", "position_fix"]
    assert events[1]["radio_id"] == "jt808:00000000013800138000"
    assert events[1]["fix_at"] == "2025-06-24T02:15:30.000Z"
    assert events[1]["lat_deg"] == pytest.approx(30.242797)
    assert "not hex" in not_hex[0]["error"]
    assert "error" in refused[0]


def test_a_raw_stream_becomes_one_event_a_line(tmp_path: Path) -> None:
    file = tmp_path / "log.nmea"
    file.write_text(
        "$GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W*6A\r\n"
        "noise\r\n$GPRMC,123520,V,,,,,,,230394,,*39\r\n"
    )
    done = run("decode", "nmea0183", str(file), "--at", "1994-03-23T12:35:21Z")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    fixes = [event for event in events if event.get("type") == "position_fix"]
    assert [fix["fix_valid"] for fix in fixes] == [True, False]
    assert fixes[0]["fix_at"] == "1994-03-23T12:35:19.000Z"


def test_a_driver_that_does_not_exist_is_named_with_the_nearest_one() -> None:
    done = run("decode", "nmea183", text="")
    assert done.returncode == 2
    assert (
        done.stderr.strip()
        == "pdt-gateway: driver 'nmea183' does not exist; did you mean 'nmea0183'?"
    )


def test_an_option_that_a_driver_does_not_know_is_refused() -> None:
    done = run("decode", "jt808", "-o", "colour=red", text="")
    assert done.returncode == 2
    assert "colour" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "address"),
    [(["80020200"], 16515073), (["80020910", "--group"], 16515083), (["FC0001"], 16515073)],
)
def test_a_number_is_told_both_ways(words: list[str], address: int) -> None:
    done = run("number", *words, "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["address"] == address


def test_a_number_out_of_range_ends_in_one_and_says_why() -> None:
    done = run("number", "99999999")
    assert done.returncode == 1
    assert "999" in done.stderr


def test_check_says_fine_or_names_file_and_key(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(SETTINGS)
    fine = run("check", "--config", str(file))
    assert fine.returncode == 0
    assert "fine" in fine.stdout
    file.write_text(SETTINGS.replace("enabled", "enabeld"))
    wrong = run("check", "--config", str(file))
    assert wrong.returncode == 2
    assert wrong.stderr.count("\n") == 1
    for part in (str(file), "desk.enabeld", "did you mean 'enabled'"):
        assert part in wrong.stderr


def test_the_drivers_are_listed_for_people_and_for_scripts() -> None:
    facts = json.loads(run("drivers", "--json").stdout)
    assert {"nmea0183", "jt808", "hytera_hrnp"} <= {driver["name"] for driver in facts}
    assert "jt808" in run("drivers").stdout


def test_a_data_folder_that_cannot_be_written_is_told_without_a_traceback(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(SETTINGS.replace("\n[desk]", '\ndata_dir = "/proc/nothing"\n[desk]'))
    done = run("run", "--config", str(file))
    assert done.returncode in {2, 3}
    assert "Traceback" not in done.stderr
    assert "/proc/nothing" in done.stderr


@pytest.mark.parametrize(
    ("listen", "reached"),
    [
        ("0.0.0.0:8080", "http://127.0.0.1:8080/"),
        ("[::]:8080", "http://[::1]:8080/"),
        ("192.168.10.2:8080", "http://192.168.10.2:8080/"),
    ],
)
def test_a_sign_in_link_leads_to_an_address_one_can_go_to(
    tmp_path: Path, listen: str, reached: str
) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text(f'[site]\nid = "town"\n[desk]\nlisten = "{listen}"\n')
    done = run("sign-in-link", "--config", str(config), "--name", "li")
    assert done.stdout.startswith(f"{reached}#sign-in="), done.stderr


def test_an_emulated_terminal_is_recorded_and_the_recording_replayed(tmp_path: Path) -> None:
    port = free_port()
    file = tmp_path / "gateway.toml"
    file.write_text(
        SETTINGS + f'[[link]]\nid = "t"\ndriver = "jt808"\ntransport = "tcp_server"\n'
        f'listen = "127.0.0.1:{port}"\n'
    )
    tape = tmp_path / "tape.jsonl"
    words = ["record", "-c", str(file), "t", str(tape), "--seconds", "6"]
    with subprocess.Popen(
        [sys.executable, "-m", "gateway", *words], stdout=subprocess.PIPE, text=True
    ) as recorder:
        assert recorder.stdout is not None
        assert "open" in recorder.stdout.readline()
        where = f"127.0.0.1:{port}"
        done = run("emulate", "jt808", "--connect", where, "--seconds", "3", "--every", "0.5")
        assert done.returncode == 0
        recorder.communicate(timeout=20)
    replayed = run("replay", "jt808", str(tape), "--speed", "0")
    kinds = {json.loads(line).get("type") for line in replayed.stdout.splitlines()}
    assert "radio_registered" in kinds
