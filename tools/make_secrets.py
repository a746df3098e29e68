"""Make the passwords, tokens and certificates of docker-compose.yml, each site its own.

    python3 tools/make_secrets.py [--folder secrets] [--name NAME-OR-ADDRESS ...]

Only the standard library and openssl are needed. What is there already is kept, so a further run
adds what is missing; delete a file to have it made anew. ``--name`` adds names and addresses under
which other machines reach the broker.

The folder is closed to everybody else (0700). The files in it can be read by anybody who is let in:
a container sees them as they are, and its user is not the one who ran this.
"""

import argparse
import base64
import hashlib
import ipaddress
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PASSWORDS = (
    "mqtt_gateway_password",
    "mqtt_desk_password",
    "mqtt_monitoring_password",
    "influx_admin_password",
    "influx_admin_token",
    "influx_gateway_password",
    "influx_grafana_password",
    "grafana_admin_password",
)
MQTT_USERS = ("gateway", "desk", "monitoring")  # those of config/mosquitto.acl
BROKER_NAMES = ("mosquitto", "localhost", "127.0.0.1")
RANDOM_BYTES = 24
CERTIFICATE_DAYS = 825
CANNOT_RUN = 3

# Mosquitto 2.0 keeps PBKDF2-HMAC-SHA512 with 12 bytes of salt: $7$rounds$salt$hash. Random
# passwords need no slow hash, and every round of every login holds up the broker's one thread.
SALT_BYTES = 12
ROUNDS = 1_000


def main() -> int:
    """Make what is missing; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, default=ROOT / "secrets")
    parser.add_argument("--name", action="append", default=[], help="a further name of the broker")
    wanted = parser.parse_args()
    if shutil.which("openssl") is None:
        print("make_secrets: openssl is not installed", file=sys.stderr)
        return CANNOT_RUN
    folder: Path = wanted.folder
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)
    made = make_passwords(folder)
    made += make_certificates(folder, [*BROKER_NAMES, *wanted.name])
    print(f"{folder}: {', '.join(made) or 'nothing was missing'}")
    return 0


def make_passwords(folder: Path) -> list[str]:
    """Random secrets, and the broker's password file over them; returns what was made."""
    made = [name for name in PASSWORDS if _write(folder / name, _new_secret)]
    if _write(folder / "mqtt_passwords", lambda: _password_file(folder)):
        made.append("mqtt_passwords")
    return made


def _new_secret() -> str:
    return secrets.token_urlsafe(RANDOM_BYTES)


def _password_file(folder: Path) -> str:
    lines = []
    for user in MQTT_USERS:
        password = (folder / f"mqtt_{user}_password").read_text(encoding="ascii").strip()
        lines.append(f"{user}:{mosquitto_hash(password, secrets.token_bytes(SALT_BYTES))}")
    return "\n".join(lines)


def mosquitto_hash(password: str, salt: bytes, rounds: int = ROUNDS) -> str:
    """A password as Mosquitto 2.0 keeps it."""
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, rounds)
    text = [base64.b64encode(part).decode() for part in (salt, digest)]
    return f"$7${rounds}${text[0]}${text[1]}"


def _write(file: Path, content: Callable[[], str]) -> bool:
    """Write what ``content`` gives, unless the file is there."""
    if file.exists():
        return False
    file.touch(mode=0o600)
    file.write_text(f"{content()}\n", encoding="ascii")
    file.chmod(0o444)
    return True


def make_certificates(folder: Path, names: Iterable[str]) -> list[str]:
    """An authority of the site's own and the broker's certificate; returns what was made."""
    made = []
    if not (folder / "mqtt_ca.crt").exists():
        _openssl(
            folder, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
            "-nodes", "-days", str(CERTIFICATE_DAYS * 4), "-subj", "/CN=PDT gateway authority",
            "-addext", "basicConstraints=critical,CA:TRUE,pathlen:0",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign",
            "-keyout", "mqtt_ca.key", "-out", "mqtt_ca.crt",
        )  # fmt: skip
        made.append("mqtt_ca.crt")
    if not (folder / "mqtt_server.crt").exists():
        _make_server_certificate(folder, names)
        made.append("mqtt_server.crt")
    # Who has the authority's key can pose as the broker: it is for no container to see.
    (folder / "mqtt_ca.key").chmod(0o400)
    for name in ("mqtt_ca.crt", "mqtt_server.crt", "mqtt_server.key"):
        (folder / name).chmod(0o444)
    return made


def _make_server_certificate(folder: Path, names: Iterable[str]) -> None:
    extensions = folder / "mqtt_server.ext"
    extensions.write_text(
        f"subjectAltName={','.join(map(_alternative, names))}\n"
        "basicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth\n",
        encoding="ascii",
    )
    _openssl(
        folder, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
        "-subj", "/CN=mosquitto", "-keyout", "mqtt_server.key", "-out", "mqtt_server.csr",
    )  # fmt: skip
    _openssl(
        folder, "x509", "-req", "-in", "mqtt_server.csr", "-CA", "mqtt_ca.crt",
        "-CAkey", "mqtt_ca.key", "-set_serial", str(secrets.randbits(120)),
        "-days", str(CERTIFICATE_DAYS), "-extfile", extensions.name, "-out", "mqtt_server.crt",
    )  # fmt: skip
    extensions.unlink()
    (folder / "mqtt_server.csr").unlink()


def _alternative(name: str) -> str:
    try:
        return f"IP:{ipaddress.ip_address(name)}"
    except ValueError:
        return f"DNS:{name}"


def _openssl(folder: Path, *words: str) -> None:
    done = subprocess.run(
        ["openssl", *words], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"make_secrets: openssl {words[0]} failed: {done.stderr.strip()[-300:]}")


if __name__ == "__main__":
    sys.exit(main())
