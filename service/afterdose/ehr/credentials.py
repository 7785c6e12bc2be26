"""What proves to a token endpoint who we are: a signed assertion, or a secret that both sides know."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import uuid4

from afterdose.ehr import smart
from afterdose.ehr.keys import ALGORITHMS, SigningKey

# Where the EHR names none: RS384 first, because more EHRs take it.
_PREFERRED = ("RS384", "ES384")

Proof = tuple[Mapping[str, str], Mapping[str, str]]
"""What is added to the form of a token request, and to its headers."""


class Credentials(Protocol):
    """What proves to a token endpoint who we are."""

    @property
    def is_bound_to_its_audience(self) -> bool:
        """Whether what is sent is worthless anywhere but at the endpoint that it is sent to."""

    def proof(self, token_url: str, algorithms: Sequence[str], now: datetime) -> Proof:
        """For one token request; ``algorithms`` are those that the EHR says it takes, if it says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedAssertion:
    """private_key_jwt: an assertion that lives for minutes, names one endpoint and is used once.

    ``key`` gives the key that signs now with one of the algorithms; ``audience`` stands in for the token URL.
    """

    client_id: str
    key: Callable[[datetime, Sequence[str]], SigningKey]
    algorithm: str | None = None
    audience: str | None = None

    @property
    def is_bound_to_its_audience(self) -> bool:
        """Where it names the endpoint, and not something that other endpoints may take for themselves."""
        return self.audience is None

    def proof(self, token_url: str, algorithms: Sequence[str], now: datetime) -> Proof:
        """An assertion with a fresh jti; it goes into the form."""
        wanted = [self.algorithm] if self.algorithm else [one for one in algorithms if one in ALGORITHMS] or _PREFERRED
        claims = smart.assertion_claims(self.client_id, self.audience or token_url, jti=str(uuid4()), now=now)
        return smart.assertion_form(self.key(now, wanted).sign(claims)), {}


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedSecret:
    """client_secret_basic, or with ``in_form`` client_secret_post."""

    client_id: str
    secret: str = field(repr=False)
    in_form: bool

    @property
    def is_bound_to_its_audience(self) -> bool:
        """Whoever gets a secret can use it everywhere."""
        return False

    def proof(self, token_url: str, algorithms: Sequence[str], now: datetime) -> Proof:  # noqa: ARG002
        """The secret, in the form or in a header."""
        if self.in_form:
            return smart.secret_form(self.client_id, self.secret), {}
        return {}, smart.secret_header(self.client_id, self.secret)
