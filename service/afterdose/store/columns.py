"""The column type of instants: text on SQLite, which has no such type, so that text order is time order."""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

_INSTANT_LENGTH = 27


def instant_text(moment: datetime) -> str:
    """An aware datetime as fixed-width UTC text, so that text order is time order."""
    if moment.tzinfo is None:
        raise ValueError("an instant needs an offset")
    return moment.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def instant_of(text: str) -> datetime:
    """The inverse of :func:`instant_text`."""
    return datetime.fromisoformat(text)


class Instant(TypeDecorator[datetime]):
    """An aware UTC datetime: timestamptz on PostgreSQL, fixed-width text on SQLite (which has no such type)."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Text on SQLite."""
        as_text = dialect.name == "sqlite"
        stored: TypeEngine[Any] = sa.String(_INSTANT_LENGTH) if as_text else sa.DateTime(timezone=True)
        return dialect.type_descriptor(stored)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> object:
        """Refuse naive datetimes; UTC out."""
        if value is None:
            return None
        return instant_text(value) if dialect.name == "sqlite" else _utc(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Aware UTC in."""
        if value is None:
            return None
        return instant_of(value) if dialect.name == "sqlite" else _utc(value)


def _utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("an instant needs an offset")
    return value.astimezone(UTC)
