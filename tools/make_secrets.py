"""Make the passwords, tokens and certificates of docker-compose.yml, each site its own.

    python3 tools/make_secrets.py [--folder secrets] [--name NAME-OR-ADDRESS] [--client USER]

Only the standard library and openssl are needed. A further run keeps what is there and fits, and
makes the rest: what is missing, the broker's passwords where one of ours was made anew, and each
certificate that ends within two months, lacks a name that is asked for, or is another authority's.
``--name`` adds names and addresses under which other machines reach the broker; those of before
stay. ``--client`` makes a certificate for a program that shows one instead of a password. Both may
be given several times.

The authority stays as long as its certificate is there: every client would need the new one.

The folder is closed to everybody else (0700). The files in it can be read by anybody who is let in:
a container sees them as they are, and its user is not the one who ran this.
"""

import argparse
import base64
import hashlib
import ipaddress
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
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
# What its database took over at its first start: a new file here is news to nobody.
KEPT_ELSEWHERE = tuple(name for name in PASSWORDS if not name.startswith("mqtt_"))
RANDOM_BYTES = 24
CERTIFICATE_DAYS = 825
RENEW_DAYS = 60  # a certificate is made anew this long before its end
CLIENT = "mqtt_client_"
USER = re.compile(r"[A-Za-z0-9._-]+")
CANNOT_RUN = 3

# Mosquitto 2.0 keeps PBKDF2-HMAC-SHA512 with 12 bytes of salt: $7$rounds$salt$hash. Random
# passwords need no slow hash, and every round of every login holds up the broker's one thread.
SALT_BYTES = 12
ROUNDS = 1_000


def main() -> int:
    """Make what is missing or does not fit; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, default=ROOT / "secrets")
    parser.add_argument("--name", action="append", default=[], help="a further name of the broker")
    parser.add_argument("--client", action="append", default=[], help="a user with a certificate")
    wanted = parser.parse_args()
    if shutil.which("openssl") is None:
        print("make_secrets: openssl is not installed", file=sys.stderr)
        return CANNOT_RUN
    folder: Path = wanted.folder
    is_first = not folder.exists()
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)
    made = make_passwords(folder)
    made += make_certificates(folder, wanted.name, wanted.client)
    print(f"{folder}: {', '.join(made) or 'everything was there'}")
    if not is_first:
        _say_what_now(folder, made)
    return 0


def _say_what_now(folder: Path, made: list[str]) -> None:
    """What a new file alone does not do."""
    if any(name.startswith(("mqtt_passwords", "mqtt_server", "mqtt_ca")) for name in made):
        print("now: docker compose restart mosquitto gateway")
    if any(name.startswith((CLIENT, "mqtt_ca")) for name in made):
        print("and: hand what is new to the clients: docs/operations.md, 'Certificates'")
    for name in set(made) & set(KEPT_ELSEWHERE):
        print(f"{name}: its database still has the old one: docs/operations.md, 'Passwords'")
    if not _lasts(folder / "mqtt_ca.crt", CERTIFICATE_DAYS):
        print(
            "mqtt_ca.crt: ends before a new certificate would: docs/operations.md, 'Certificates'"
        )


def make_passwords(folder: Path) -> list[str]:
    """Random secrets, and the broker's password file over them; returns what was made."""
    made = []
    for name in PASSWORDS:
        if not (folder / name).exists():
            _put(folder / name, secrets.token_urlsafe(RANDOM_BYTES))
            made.append(name)
    if _update_password_file(folder):
        made.append("mqtt_passwords")
    return made


def _update_password_file(folder: Path) -> bool:
    """Give our users the passwords that stand beside it, and leave all others as they are."""
    file = folder / "mqtt_passwords"
    before = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    known = dict(line.split(":", 1) for line in before if ":" in line)
    for user in MQTT_USERS:
        password = (folder / f"mqtt_{user}_password").read_text(encoding="ascii").strip()
        if not _fits(password, known.get(user, "")):
            known[user] = mosquitto_hash(password, secrets.token_bytes(SALT_BYTES))
    after = [f"{user}:{hashed}" for user, hashed in known.items()]
    if after == before:
        return False
    _put(file, "\n".join(after))
    return True


def mosquitto_hash(password: str, salt: bytes, rounds: int = ROUNDS) -> str:
    """A password as Mosquitto 2.0 keeps it."""
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, rounds)
    text = [base64.b64encode(part).decode() for part in (salt, digest)]
    return f"$7${rounds}${text[0]}${text[1]}"


def _fits(password: str, hashed: str) -> bool:
    found = re.fullmatch(r"\$7\$(\d+)\$([A-Za-z0-9+/=]+)\$[A-Za-z0-9+/=]+", hashed)
    if found is None:
        return False
    return hashed == mosquitto_hash(password, base64.b64decode(found[2]), int(found[1]))


def _put(file: Path, content: str) -> None:
    """Replace a file in one step: who reads it sees the old one or the new one."""
    new = file.with_name(f".{file.name}.new")
    new.touch(mode=0o600)
    new.write_text(f"{content}\n", encoding="utf-8")
    new.chmod(0o444)
    new.replace(file)


# ---- certificates


