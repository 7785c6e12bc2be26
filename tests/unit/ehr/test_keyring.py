"""Our keys and their rotation: published before they sign, gone only when nothing they signed is alive."""

import base64
import hashlib
import json
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from afterdose.core.errors import BadSettings
from afterdose.ehr.keyring import PUBLISHED_FOR, Keyring
from afterdose.ehr.keys import ALGORITHMS

NOW = datetime(2026, 1, 5, 15, 0, tzinfo=UTC)
SOON = timedelta(minutes=1)


@pytest.fixture
def ring(tmp_path: Path) -> Keyring:
    keyring = Keyring(tmp_path / "keys")
    keyring.generate(NOW)
    return keyring


def kids(ring: Keyring, now: datetime) -> set[str]:
    return {str(jwk["kid"]) for jwk in ring.published(now)}


def test_the_first_keys_sign_at_once_with_either_algorithm(ring: Keyring) -> None:
    assert ring.signing(NOW, ["ES384"]).algorithm == "ES384"
    assert ring.signing(NOW, ["RS384", "ES384"]).algorithm == "RS384"
    assert kids(ring, NOW) == {ring.signing(NOW, [one]).kid for one in ("ES384", "RS384")}


def test_nobody_else_can_read_the_folder_or_the_files(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    Keyring(folder).generate(NOW)

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


@pytest.mark.parametrize("algorithm", ["ES384", "RS384"])
def test_a_new_key_is_published_then_signs_and_the_old_one_leaves_later(ring: Keyring, algorithm: str) -> None:
    old = ring.signing(NOW, [algorithm]).kid
    rotated_at = NOW + timedelta(days=90)

    ring.rotate(rotated_at)

    signs_from, leaves_at = rotated_at + PUBLISHED_FOR, rotated_at + 2 * PUBLISHED_FOR
    assert ring.signing(signs_from - SOON, [algorithm]).kid == old
    new = ring.signing(signs_from, [algorithm]).kid
    assert new != old
    assert len(kids(ring, rotated_at)) == len(kids(ring, leaves_at - SOON)) == 4
    assert {old, new} <= kids(ring, leaves_at - SOON)
    assert new in kids(ring, leaves_at)
    assert old not in kids(ring, leaves_at)


def test_at_no_moment_signs_a_key_that_is_not_published_for_long_enough_before_and_after(ring: Keyring) -> None:
    since: dict[str, datetime] = {}
    last = (NOW, "")
    for minutes in range(0, 20 * 60, 5):
        moment = NOW + timedelta(minutes=minutes)
        if minutes % 300 == 0:
            ring.rotate(moment)
        published = kids(ring, moment)
        since = {kid: since.get(kid, moment) for kid in published}
        signing = ring.signing(moment, ["ES384"]).kid
        assert signing in published
        assert since[signing] == NOW or moment - since[signing] >= PUBLISHED_FOR
        assert last[1] in ("", *published), "what signed five minutes ago is still published"
        last = (moment, signing)


def test_the_next_rotation_deletes_the_private_keys_that_have_left(ring: Keyring, tmp_path: Path) -> None:
    ring.rotate(NOW)
    ring.rotate(NOW + timedelta(days=1))

    assert len(list((tmp_path / "keys").glob("*.jwk"))) == 4
    assert {path.stem for path in (tmp_path / "keys").glob("*.jwk")} == {entry.kid for entry in ring.entries()}


def test_one_rotation_is_finished_before_the_next_begins(ring: Keyring) -> None:
    ring.rotate(NOW)
    with pytest.raises(BadSettings, match="under way until 2026-01-05T16:00:00Z"):
        ring.rotate(NOW + SOON)


def test_keys_are_not_made_twice(ring: Keyring) -> None:
    before = kids(ring, NOW)
    with pytest.raises(BadSettings, match="afterdose keys rotate"):
        ring.generate(NOW)
    assert kids(ring, NOW) == before


def test_of_several_who_make_keys_at_once_one_does(tmp_path: Path) -> None:
    def make(_: int) -> int:
        try:
            return len(Keyring(tmp_path / "keys").generate(NOW))
        except BadSettings:
            return 0

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(make, range(4)))

    assert sorted(made) == [0, 0, 0, len(ALGORITHMS)]
    assert len(list((tmp_path / "keys").glob("*.jwk"))) == len(ALGORITHMS)


def test_without_keys_nothing_is_published_and_nothing_signs(tmp_path: Path) -> None:
    ring = Keyring(tmp_path / "keys")

    assert ring.published(NOW) == []
    with pytest.raises(BadSettings, match="afterdose keys generate"):
        ring.signing(NOW, ["ES384"])
    with pytest.raises(BadSettings, match="afterdose keys generate"):
        ring.rotate(NOW)


@pytest.mark.parametrize("damage", ["", "{}", '{"keys": []}', '{"keys": [{"kid": "x"}]}', "not json"])
def test_a_damaged_list_of_keys_is_said_by_its_name(ring: Keyring, tmp_path: Path, damage: str) -> None:
    (tmp_path / "keys" / "keys.json").write_text(damage)

    with pytest.raises(BadSettings, match=r"keys\.json"):
        ring.signing(NOW, ["ES384"])


def test_the_kid_is_the_thumbprint_of_rfc_7638(ring: Keyring) -> None:
    for jwk in ring.published(NOW):
        names = ("crv", "kty", "x", "y") if jwk["kty"] == "EC" else ("e", "kty", "n")
        canonical = json.dumps({name: jwk[name] for name in names}, separators=(",", ":"), sort_keys=True)
        digest = base64.urlsafe_b64encode(hashlib.sha256(canonical.encode()).digest()).rstrip(b"=").decode()
        assert jwk["kid"] == digest
