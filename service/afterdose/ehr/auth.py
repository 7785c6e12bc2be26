"""How a request proves who sends it. The headers are attached by ``outbound``, and only after its guard has passed."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from afterdose.core.errors import BadSettings

# RFC 9110, section 5.6.2 (token).
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,8190}[\x21-\x7e])?")


class Authentication(Protocol):
    """Gives the headers that authenticate one request; asked anew for every request.

    ``within`` is how many seconds the request may still take. Both methods raise EhrUnavailable where there is no
    proof to be had now: then nothing has been sent.
    """

    def headers(self, within: float) -> Mapping[str, str]:
        """Names and values; they replace headers of the same name."""

    def renew(self, refused: Mapping[str, str], within: float) -> Mapping[str, str] | None:
        """Other headers, after the EHR answered 401 to ``refused``; None where there are no others."""


@dataclass(frozen=True, slots=True)
class StaticHeader:
    """One header with a fixed secret, such as ``Authorization: Basic ...`` or ``X-Api-Key: ...``."""

    header: str
    value: str = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse what is no header; the message does not hold the secret."""
        if not _HEADER_NAME.fullmatch(self.header) or not _HEADER_VALUE.fullmatch(self.value):
            raise BadSettings("auth: the header or its value holds characters that cannot be sent")

    def headers(self, within: float) -> Mapping[str, str]:  # noqa: ARG002
        """The one header."""
        return {self.header: self.value}

    def renew(self, refused: Mapping[str, str], within: float) -> Mapping[str, str] | None:  # noqa: ARG002
        """There is no other."""
        return None
