"""What this part needs to know of a target: the settings fit these shapes, and so does whatever a test makes up."""

from datetime import timedelta
from pathlib import Path
from typing import Protocol


class Destination(Protocol):
    """Where requests go and how long they may take: the part of a target's settings that matters here."""

    @property
    def base_url(self) -> str:
        """The FHIR base; scheme, host, port and path prefix of everything that is sent."""

    @property
    def timeout_connect(self) -> timedelta:
        """For TCP and TLS to stand."""

    @property
    def timeout_read(self) -> timedelta:
        """For the request to be taken in; then the longest silence of the EHR."""

    @property
    def deadline(self) -> timedelta:
        """For the whole call, to the last byte of the answer."""

    @property
    def max_answer_bytes(self) -> int:
        """The largest answer that is read, decompressed."""

    @property
    def ca_bundle(self) -> Path | None:
        """Certificates to trust instead of the public ones."""

    @property
    def proxy(self) -> str | None:
        """The URL of the only proxy that is used."""

    @property
    def plain_http(self) -> bool:
        """Whether ``http://`` is allowed beyond this machine."""