def make_certificates(folder: Path, names: Iterable[str], clients: Iterable[str] = ()) -> list[str]:
    """An authority of the site's own, and what it signs; returns what was made, and why."""
    made = []
    if not (folder / "mqtt_ca.crt").exists():
        (folder / "mqtt_ca.key").unlink(missing_ok=True)  # nobody may write to it
        _openssl(
            folder, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
            "-nodes", "-days", str(CERTIFICATE_DAYS * 4), "-subj", "/CN=PDT gateway authority",
            "-addext", "basicConstraints=critical,CA:TRUE,pathlen:0",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign",
            "-keyout", "mqtt_ca.key", "-out", "mqtt_ca.crt",
        )  # fmt: skip
        # Who has the authority's key can pose as the broker: it is for no container to see.
        (folder / "mqtt_ca.key").chmod(0o400)
        (folder / "mqtt_ca.crt").chmod(0o444)
        made.append("mqtt_ca.crt")
    has = _names(folder / "mqtt_server.crt")
    all_names = dict.fromkeys([*BROKER_NAMES, *has, *map(_plain, names)])
    is_short = not set(all_names) <= set(has)
    alternatives = ",".join(map(_alternative, all_names))
    extensions = f"subjectAltName={alternatives}\nextendedKeyUsage=serverAuth\n"
    if why := _why_anew(folder, "mqtt_server") or ("a further name" if is_short else ""):
        _issue(folder, "mqtt_server", "mosquitto", extensions)
        made.append(f"mqtt_server.crt ({why})")
    present = sorted(file.stem.removeprefix(CLIENT) for file in folder.glob(f"{CLIENT}*.crt"))
    for user in dict.fromkeys([*present, *clients]):
        if not USER.fullmatch(user):
            sys.exit(f"make_secrets: --client {user!r}: use letters, digits, '.', '_' and '-'")
        stem = f"{CLIENT}{user}"
        if why := _why_anew(folder, stem):
            _issue(folder, stem, user, "extendedKeyUsage=clientAuth\n")
            made.append(f"{stem}.crt ({why})")
    return made


def _why_anew(folder: Path, stem: str) -> str:
    """Why a certificate cannot stay; "" where it can."""
    certificate, key = folder / f"{stem}.crt", folder / f"{stem}.key"
    if not certificate.exists() or not key.exists():
        return "new"
    if not _lasts(certificate, RENEW_DAYS):
        return "its end was near"
    if not _works("verify", "-CAfile", folder / "mqtt_ca.crt", certificate):
        return "of another authority"
    public = _said("x509", "-in", certificate, "-noout", "-pubkey")
    return "" if public == _said("pkey", "-in", key, "-pubout") else "of another key"


def _lasts(certificate: Path, days: int) -> bool:
    return _works("x509", "-in", certificate, "-noout", "-checkend", str(days * 86_400))


def _names(certificate: Path) -> list[str]:
    """The names and addresses that a certificate is good for."""
    if not certificate.exists():
        return []
    said = _said("x509", "-in", certificate, "-noout", "-ext", "subjectAltName")
    return [_plain(name) for name in re.findall(r"(?:DNS|IP Address):([^,\s]+)", said)]


def _plain(name: str) -> str:
    """An address in its one usual form, a name in lower case."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name.lower()


def _alternative(name: str) -> str:
    try:
        return f"IP:{ipaddress.ip_address(name)}"
    except ValueError:
        return f"DNS:{name}"


def _issue(folder: Path, stem: str, subject: str, extensions: str) -> None:
    """A new key and its certificate, put in place when both are there."""
    if not (folder / "mqtt_ca.key").exists():
        sys.exit(
            f"make_secrets: {stem}.crt has to be made, and the authority's key is not in {folder}: "
            "bring mqtt_ca.key back for it. If it is lost, delete mqtt_ca.crt for a new authority, "
            "and give the new mqtt_ca.crt to every client"
        )
    with tempfile.TemporaryDirectory(dir=folder) as name:
        place = Path(name)
        (place / "ext").write_text(
            f"basicConstraints=critical,CA:FALSE\n{extensions}", encoding="ascii"
        )
        _openssl(
            place, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-subj", f"/CN={subject}", "-keyout", "key", "-out", "csr",
        )  # fmt: skip
        _openssl(
            place, "x509", "-req", "-in", "csr", "-CA", "../mqtt_ca.crt",
            "-CAkey", "../mqtt_ca.key", "-set_serial", str(secrets.randbits(120)),
            "-days", str(CERTIFICATE_DAYS), "-extfile", "ext", "-out", "crt",
        )  # fmt: skip
        for kind in ("key", "crt"):
            (place / kind).chmod(0o444)
            (place / kind).replace(folder / f"{stem}.{kind}")


def _openssl(folder: Path, *words: str) -> None:
    done = subprocess.run(
        ["openssl", *words], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"make_secrets: openssl {words[0]} failed: {done.stderr.strip()[-300:]}")


def _works(*words: str | Path) -> bool:
    return subprocess.run(["openssl", *words], capture_output=True, check=False).returncode == 0


def _said(*words: str | Path) -> str:
    done = subprocess.run(["openssl", *words], capture_output=True, text=True, check=False)
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
