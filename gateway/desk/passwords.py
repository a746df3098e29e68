"""Passwords: argon2id on a thread of its own, so that guessing costs and the event loop waits not.

A site that has to use other algorithms changes this module alone.
"""

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from gateway.errors import NotAllowedError
from gateway.eventlog.worker import Worker

MEMORY_KIB = 19_456  # 19 MiB, two passes, one lane: OWASP's floor; about 40 ms
PASSES = 2
LANES = 1
MIN_LENGTH, MAX_LENGTH = 10, 256  # characters
BACKLOG = 8  # more than so many waiting sign-ins are refused


class Passwords:
    """Hashes and verifies; every answer costs one hash, whether the account is there or not."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES)
        self._worker = Worker("argon2", BACKLOG)
        self._decoy = ""  # the hash that is checked where there is none

    async def start(self) -> None:
        """Begin the thread."""
        self._worker.start()
        self._decoy = await self._worker.run(lambda: self._hasher.hash("no account has this"))

    async def stop(self) -> None:
        """End the thread."""
        await self._worker.stop()

    async def hash(self, password: str) -> str:
        """The hash to keep; raises NotAllowedError for a password that is too short or long."""
        if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
            raise NotAllowedError(
                f"a password has {MIN_LENGTH} to {MAX_LENGTH} characters "
                f"(密码须为 {MIN_LENGTH} 至 {MAX_LENGTH} 个字符)"
            )
        return await self._worker.run(lambda: self._hasher.hash(password))

    async def fits(self, password_hash: str, password: str) -> bool:
        """True where ``password`` belongs to the hash; an empty hash fits nothing, as slowly."""
        checked = password_hash or self._decoy
        fits = await self._worker.run(lambda: self._verify(checked, password[:MAX_LENGTH]))
        return fits and bool(password_hash) and len(password) <= MAX_LENGTH

    def _verify(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerifyMismatchError, VerificationError, InvalidHashError):
            return False
