"""The settings of a site: read once, checked as a whole, handed on as values."""

from afterdose.settings.bearer import BearerSettings
from afterdose.settings.example import example_toml
from afterdose.settings.fields import is_loopback
from afterdose.settings.load import load_settings
from afterdose.settings.mllp import MllpSettings
from afterdose.settings.model import (
    Authentication,
    ClientSecret,
    LogSettings,
    NoAuthentication,
    SenderSecret,
    Settings,
    Smart,
    SourceSettings,
    StaticHeader,
    TargetSettings,
    WebSettings,
    WorkSettings,
)
from afterdose.settings.polling import CohortSettings, PollSettings
from afterdose.settings.signatures import SigningKey
from afterdose.settings.subscribing import SubscribeSettings

__all__ = [
    "Authentication",
    "BearerSettings",
    "ClientSecret",
    "CohortSettings",
    "LogSettings",
    "MllpSettings",
    "NoAuthentication",
    "PollSettings",
    "SenderSecret",
    "Settings",
    "SigningKey",
    "Smart",
    "SourceSettings",
    "StaticHeader",
    "SubscribeSettings",
    "TargetSettings",
    "WebSettings",
    "WorkSettings",
    "example_toml",
    "is_loopback",
    "load_settings",
]
