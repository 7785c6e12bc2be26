"""Logging: one line an event, and no way for patient data to get into it.

An event is a constant sentence with values under keys of a closed list; what comes under another key is dropped. Of an
exception only its class and the place in the program are kept, because messages of libraries repeat what they were
given. Of other libraries' log records only the template is kept, without the values that belong into it.
"""

import logging
import sys
import threading
import traceback
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from typing import Any, Literal, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor

ALLOWED = frozenset(
    {
        "action",
        "alarm",
        "at",
        "attempts",
        "bytes",
        "check",
        "code",
        "correlation_id",
        "count",
        "duplicates",
        "duration_ms",
        "element",
        "error",
        "event",
        "host",
        "interaction",
        "level",
        "logger",
        "method",
        "outcome",
        "port",
        "process",
        "processes",
        "reason",
        "resource_type",
        "route",
        "rung",
        "scopes",
        "seconds",
        "source",
        "status",
        "target",
        "threads",
        "timestamp",
        "version",
        "worker",
    }
)
"""Every key that a log line may have. None of them is for an id, a name, a reference or a text that was received."""

_LONGEST = 500
SERVER = "_granian"
"""The HTTP server's logger: whole sentences about processes, which no request gets into."""
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure(level: str, format_: Literal["json", "text"], stream: TextIO | None = None) -> None:
    """Send every log line of this process, those of libraries and of crashes too, to ``stream`` (standard error)."""
    out = cast(TextIO, _Unfailing(stream or sys.stderr))
    render: Processor = _text if format_ == "text" else structlog.processors.JSONRenderer()
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    safe: list[Processor] = [only_classes_of_exceptions, only_allowed_keys, only_safe_characters]
    structlog.configure(
        processors=[stamp, structlog.processors.add_log_level, *safe, render],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(_LibraryFormatter([stamp, *safe, render]))
    logging.basicConfig(level=max(_LEVELS[level], logging.WARNING), handlers=[handler], force=True)
    sys.excepthook = lambda _kind, error, _trace: _crashed(error)
    threading.excepthook = lambda args: _crashed(args.exc_value)


class _Unfailing:
    """A stream that loses what cannot be written, to a full disk or to a reader that has gone: for want of a log nobody
    stops working."""

    def __init__(self, stream: TextIO | None) -> None:
        """Without a stream (it was closed before we started) everything is lost."""
        self._stream = stream

    def write(self, text: str) -> None:
        """Write what can be written."""
        if self._stream is not None:
            with suppress(OSError, ValueError):
                self._stream.write(text)

    def flush(self) -> None:
        """Hand on what was written."""
        if self._stream is not None:
            with suppress(OSError, ValueError):
                self._stream.flush()


def _crashed(error: BaseException | None) -> None:
    """What the interpreter would print: several lines, with what a library was given among them."""
    get_logger().error("an error that was not expected", exc_info=error)


def get_logger() -> structlog.typing.FilteringBoundLogger:
    """A logger; give it constant sentences and allowed keys."""
    return cast(structlog.typing.FilteringBoundLogger, structlog.get_logger())


def only_allowed_keys(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Drop every key that is not on the list."""
    return {key: value for key, value in event.items() if key in ALLOWED}


def only_classes_of_exceptions(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Keep of ``exc_info`` its class and where it was raised; drop its message and the lines of code."""
    error = event.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    elif isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        event.update(place_of(error))
    return event


def place_of(error: BaseException) -> Mapping[str, object]:
    """The class of an exception, and the functions it came through, innermost last."""
    frames = traceback.extract_tb(error.__traceback__)[-5:]
    places = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames]
    return {"error": type(error).__name__, "at": places}


def only_safe_characters(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Escape what could end a line, move a terminal's cursor or turn the direction of writing; cut what is too long."""
    return {key: _safe(value) for key, value in event.items()}


def _safe(value: object) -> object:
    if isinstance(value, str):
        shown = value if value.isascii() and value.isprintable() else _escaped(value)
        return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}..."
    if isinstance(value, list | tuple):
        return [_safe(member) for member in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return _safe(str(value))


def _escaped(text: str) -> str:
    """``str.isprintable`` is false for control, format (bidi) and separator characters and for lone surrogates."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _text(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
    """A line for people: time, level, sentence, then the rest as key=value."""
    rest = " ".join(f"{key}={value}" for key, value in event.items() if key not in ("timestamp", "level", "event"))
    return f"{event.get('timestamp')} {event.get('level')!s:7} {event.get('event')} {rest}".rstrip()


class _LibraryFormatter(logging.Formatter):
    """Renders the records of other libraries like our own events, without the values in them."""

    def __init__(self, processors: list[Processor]) -> None:
        super().__init__()
        self._processors = processors

    def format(self, record: logging.LogRecord) -> str:
        line: Any = {"event": "a library's message", "logger": record.name, "level": record.levelname.lower()}
        if record.args or record.name.partition(".")[0] == SERVER:
            line["event"] = str(record.msg)
        if record.exc_info:
            line["exc_info"] = record.exc_info
        for process in self._processors:
            line = process(None, line["level"], line)
        return str(line)
