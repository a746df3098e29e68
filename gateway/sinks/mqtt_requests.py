"""Answers what other programs ask over the broker: one response for each request.

Asking is noted at once and answered by a task of its own, so that neither the connection nor
another request waits. Who is let into the broker with the right to write ``request/…`` may ask;
the broker tells us no name, so ``by`` is what the asking program says, and is recorded as such.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Protocol, get_args

import msgspec
import structlog

from gateway.errors import GatewayError, NotAllowedError, SinkError
from gateway.model.events import to_json
from gateway.model.requests import Request, Response, Verb
from gateway.sinks.mqtt_client import Inbox, Incoming, Message
from gateway.sinks.topics import Topics

log = structlog.get_logger("gateway.sinks.mqtt")

MOST_BYTES = 8192  # of a request's payload
MOST_WORKING = 32  # requests to radios at a time; beyond that the answer is "busy"
MOST_SERVED = 100  # requests served at a time, so that there is always room for emergencies
MOST_WAITING = 1_000  # requests noted and not begun; beyond that they are counted, not answered
MOST_TRANSACTION = 128  # characters
MOST_NAME = 64
MOST_SENTENCE = 300  # characters of an error, which may quote the request
TIMEOUT_S = 60.0
VERBS: tuple[Verb, ...] = get_args(Verb)
EMERGENCY = "emergency/"

Publish = Callable[[Message, bool], Awaitable[None]]  # message, whether it is urgent


class Answers(Protocol):
    """Who carries requests out."""

    async def answer(self, verb: Verb, request: Request, by: str) -> dict[str, object]:
        """Do it and return the response's ``data``; raises NotAllowedError for the caller."""
        ...

    def refuse(self, verb: Verb, request: Request, by: str, why: str) -> None:
        """It may not be asked here: put that on record where it is a command."""
        ...


class _RefusedError(Exception):
    """A request that is not carried out: the word it is counted by, the sentence for the caller."""

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


