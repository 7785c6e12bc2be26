"""A small FHIR R4 EHR for demonstration and tests only: never a medical record system, and no part of the service.

Only the command line's demonstration and the tests import this package, and it imports nothing else of afterdose.
"""

from afterdose.sandbox.behaviour import Behaviour
from afterdose.sandbox.server import SandboxEHR

__all__ = ["Behaviour", "SandboxEHR"]
