"""Code files (``mappings/codes/*.json``): FHIR ValueSets, ConceptMaps and CodeSystems, read as the rules need them.

Only what stands here is understood of these resources: enumerated concepts, beginnings of codes
(a filter ``code`` ``regex`` with a value such as ``F33.*``), one target a source code.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from marshmallow import ValidationError, fields, validate

from afterdose.content.locate import find
from afterdose.content.schemas import Strict, load, one_of, pattern, read_json, words
from afterdose.core.artifact import ArtifactKind
from afterdose.core.codes import Codes, CodeSet, Product, ProductTerm
from afterdose.core.dose import Coding, Family, Phase, ProductKind, Route
from afterdose.core.errors import BadContent
from afterdose.core.wishes import MODALITIES

_PRODUCTS = {
    "ketamine": Product(family=Family.KETAMINE, kind=ProductKind.SINGLE_INGREDIENT),
    "ketamine-combination": Product(family=Family.KETAMINE, kind=ProductKind.COMBINATION),
    "esketamine": Product(family=Family.ESKETAMINE, kind=ProductKind.SINGLE_INGREDIENT),
    "esketamine-nasal": Product(family=Family.ESKETAMINE, kind=ProductKind.NASAL_ESKETAMINE),
    "esketamine-anaesthetic": Product(family=Family.ESKETAMINE, kind=ProductKind.ANAESTHETIC_ESKETAMINE),
    "other": Product(family=None, kind=None),
}
_MODALITIES = {str(kind): kind for kind in MODALITIES}
T = TypeVar("T")
# http://hl7.org/fhir/R4/valueset-concept-map-equivalence.html: the target means the same, or something wider.
_MEANS_AS_MUCH = frozenset({None, "equal", "equivalent", "subsumes", "wider"})
_BEGINNING = re.compile(r"((?:[A-Za-z0-9-]|\\\.)+)\.\*")


class _Resource(Strict):
    """What every FHIR resource of mappings/codes may say about itself."""

    resourceType = words(required=True)
    id = words(required=True)
    status = words(required=True)
    url = words()
    version = words()
    name = words()
    title = words()
    description = words()
    publisher = words()
    date = words()
    copyright = words()
    experimental = fields.Boolean()


class _Target(Strict):
    code = words(required=True)
    display = words()
    equivalence = words()
    comment = words()


class _Element(Strict):
    code = words(required=True)
    display = words()
    target = fields.List(fields.Nested(_Target), required=True, validate=validate.Length(equal=1, error="expected one"))


class _Group(Strict):
    source = words()
    target = words()
    element = fields.List(fields.Nested(_Element), required=True)


class _ConceptMap(_Resource):
    group = fields.List(fields.Nested(_Group), required=True)


class _Concept(Strict):
    code = words(required=True)
    display = words()
    designation = fields.List(fields.Dict())


class _Filter(Strict):
    property = one_of("code")
    op = one_of("regex")
    value = fields.String(
        required=True,
        validate=validate.Regexp(_BEGINNING.pattern + "$", error='expected the beginning of a code and ".*"'),
    )


class _Include(Strict):
    system = words()
    concept = fields.List(fields.Nested(_Concept), load_default=list)
    filter = fields.List(fields.Nested(_Filter), load_default=list)


class _Compose(Strict):
    include = fields.List(fields.Nested(_Include), required=True)


class _ValueSet(_Resource):
    compose = fields.Nested(_Compose, required=True)


class _Property(Strict):
    code = one_of("pattern", "product")
    valueString = words()
    valueCode = fields.String(validate=validate.OneOf(_PRODUCTS, error=f"expected one of {', '.join(_PRODUCTS)}"))


class _Term(Strict):
    code = words(required=True)
    display = words()
    property = fields.List(fields.Nested(_Property), required=True)


class _Terms(_Resource):
    content = words(required=True)
    property = fields.List(fields.Dict())
    concept = fields.List(fields.Nested(_Term), required=True)


def read_codes(overlay: Path | None) -> Codes:
    """All codes. Raises BadContent naming file and key."""
    aliases: dict[str, list[str]] = {}
    for row in concept_rows("ConceptMap-system-aliases", overlay):
        aliases.setdefault(row.target, []).append(row.code)

    def everywhere(system: str) -> tuple[str, ...]:
        return (system, *aliases.get(system, ()))

    def code_set(name: str) -> CodeSet:
        return _code_set(f"ValueSet-{name}", overlay, everywhere)

    routes = _mapped("ConceptMap-routes", overlay, {str(route): route for route in Route})
    return Codes(
        products={
            (alias, code): product
            for (system, code), product in _mapped("ConceptMap-drug-products", overlay, _PRODUCTS).items()
            for alias in everywhere(system)
        },
        product_terms=tuple(
            ProductTerm(pattern=found, product=product)
            for found, product in _terms("CodeSystem-product-terms", overlay)
        ),
        routes={
            (alias, code): route for (system, code), route in routes.items() if system for alias in everywhere(system)
        },
        route_words={code: route for (system, code), route in routes.items() if not system},
        units={row.code.casefold(): row.target for row in concept_rows("ConceptMap-units", overlay)},
        psychiatric_indications=code_set("psychiatric-indications"),
        psychiatric_places=code_set("psychiatric-places"),
        psychiatric_specialties=code_set("psychiatric-specialties"),
        excluded_places=code_set("excluded-places"),
        excluded_specialties=code_set("excluded-specialties"),
        outpatient_classes=frozenset(code for _, code in code_set("outpatient-classes").codes),
        emergency_classes=frozenset(code for _, code in code_set("emergency-classes").codes),
        not_given_methods=code_set("not-given-methods"),
        caution_conditions=code_set("caution-conditions"),
        pain_settings=code_set("pain-settings"),
        outbound=_outbound(overlay),
        anaesthesia_drugs=code_set("anaesthesia-drugs"),
        anaesthesia_terms=tuple(found for found, _ in _terms("CodeSystem-anaesthesia-terms", overlay)),
        anaesthesia_procedures=code_set("anaesthesia-procedures"),
        emergency_places=code_set("emergency-places"),
        salts=code_set("salts"),
        preferences=_mapped("ConceptMap-preferences", overlay, _MODALITIES),
        accompanied=_mapped("ConceptMap-accompaniment", overlay, {"therapist-present": True, "monitoring-only": False}),
        phases=_mapped("ConceptMap-phases", overlay, {str(phase): phase for phase in Phase}),
        blinded_marks=code_set("blinded-marks"),
        weekly_marks=code_set("weekly-marks"),
        consents=code_set("consents"),
        crisis_plans=code_set("crisis-plans"),
        preference_observations=code_set("preference-observations"),
        modalities=_modalities(overlay),
        diluent_terms=tuple(found for found, _ in _terms("CodeSystem-diluent-terms", overlay)),
    )


def _resource(name: str, schema: _Resource, overlay: Path | None) -> tuple[Path, dict[str, Any]]:
    path = find(f"mappings/codes/{name}.json", overlay)
    data = load(schema, path, read_json(path))
    type_, _, id_ = name.partition("-")
    if (data["resourceType"], data["id"]) != (type_, id_):
        raise BadContent(f"{path}: resourceType and id: expected {type_} and {id_}, as the file is named")
    return path, data


@dataclass(frozen=True, slots=True)
class ConceptRow:
    """One element of a ConceptMap: ``system`` "" = a word. ``at`` names the file and the place in it."""

    at: str
    system: str
    code: str
    target_system: str
    target: str
    display: str | None


def concept_rows(name: str, overlay: Path | None) -> Iterator[ConceptRow]:
    """The elements of ``mappings/codes/NAME.json``, a ConceptMap.

    Raises BadContent where the file is wrong, or where a target is not as wide as its code: that would be a guess.
    """
    path, data = _resource(name, _ConceptMap(), overlay)
    for i, group in enumerate(data["group"]):
        for j, element in enumerate(group["element"]):
            at = f"{path}: group[{i}].element[{j}]"
            if element["target"][0].get("equivalence") not in _MEANS_AS_MUCH:
                raise BadContent(
                    f"{at}.target: expected an equivalence of {', '.join(sorted(filter(None, _MEANS_AS_MUCH)))}"
                )
            yield ConceptRow(
                at,
                group.get("source", ""),
                element["code"],
                group.get("target", ""),
                element["target"][0]["code"],
                element["target"][0].get("display"),
            )


def read_local_codes(names: Iterable[str], overlay: Path | None) -> dict[tuple[str, str], tuple[Coding, ...]]:
    """What a source's own codes mean, by the ConceptMaps that it names: ``north`` is ConceptMap-north.json.

    Raises BadContent where a file is wrong.
    """
    found: dict[tuple[str, str], tuple[Coding, ...]] = {}
    for name in sorted(names):
        for row in concept_rows(f"ConceptMap-{name}", overlay):
            if not row.target_system:
                raise BadContent(f"{row.at}: expected a group with a target, the system of the codes that are meant")
            key = (row.system, row.code if row.system else row.code.casefold())
            meaning = Coding(system=row.target_system, code=row.target, display=row.display)
            found[key] = (*found.get(key, ()), meaning)
    return found


def _mapped(name: str, overlay: Path | None, meanings: Mapping[str, T]) -> dict[tuple[str, str], T]:
    """Source system ("" for words) and code -> what the target code means."""
    found: dict[tuple[str, str], T] = {}
    for row in concept_rows(name, overlay):
        key = (row.system, row.code if row.system else row.code.casefold())
        if row.target not in meanings:
            raise BadContent(f"{row.at}.target: expected one of {', '.join(meanings)}")
        if found.setdefault(key, meanings[row.target]) != meanings[row.target]:
            raise BadContent(f"{row.at}.code: stands in this file twice, with different targets")
    return found


def _code_set(name: str, overlay: Path | None, everywhere: Callable[[str], tuple[str, ...]]) -> CodeSet:
    _, data = _resource(name, _ValueSet(), overlay)
    codes: set[tuple[str, str]] = set()
    prefixes: set[tuple[str, str]] = set()
    for include in data["compose"]["include"]:
        system = include.get("system")
        for alias in everywhere(system) if system else ("",):
            codes |= {(alias, one["code"] if system else one["code"].casefold()) for one in include["concept"]}
            prefixes |= {(alias, one["value"].removesuffix(".*").replace("\\.", ".")) for one in include["filter"]}
    return CodeSet(codes=frozenset(codes), prefixes=frozenset(prefixes))


def _terms(name: str, overlay: Path | None) -> Iterator[tuple[re.Pattern[str], Product]]:
    """Patterns in the order of the file, each with its product ("other" where it names none)."""
    path, data = _resource(name, _Terms(), overlay)
    for i, term in enumerate(data["concept"]):
        said = {one["code"]: one.get("valueString") or one.get("valueCode") for one in term["property"]}
        try:
            found = pattern(said.get("pattern") or "")
        except ValidationError as error:
            raise BadContent(f"{path}: concept[{i}].property: pattern {error.messages[0]}") from error
        yield found, _PRODUCTS[said.get("product") or "other"]


def _modalities(overlay: Path | None) -> frozenset[ArtifactKind]:
    """The ways of working that ``ValueSet-modalities.json`` lists, by their codes among our activities."""
    path, data = _resource("ValueSet-modalities", _ValueSet(), overlay)
    listed = [one["code"] for include in data["compose"]["include"] for one in include["concept"]]
    if unknown := sorted(set(listed) - set(_MODALITIES)):
        raise BadContent(f"{path}: compose: {unknown[0]}: expected one of {', '.join(_MODALITIES)}")
    return frozenset(_MODALITIES[code] for code in listed)


def _outbound(overlay: Path | None) -> dict[str, tuple[Coding, ...]]:
    roles: dict[str, tuple[Coding, ...]] = {}
    for row in concept_rows("ConceptMap-outbound", overlay):
        coding = Coding(system=row.target_system, code=row.target, display=row.display)
        roles[row.code] = (*roles.get(row.code, ()), coding)
    return roles
