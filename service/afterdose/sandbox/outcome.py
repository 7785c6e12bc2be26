"""Every refusal is an OperationOutcome (R4 http.html#3.1.0.1.3 and operationoutcome.html)."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


class Refusal(Exception):
    """A request that the server will not carry out: the HTTP status, the issue type and a sentence for a person."""

    def __init__(self, status: int, code: str, diagnostics: str, **headers: str) -> None:
        super().__init__(diagnostics)
        self.status = status
        self.code = code
        self.diagnostics = diagnostics
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def outcome(self) -> Json:
        """This refusal as the resource that goes over the wire."""
        return operation_outcome(self.code, self.diagnostics)


def operation_outcome(code: str, diagnostics: str, severity: str = "error") -> Json:
    """An OperationOutcome with one issue."""
    return {
        "resourceType": "OperationOutcome",
        "issue": [{"severity": severity, "code": code, "diagnostics": diagnostics}],
    }