class MqttRequests:
    """The inbox of one sink; ``count`` is called once for each request, with its outcome."""

    def __init__(
        self,
        topics: Topics,
        allowed: Collection[Verb],
        *,
        answers: Answers | None,
        rebirth: Callable[[], dict[str, object]],
        publish: Publish,
        count: Callable[[str], None],
    ) -> None:
        self._topics = topics
        self._allowed = frozenset(allowed)
        self._answers = answers
        self._rebirth = rebirth
        self._publish = publish
        self._count = count
        self._waiting: asyncio.Queue[Incoming] = asyncio.Queue(MOST_WAITING)
        self._room = asyncio.Semaphore(MOST_SERVED)
        self._working = 0

    @property
    def inbox(self) -> Inbox:
        """What the client subscribes to: nothing while no verb is switched on."""
        return Inbox(self._topics.requests, self._take if self._allowed else None, _tell_deaf)

    async def run(self) -> None:
        """Answer until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                incoming = await self._waiting.get()
                await self._room.acquire()
                group.create_task(self._serve(incoming), name=f"request {incoming.topic[-40:]}")

    def _take(self, incoming: Incoming) -> None:
        """Note one request; of one that is too large only as much as shows that."""
        kept = incoming._replace(payload=incoming.payload[: MOST_BYTES + 1])
        try:
            self._waiting.put_nowait(kept)
        except asyncio.QueueFull:
            self._count("not_taken")

    async def _serve(self, incoming: Incoming) -> None:
        try:
            transaction, reply_to = _transaction(incoming.payload), self._reply_to(incoming)
            try:
                data = await self._carry_out(incoming)
            except _RefusedError as refused:
                self._count(refused.reason)
                sentence = str(refused)[:MOST_SENTENCE]
                response = Response(status="error", error=sentence, transaction=transaction)
            else:
                self._count("done")
                response = Response(status="ok", data=data, transaction=transaction)
            is_urgent = (self._topics.verb(incoming.topic) or "").startswith(EMERGENCY)
            message = Message(reply_to, to_json(response), correlation=incoming.correlation)
            await self._publish(message, is_urgent)
        except SinkError:
            self._count("answer_lost")  # the broker went, or does not let us write there
        finally:
            self._room.release()

    def _reply_to(self, incoming: Incoming) -> str:
        """Where the answer goes; refusals too, so what is unfit here falls back."""
        if incoming.response_topic is not None:
            try:
                return self._topics.response_chosen(incoming.response_topic)
            except ValueError:
                pass  # said in the answer, see _checked
        return self._topics.response(self._topics.verb(incoming.topic) or "error")

    async def _carry_out(self, incoming: Incoming) -> dict[str, object]:
        verb, request = self._checked(incoming)
        by = f"{request.by} via mqtt" if request.by else "mqtt"
        if verb not in self._allowed:
            why = f"{verb!r} is not in mqtt.requests (未启用)"
            if self._answers is not None:
                self._answers.refuse(verb, request, by, why)
            raise _RefusedError("switched_off", why)
        if verb == "rebirth":
            return self._rebirth()
        if self._working >= MOST_WORKING and not verb.startswith(EMERGENCY):
            raise _RefusedError("busy", "too many requests at once: ask again (繁忙，请重试)")
        self._working += 1
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await self._answer(verb, request, by)
        except NotAllowedError as error:
            raise _RefusedError("not_allowed", str(error)) from None
        except TimeoutError:
            raise _RefusedError("timeout", f"not done within {TIMEOUT_S:g} s (超时)") from None
        except GatewayError as error:
            raise _RefusedError("failed", str(error)) from None
        except Exception:
            log.exception("request_failed", verb=verb)
            raise _RefusedError("failed", "the gateway failed; see its log (内部错误)") from None
        finally:
            self._working -= 1

    async def _answer(self, verb: Verb, request: Request, by: str) -> dict[str, object]:
        if self._answers is None:
            raise NotAllowedError(f"this gateway cannot do {verb!r} (不支持)")
        return await self._answers.answer(verb, request, by)

    def _checked(self, incoming: Incoming) -> tuple[Verb, Request]:
        """The verb and the request, or why it is none."""
        if incoming.is_retained:
            raise _RefusedError("retained", "a request must not be retained: clear the topic")
        if incoming.is_repeated:
            raise _RefusedError(
                "repeated", "this came twice and may be done already: look, then ask again"
            )
        if incoming.response_topic is not None:
            try:
                self._topics.response_chosen(incoming.response_topic)
            except ValueError as error:
                raise _RefusedError("response_topic", str(error)) from None
        verb = next((each for each in VERBS if each == self._topics.verb(incoming.topic)), None)
        if verb is None:
            raise _RefusedError("unknown", f"there is no such verb; one of {', '.join(VERBS)}")
        return verb, _decoded(incoming.payload)


def _decoded(payload: bytes) -> Request:
    if len(payload) > MOST_BYTES:
        raise _RefusedError("too_large", f"a request has at most {MOST_BYTES} bytes")
    try:
        request = msgspec.json.decode(payload, type=Request)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _RefusedError("malformed", f"not a request: {error}") from None
    if len(str(request.transaction or "")) > MOST_TRANSACTION:
        raise _RefusedError("malformed", f"transaction: at most {MOST_TRANSACTION} characters")
    by = request.by
    if by is not None and not (by.strip() and by.isprintable() and len(by) <= MOST_NAME):
        raise _RefusedError("malformed", f"by: a person's name of 1 to {MOST_NAME} characters")
    return request


def _transaction(payload: bytes) -> str | int | None:
    """The transaction even of a request that is refused, where it can be made out."""
    if len(payload) > MOST_BYTES:
        return None
    try:
        content: Any = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    found = content.get("transaction") if isinstance(content, dict) else None
    is_fit = isinstance(found, str | int) and len(str(found)) <= MOST_TRANSACTION
    return found if is_fit else None


def _tell_deaf(why: str) -> None:
    log.warning("mqtt_requests_refused", why=why, hint="the ACL must let us read request/#")
