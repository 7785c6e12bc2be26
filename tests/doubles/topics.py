"""A FHIR server with topic-based Subscriptions (back-port to R4): it numbers events, and answers $status and $events.

Everything but Subscription is kept in a sandbox EHR (`staff`), which answers for it.
"""

from __future__ import annotations

from typing import Any

import requests
from flask import Flask, Response, jsonify, request

from afterdose.sandbox import SandboxEHR
from doubles.serving import Double

Resource = dict[str, Any]
FHIR_JSON = "application/fhir+json"


class TopicEhr(Double):
    """A server on a real socket. ``offers``: the operations that it knows; ``first_kept``: events before are purged.

    ``activates``: False for one that keeps the status as it was written, as Medplum does (seen with 5.1.6).
    """

    def __init__(self) -> None:
        self.subscriptions: dict[str, Resource] = {}
        self.events: dict[str, list[str]] = {}
        self.offers = {"$status", "$events"}
        self.first_kept = 1
        self.activates = True
        self.asked: list[str] = []
        super().__init__(self._app(), SandboxEHR())

    def happens(self, focus: str, subscription: str = "s1", *, named: bool = True) -> Resource:
        """Something happens to ``focus``; the notification of it, which is sent to nobody."""
        events = self.events.setdefault(subscription, [])
        events.append(focus)
        return self._bundle(subscription, "event-notification", [len(events)], named=named)

    def says(self, type_: str, subscription: str = "s1") -> Resource:
        """A handshake or a heartbeat."""
        return self._bundle(subscription, type_, [])

    def _kept(self, given: Resource) -> Resource:
        return {**given, "status": "active"} if self.activates else given

    def _bundle(self, subscription: str, type_: str, numbers: list[int], *, named: bool = True) -> Resource:
        events = self.events.get(subscription, [])
        told = [
            {
                "name": "notification-event",
                "part": [
                    {"name": "event-number", "valueString": str(number)},
                    *([{"name": "focus", "valueReference": {"reference": events[number - 1]}}] if named else []),
                ],
            }
            for number in numbers
        ]
        status = self.subscriptions.get(subscription, {}).get("status", "active")
        head = [
            {"name": "subscription", "valueReference": {"reference": f"Subscription/{subscription}"}},
            {"name": "status", "valueCode": status},
            {"name": "type", "valueCode": type_},
            {"name": "events-since-subscription-start", "valueString": str(len(events))},
        ]
        resource = {"resourceType": "Parameters", "parameter": [*head, *told]}
        kind = "searchset" if type_ == "query-status" else "history"
        return {"resourceType": "Bundle", "type": kind, "entry": [{"resource": resource}]}

    def _app(self) -> Flask:
        app = Flask("topics")

        @app.get("/fhir/Subscription/<id_>/<operation>")
        def operation(id_: str, operation: str) -> Response | tuple[Response, int]:
            self.asked.append(operation)
            if operation not in self.offers or id_ not in self.subscriptions:
                return _outcome(404)
            if operation == "$status":
                return _json(self._bundle(id_, "query-status", []))
            first = max(int(request.args["eventsSinceNumber"]), self.first_kept)
            last = min(int(request.args["eventsUntilNumber"]), len(self.events.get(id_, [])))
            return _json(self._bundle(id_, "query-event", list(range(first, last + 1))))

        @app.get("/fhir/Subscription")
        def search() -> Response:
            entries = [{"resource": one} for one in self.subscriptions.values()]
            return _json({"resourceType": "Bundle", "type": "searchset", "entry": entries})

        @app.post("/fhir/Subscription")
        def create() -> tuple[Response, int]:
            id_ = f"s{len(self.subscriptions) + 1}"
            self.subscriptions[id_] = {**self._kept(request.get_json(force=True)), "id": id_}
            return _json(self.subscriptions[id_]), 201

        @app.route("/fhir/Subscription/<id_>", methods=["GET", "PUT", "DELETE"])
        def one(id_: str) -> Response | tuple[Response, int]:
            if id_ not in self.subscriptions:
                return _outcome(404)
            if request.method == "DELETE":
                del self.subscriptions[id_]
                return Response(status=204), 204
            if request.method == "PUT":
                self.subscriptions[id_] = self._kept(request.get_json(force=True))
            return _json(self.subscriptions[id_])

        @app.route("/fhir/<path:rest>", methods=["GET", "POST", "PUT", "DELETE"])
        def other(rest: str) -> Response:
            passed = ("Accept", "Content-Type", "Prefer", "If-Match")
            answer = requests.request(
                request.method,
                f"{self.staff.base_url}/{rest}",
                params=request.args.to_dict(flat=False),
                data=request.get_data(),
                headers={name: request.headers[name] for name in passed if name in request.headers},
                timeout=10,
            )
            return Response(answer.content, answer.status_code, content_type=answer.headers.get("Content-Type"))

        return app


def _json(resource: Resource) -> Response:
    answer = jsonify(resource)
    answer.content_type = FHIR_JSON
    return answer


def _outcome(status: int) -> tuple[Response, int]:
    return _json({"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "not-found"}]}), status
