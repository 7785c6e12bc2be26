"""From the settings to a fingerprint of the rules by which each target's patients are decided about."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from afterdose.content import locate
from afterdose.settings import Settings, TargetSettings


def rules_in_force(settings: Settings) -> Mapping[str, str]:
    """Target -> a digest of every mapping and profile file and of the settings that move what is wanted there.

    Another digest means that what was decided about its patients may be decided otherwise now. Raises BadContent.
    """
    return {name: _of_target(target, settings) for name, target in settings.targets.items()}


def _of_target(target: TargetSettings, settings: Settings) -> str:
    sources = sorted((one for one in settings.sources.values() if one.target == target.name), key=lambda one: one.name)
    named = [target.clinic, target.ehr, *(one.clinic for one in sources if one.clinic is not None)]
    said = (
        locate.fingerprint(settings.site_overlay, *_by_path(named)),
        *named,
        target.accept,
        target.hide_drug,
        target.sender,
        sorted(target.rungs.items()),
        [(one.name, str(one.zone), one.clinic, sorted(one.code_maps)) for one in sources],
    )
    return hashlib.sha256(repr(said).encode()).hexdigest()


def _by_path(names: Iterable[str]) -> list[Path]:
    return [Path(name) for name in dict.fromkeys(names) if name.endswith(".toml") or "/" in name]
