"""Build InfluxDB 2.7 from its makers' source, for the tests: no package index has the server.

    python3 tools/build_influxdb2.py      some minutes, once; into .tools/influxdb2/

The server is ``influxd2``, without its user interface; ``influx2`` is the command line that its
container image has. Needs Go, Rust's cargo and gcc. The sources come as Go modules: their hashes
are below, those of everything that they need are in their own ``go.sum`` and ``Cargo.lock``. Exit
code 0: both are there; 3: they could not be built, and why.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".tools" / "influxdb2"
SERVER, CLIENT = HOME / "influxd2", HOME / "influx2"
STAMP = HOME / "built"
OUT_OF_REACH = HOME / "out-of-reach"  # why the sources could not be fetched, the last time


class Source(NamedTuple):
    """A Go module of one version, and the hash of its files."""

    name: str
    version: str
    sum: str


INFLUXD = Source(  # the version of docker-compose.yml
    "github.com/influxdata/influxdb/v2",
    "v2.7.12",
    "h1:m25dUSO7h6nm3zFC4v/aCNeFFmnN/mlN/uPo1T63bmk=",
)
INFLUX = Source(  # the one that the server's own source names
    "github.com/influxdata/influx-cli/v2",
    "v2.2.1-0.20221028161653-3285a03e9e28",
    "h1:brESt4mwZknEUuwrYcGSG6JqjTKC5M+qVKgL73ondFg=",
)
FLUX = "github.com/influxdata/flux"
TAGS = "sqlite_foreign_keys,sqlite_json,noasm"
NEEDED = {  # how each compiler says that it works: where to get it
    ("go", "version"): "Go 1.23 or newer",
    ("cargo", "--version"): "Rust, with cargo",
    ("gcc", "--version"): "gcc",
}
FETCH_TRIES = 3
STEP_TIMEOUT_S = 1800  # a slow line and one slow core; a hanging step must not hang the set-up
CANNOT_RUN = 3


class BuildError(Exception):
    """The server cannot be built; the text says what would help."""


class OutOfReachError(BuildError):
    """The sources cannot be fetched."""


def main() -> int:
    """Build, unless it is there."""
    if is_current():
        return 0
    OUT_OF_REACH.unlink(missing_ok=True)
    lacking = what_is_missing()
    if lacking:
        say(f"InfluxDB {INFLUXD.version} cannot be built without {' and '.join(lacking)}")
        return CANNOT_RUN
    started = time.monotonic()
    say(f"building InfluxDB {INFLUXD.version} from source, some minutes, once")
    try:
        build()
    except BuildError as error:
        if isinstance(error, OutOfReachError):
            OUT_OF_REACH.write_text(str(error))
        for program in (SERVER, CLIENT):  # of another version, or one that does not run
            program.unlink(missing_ok=True)
        say(str(error))
        return CANNOT_RUN
    say(f"InfluxDB {INFLUXD.version} is built ({time.monotonic() - started:.0f} s)")
    return 0


def what_is_missing() -> list[str]:
    """What is not to be had here: compilers that do not work, sources that are out of reach."""

    def works(command: tuple[str, ...]) -> bool:
        try:
            return subprocess.run(command, capture_output=True, check=False).returncode == 0
        except OSError:
            return False

    lacking = [name for command, name in NEEDED.items() if not works(command)]
    return [*lacking, "its sources"] if OUT_OF_REACH.exists() else lacking


def is_current() -> bool:
    """Whether these versions were built before."""
    there = all(file.exists() for file in (SERVER, CLIENT, STAMP))
    return there and STAMP.read_text() == _wanted()


def _wanted() -> str:
    return f"{INFLUXD.sum} {INFLUX.sum}"


def build() -> None:
    """Fetch, build Flux as a library, the server with it, and its client; raises BuildError."""
    HOME.mkdir(parents=True, exist_ok=True)
    server, client = fetched(INFLUXD), fetched(INFLUX)
    fetch(["go", "mod", "download", FLUX], server)
    flux = Path(json.loads(run(["go", "list", "-m", "-json", FLUX], server))["Dir"]) / "libflux"
    library = flux_library(flux / "Cargo.toml")
    with_flux = {
        "CGO_CFLAGS": f"-O2 -I{flux / 'include'}",
        "CGO_LDFLAGS": f"-L{library} -l:libflux.a -ldl -lm -lpthread",
        "PKG_CONFIG": "true",  # it would be asked for just these
    }
    stamped = f"-s -w -X main.version={INFLUXD.version}"
    go_build(server, "./cmd/influxd", SERVER, "-ldflags", stamped, **with_flux)
    go_build(client, "./cmd/influx", CLIENT)
    shutil.rmtree(library.parent)
    for program in (SERVER, CLIENT):  # with nothing around them that they were built from
        run([str(program), "version"], HOME)
    STAMP.write_text(_wanted())


def fetched(source: Source) -> Path:
    """The folder with a module's files; raises BuildError where they are not those expected."""
    asked = ["go", "mod", "download", "-json", f"{source.name}@{source.version}"]
    found: dict[str, Any] = json.loads(fetch(asked, HOME))
    if found["Sum"] != source.sum:
        raise BuildError(f"{source.name} {source.version} is not the source expected")
    return Path(found["Dir"])


