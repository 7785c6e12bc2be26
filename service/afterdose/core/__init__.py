"""The clinical core: what care a patient should have, given what is known.

Everything here is pure: values in, values out. No clock, no file, no network,
no environment, no randomness; callers pass ``now``. Only the standard library
is imported. Clinical numbers come in as a :class:`~afterdose.core.protocol.Rules`,
codes as :class:`~afterdose.core.codes.Codes`, opening hours as a
:class:`~afterdose.core.clinic.Clinic`.
"""
