"""Trouble that may pass: which errors are worth another try, and trying again with a bounded back-off.

    data = patiently(lambda: fs.cat_file(path), "s3://bucket/a.json")

Object stores throttle (503), fail (500), hang up and stop answering; the libraries below repeat a request a few times
within seconds. What is still in trouble then is tried again here, for as long as TAMIS_PATIENCE says.
"""

from __future__ import annotations

import errno
import os
import random
import time
from collections.abc import Callable
from typing import TypeVar

from pipeline.errors import StoreDown, UserError
from pipeline.redact import message

SECONDS = 60.0
"""How long trouble is waited out unless TAMIS_PATIENCE says otherwise."""
FIRST, LONGEST = 0.5, 15.0
"""Seconds of the first pause and of the longest; each is twice the one before, give or take a half."""

TRANSIENT_ERRNO = {
    errno.EAGAIN,
    errno.EBUSY,
    errno.EINTR,
    errno.EIO,
    errno.ESTALE,
    errno.ETIMEDOUT,
    errno.ECONNABORTED,
    errno.ECONNRESET,
    errno.ECONNREFUSED,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.EHOSTUNREACH,
    errno.EPIPE,
    errno.EREMOTEIO,  # s3fs: 500 InternalError
}
OF_THE_NETWORK = {
    ("botocore", "HTTPClientError"),
    ("botocore", "ConnectionError"),
    ("botocore", "IncompleteReadError"),
    ("botocore", "FlexibleChecksumError"),
    ("botocore", "ResponseParserError"),
    ("aiohttp", "ClientError"),
}
"""Package and name of exceptions that are no OSErrors though they tell of one; subclasses are meant too."""

OF_ACCESS = {
    ("botocore", "NoCredentialsError"),
    ("botocore", "PartialCredentialsError"),
    ("botocore", "CredentialRetrievalError"),
    ("botocore", "ProfileNotFound"),
}
"""The same of exceptions that say that nothing says who asks."""

T = TypeVar("T")


def is_transient(error: BaseException) -> bool:
    """Whether the same work may succeed a moment later: network and server trouble, never bad data."""
    if isinstance(error, StoreDown):
        return False  # patience has come to its end already
    if isinstance(error, (ConnectionError, TimeoutError)):
        return True
    if of_the_network(error):  # an answer of HTTP has a status: that something is not there or not allowed stays so
        status = getattr(error, "status", None)
        return not isinstance(status, int) or status >= 500 or status in (408, 425, 429)
    if isinstance(error, OSError):
        # Object stores report throttling and 5xx as an OSError with EIO or without a number.
        named = isinstance(error, (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError))
        return not named and (error.errno is None or error.errno in TRANSIENT_ERRNO)
    return False


def of_the_network(error: BaseException) -> bool:
    """Whether a library of an object store raised it for want of an answer."""
    return _is_one_of(error, OF_THE_NETWORK)


def _is_one_of(error: BaseException, names: set[tuple[str, str]]) -> bool:
    return any((kind.__module__.partition(".")[0], kind.__name__) in names for kind in type(error).__mro__)


def patience() -> float:
    """Seconds, from TAMIS_PATIENCE. Raises UserError if that is no number."""
    given = os.environ.get("TAMIS_PATIENCE") or str(SECONDS)
    try:
        return max(float(given), 0.0)
    except ValueError:
        raise UserError(f"TAMIS_PATIENCE={given}: expected seconds") from None


def patiently(call: Callable[[], T], what: str, worth: Callable[[BaseException], bool] = is_transient) -> T:
    """What `call` returns, called again after trouble that is worth it. Raises StoreDown, naming `what`, in the end.

    Raises UserError for want of credentials.
    """
    limit, pause = patience(), FIRST
    begun = time.monotonic()
    while True:
        try:
            return call()
        except Exception as error:
            left = limit - (time.monotonic() - begun)
            if _is_one_of(error, OF_ACCESS):
                raise UserError(
                    f"{what}: {_line(error)}; expected what s3fs looks for: AWS_ACCESS_KEY_ID and "
                    "AWS_SECRET_ACCESS_KEY, a profile in ~/.aws, or the role of the machine"
                ) from None
            if not worth(error):
                raise
            if left <= 0:
                raise StoreDown(
                    f"{what}: no success for {time.monotonic() - begun:.0f} s ({_line(error)}); run the same command "
                    "again when the store answers, or raise TAMIS_PATIENCE (seconds)"
                ) from error
        time.sleep(min(pause * random.uniform(0.5, 1.5), left))
        pause = min(2 * pause, LONGEST)


def _line(error: BaseException) -> str:
    return message(" ".join(str(error).split()))[:300] or type(error).__name__
