"""A door for the command line: a Unix socket in the data directory, for the gateway's own user.

One question a connection, as a line of JSON; the answer is lines of JSON. ``{"verb": …, "request":
{…}}`` is answered by ``{"command": …}`` at once and at every change until the command has ended,
``{"list": true}`` by ``{"commands": [...]}``, what cannot be done by ``{"error": …}``.
"""

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import msgspec
import structlog

from gateway.errors import GatewayError, NotAllowedError
from gateway.model.events import CommandVerb, struct_from_json, to_json
from gateway.model.identity import EventId
from gateway.model.requests import Request, Verb
from gateway.model.views import CommandView

log = structlog.get_logger("gateway.control")

NAME = "control.sock"
MOST_CLIENTS = 16
MOST_LINE = 8192  # bytes of a question
QUESTION_S = 10.0
LONGEST_ADDRESS = 100  # bytes of a path that fit into a socket's address
VERBS: dict[CommandVerb, Verb] = {
    "locate": "locate",
    "track": "track",
    "text": "text",
    "check": "check",
    "emergency_stop": "emergency/stop",
}


class Answers(Protocol):
    """Who carries requests out; see ``Requests``."""

    async def answer(self, verb: Verb, request: Request, by: str) -> dict[str, object]:
        """Do it and return the data of the response; raises NotAllowedError for the caller."""
        ...


class Commands(Protocol):
    """Where commands are; see ``Downlink``."""

    def views(self) -> Sequence[CommandView]:
        """Every open one and the last that have ended, oldest first."""
        ...

    def follow(self, command_id: EventId) -> AsyncIterator[CommandView]:
        """One of them now and at every change, until it has ended."""
        ...


class Question(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the command line asks."""

    verb: CommandVerb | None = None
    request: Request = Request()
    list: bool = False


class Reply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the answer; one of the fields is set."""

    command: CommandView | None = None
    commands: list[CommandView] | None = None
    error: str | None = None


class Control:
    """The gateway's side."""

    def __init__(self, folder: Path, answers: Answers, commands: Commands) -> None:
        self._folder = folder
        self._answers = answers
        self._commands = commands
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Answer until cancelled; who still waits for an outcome then is hung up on."""
        server = await asyncio.start_unix_server(self._serve, sock=self._bind(), limit=MOST_LINE)
        try:
            await asyncio.Event().wait()
        finally:
            server.close()
            for task in tuple(self._tasks):
                task.cancel()
            (self._folder / NAME).unlink(missing_ok=True)

    def _bind(self) -> socket.socket:
        """The data directory has one gateway (its outbox is locked), so an old socket is a rest."""
        file = self._folder / NAME
        file.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX)
        try:
            with _address(self._folder) as address:
                listening.bind(address)
            file.chmod(0o600)
        except OSError:
            listening.close()
            raise
        return listening

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - the server runs each client in a task
        self._tasks.add(task)
        try:
            if len(self._tasks) <= MOST_CLIENTS and _is_own_user(writer):
                await self._hear_out(reader, writer)
        except OSError:
            pass  # the one who asked has gone; the command goes on
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _hear_out(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(QUESTION_S):
                question = struct_from_json(await reader.readline(), Question)
        except (TimeoutError, ValueError) as error:  # msgspec's errors are ValueErrors too
            await _say(writer, Reply(error=f"not a question: {error}"[:300]))
            return
        async with asyncio.TaskGroup() as group:
            answering = group.create_task(self._answer(question, writer), name="control answer")
            leaving = group.create_task(reader.read(1), name="control leaving")
            await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
            answering.cancel()
            leaving.cancel()

    async def _answer(self, question: Question, writer: asyncio.StreamWriter) -> None:
        try:
            if question.verb is None:
                await _say(writer, Reply(commands=list(self._commands.views())))
                return
            by = f"{question.request.by or 'somebody'} via command line"
            data = await self._answers.answer(VERBS[question.verb], question.request, by)
            async for view in self._commands.follow(EventId(str(data["command_id"]))):
                await _say(writer, Reply(command=view))
        except NotAllowedError as error:
            await _say(writer, Reply(error=str(error)))
        except GatewayError as error:
            await _say(writer, Reply(error=f"could not be stored: {error}"))
        except OSError:
            pass  # the one who asked has gone; the command goes on


async def _say(writer: asyncio.StreamWriter, reply: Reply) -> None:
    writer.write(to_json(reply) + b"\n")
    await writer.drain()


def _is_own_user(writer: asyncio.StreamWriter) -> bool:
    """The mode of the file keeps others out; this holds where a file system knows no modes."""
    peer: socket.socket = writer.get_extra_info("socket")
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, user, _ = struct.unpack("3i", credentials)
    if user != os.geteuid():
        log.warning("control_refused", user=user)
    return bool(user == os.geteuid())


@contextlib.contextmanager
def _address(folder: Path) -> Iterator[str]:
    """The socket's address; by the open folder where its path is too long for one."""
    path = str(folder / NAME)
    if len(path.encode()) <= LONGEST_ADDRESS:
        yield path
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{handle}/{NAME}"
    finally:
        os.close(handle)


def ask(folder: Path, question: Question, patience_s: float) -> Iterator[Reply]:
    """The command line's side: each line of the answer as it comes.

    Raises GatewayError where no gateway runs on this data directory, or it does not answer.
    """
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(patience_s)
        try:
            with _address(folder) as address:
                client.connect(address)
            client.sendall(to_json(question) + b"\n")
            with client.makefile("rb") as lines:
                is_answered = False
                for line in lines:
                    is_answered = True
                    yield struct_from_json(line, Reply)
        except TimeoutError:
            raise GatewayError(f"the gateway on {folder} does not answer") from None
        except OSError as error:
            raise GatewayError(
                f"no gateway runs on {folder} ({error.strerror}); start it with `pdt-gateway run`, "
                "and ask as the user it runs as"
            ) from None
    if not is_answered:
        raise GatewayError(f"the gateway on {folder} closed the door: ask as the user it runs as")