def go_build(folder: Path, package: str, program: Path, *more: str, **environment: str) -> None:
    """Fetch what one program of a module needs, and build it; raises BuildError."""
    fetch(["go", "list", "-deps", "-tags", TAGS, package], folder)
    words = ["go", "build", "-buildvcs=false", "-tags", TAGS, *more, "-o", str(program), package]
    run(words, folder, **environment)


def flux_library(manifest: Path) -> Path:
    """The folder with ``libflux.a``, built by whichever Rust is the usual one here.

    Flux names an older Rust; to a newer one some of its lines are worth a warning, no more.
    """
    target, rust = HOME / "target", usual_rust()
    source = ["--quiet", "--locked", "--manifest-path", str(manifest)]
    fetch(["cargo", "fetch", *source], HOME, **rust)
    run(
        ["cargo", "build", *source, "--release", "--package", "flux"],
        HOME, CARGO_TARGET_DIR=str(target), RUSTFLAGS="--cap-lints warn",
        CARGO_PROFILE_RELEASE_LTO="off", **rust,  # sooner built, and fast enough here
    )  # fmt: skip
    return target / "release"


def usual_rust() -> dict[str, str]:
    """What keeps rustup from fetching the Rust that a source folder names."""
    if shutil.which("rustup") is None:
        return {}
    usual = run(["rustup", "show", "active-toolchain"], HOME).split()
    return {"RUSTUP_TOOLCHAIN": usual[0]} if usual else {}


def fetch(command: list[str], folder: Path, **environment: str) -> str:
    """A step over the network, tried again, what has arrived stays; raises OutOfReachError."""
    why = ""
    for _ in range(FETCH_TRIES):
        try:
            return run(command, folder, **environment)
        except BuildError as error:
            why = str(error)
            say(why.splitlines()[0])
    raise OutOfReachError(why)


def run(command: list[str], folder: Path, **environment: str) -> str:
    """Run a step, give its output; raises BuildError with the end of what it said."""
    try:
        done = subprocess.run(
            command, cwd=folder, env=os.environ | environment, check=False, capture_output=True,
            text=True, timeout=STEP_TIMEOUT_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise BuildError(f"no end after {STEP_TIMEOUT_S} s: {' '.join(command)}") from None
    if done.returncode != 0:
        raise BuildError(f"failed: {' '.join(command)}\n{done.stderr[-2000:]}")
    return done.stdout


def say(text: str) -> None:
    """One line of progress."""
    print(f"build_influxdb2: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
