"""How the desk says no: one form for every error."""

from http import HTTPStatus

from litestar.exceptions import HTTPException

from gateway.errors import GatewayError


class RefusedError(GatewayError):
    """An answer with an error status; ``error`` is for the page, ``detail`` for people."""

    def __init__(self, status: int, error: str, detail: str, *, retry_after_s: int = 0) -> None:
        super().__init__(detail)
        self.status = status
        self.error = error
        self.detail = detail
        self.retry_after_s = retry_after_s


def not_signed_in() -> RefusedError:
    """No session, or one that has ended."""
    return RefusedError(401, "not_signed_in", "sign in first (请先登录)")


def wrong_credentials() -> RefusedError:
    """The same words for whatever was wrong."""
    return RefusedError(401, "wrong_credentials", "name or password is wrong (姓名或密码不正确)")


def wrong_link() -> RefusedError:
    """The same words for wrong, used and too old."""
    return RefusedError(
        401, "wrong_credentials", "this link does not work any more (链接无效或已使用)"
    )


def forbidden() -> RefusedError:
    """No role that may do this."""
    return RefusedError(403, "forbidden", "your account may not do this (没有权限)")


def only_test_radios() -> RefusedError:
    """A technician, and somebody's radio."""
    return RefusedError(
        403, "only_test_radios", "technicians may ask test radios alone (技术员仅可用于测试电台)"
    )


def not_found() -> RefusedError:
    """There is no such thing."""
    return RefusedError(404, "not_found", "there is no such thing (没有找到)")


def invalid(detail: str) -> RefusedError:
    """Something in the request does not fit."""
    return RefusedError(400, "invalid", detail)


_BY_STATUS = {
    400: "invalid",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "invalid",
}


def from_http(error: HTTPException) -> RefusedError:
    """What the framework refuses, in our form."""
    is_ours = error.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR
    kind = _BY_STATUS.get(error.status_code, "internal" if is_ours else "invalid")
    detail = error.detail or kind
    if isinstance(error.extra, list) and error.extra:
        detail = "; ".join(
            f"{each.get('key', '')}: {each.get('message', '')}".removeprefix(": ")
            for each in error.extra
            if isinstance(each, dict)
        )
    return RefusedError(error.status_code, kind, detail[:500])
