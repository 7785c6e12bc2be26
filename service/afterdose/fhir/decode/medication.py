"""Which drug a medication is, by code first and by words second, and how strong it is.

Codes and words come from ``mappings/codes/``. A code decides; words alone are marked ``by_text``; where code
and words, or two codes, name different drugs the answer is marked ``conflicting``, because one of them was
charted by mistake and nobody can know which.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from afterdose.core.codes import Codes, Product
from afterdose.core.dose import Context, Drug, ProductKind
from afterdose.fhir.elements import JsonObject, codings, member, members, number, reference, text, words
from afterdose.fhir.references import contained

_LONGEST_NAME = 500
"""No drug is named further on in a text than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Strength:
    """How much of the drug (``amount`` of ``unit``) there is in ``per`` of ``per_unit``. Units in UCUM.

    ``of_salt``: it is said of the salt, not of the base.
    """

    amount: Decimal
    unit: str
    per: Decimal
    per_unit: str
    of_salt: bool = False


def drug_of(administration: JsonObject, context: Context, codes: Codes) -> Drug:
    """The drug that was given. ``unresolved`` where it is a reference that nobody could read, or nothing is said."""
    concept, target = _concept(administration), _reference(administration)
    found, unread = [_name(concept, codes)], not _says_something(concept)
    if target:
        medication = _medication(administration, context)
        product, unread = _product(medication, administration, codes) if medication is not None else (None, True)
        found += [product if medication is not None else _name({"text": target.get("display")}, codes)]
    drug = _agree([known for known in found if known is not None]) or Drug(family=None)
    return replace(
        drug,
        unresolved=unread,
        by_text=drug.by_text and drug.family is not None,
        anaesthetic=drug.family is None and _is_anaesthetic(administration, context, codes),
    )


def strength_of(administration: JsonObject, context: Context, codes: Codes) -> Strength | None:
    """The strength of the one ketamine or esketamine ingredient of the medication, None where it is not said."""
    medication = _medication(administration, context)
    for ingredient in members(medication, "ingredient"):
        item = _item(ingredient, medication, administration) or {}
        if (known := _name(item, codes)) is None or known.family is None:
            continue
        ratio = member(ingredient, "strength") or member(ingredient, "strengthRatio")
        above, below = member(ratio, "numerator"), member(ratio, "denominator")
        amount, per = number(above, "value"), number(below, "value")
        unit, per_unit = unit_of(above, codes), unit_of(below, codes)
        if amount is not None and per and unit is not None and per_unit is not None:
            of_salt = codes.salts.holds_any(codings(item))
            return Strength(amount=amount, unit=unit, per=per, per_unit=per_unit, of_salt=of_salt)
    return None


def unit_of(quantity: JsonObject, codes: Codes) -> str | None:
    """The UCUM code of a Quantity's unit, by its code or its words; None where it is not known."""
    for said in (text(quantity, "code"), text(quantity, "unit")):
        known = codes.units.get(said.casefold()) if said is not None else None
        if known is not None:
            return known
    return None


def _concept(administration: JsonObject) -> JsonObject:
    return member(administration, "medicationCodeableConcept") or member(
        member(administration, "medication"), "concept"
    )


def _reference(administration: JsonObject) -> JsonObject:
    return member(administration, "medicationReference") or member(member(administration, "medication"), "reference")


def _medication(administration: JsonObject, context: Context) -> JsonObject | None:
    target = text(_reference(administration), "reference")
    if target is None:
        return None
    return contained(administration, target) if target.startswith("#") else context.medication


def _product(medication: JsonObject, administration: JsonObject, codes: Codes) -> tuple[Drug | None, bool]:
    """A Medication by its code and its active ingredients; and whether something that matters could not be read."""
    code = member(medication, "code")
    named = _name(code, codes)
    if named is not None and named.family is None and not named.by_text:
        return named, False
    found, others, unread = [], False, False
    for ingredient in members(medication, "ingredient"):
        if ingredient.get("isActive") is False:
            continue
        item = _item(ingredient, medication, administration)
        known = _name(item, codes) if item is not None else None
        if known is not None and known.family is not None:
            found.append(known)
        elif item is None:
            unread = True
        elif not _is_diluent(item, codes):
            others = True
    drug = _agree([*([named] if named is not None else []), *found])
    if drug is not None and found and others:
        drug = replace(drug, kind=ProductKind.COMBINATION)
    return drug, unread or not (_says_something(code) or found or others)


def _item(ingredient: JsonObject, medication: JsonObject | None, administration: JsonObject) -> JsonObject | None:
    """The concept of an ingredient (R4 ``item[x]``, R5 CodeableReference); None where it is an unread reference."""
    concept = member(ingredient, "itemCodeableConcept") or member(member(ingredient, "item"), "concept")
    if concept:
        return concept
    target = reference(ingredient, "itemReference") or reference(ingredient, "item")
    inside = contained(administration, target) or contained(medication or {}, target)
    return member(inside, "code") or None


def _is_anaesthetic(administration: JsonObject, context: Context, codes: Codes) -> bool:
    """Whether the medication, or an ingredient of it, is a drug of general anaesthesia."""
    medication = _medication(administration, context)
    named: JsonObject = {"text": _reference(administration).get("display")}
    concepts = [_concept(administration), member(medication, "code"), named]
    concepts += [_item(one, medication, administration) or {} for one in members(medication, "ingredient")]
    return any(
        codes.anaesthesia_drugs.holds_any(codings(concept))
        or any(term.search(_normal(word)) for word in words(concept) for term in codes.anaesthesia_terms)
        for concept in concepts
    )


def _is_diluent(item: JsonObject, codes: Codes) -> bool:
    said = [_normal(word) for word in words(item)]
    return bool(said) and all(any(term.search(word) for term in codes.diluent_terms) for word in said)


def _says_something(concept: JsonObject) -> bool:
    return bool(codings(concept) or words(concept))


def _name(concept: JsonObject, codes: Codes) -> Drug | None:
    """What the codes and words of one concept say together; None where they say nothing that we know.

    A drug without a family is known to be something else: a code that the site excluded, or "not ketamine".
    """
    coded = _agree([Drug(family=product.family, kind=product.kind) for product in _by_code(concept, codes)])
    said = _agree(
        [Drug(family=product.family, kind=product.kind, by_text=True) for product in _by_words(concept, codes)]
    )
    if coded is None or said is None or coded.family is None:
        return coded or said
    more = said.kind is ProductKind.COMBINATION and coded.kind is not ProductKind.COMBINATION
    if more or said.conflicting or said.family is not coded.family:
        return replace(coded, conflicting=True)
    return _agree([coded, said])


def _by_code(concept: JsonObject, codes: Codes) -> list[Product]:
    return [
        codes.products[key] for coding in codings(concept) if (key := (coding.system, coding.code)) in codes.products
    ]


def _by_words(concept: JsonObject, codes: Codes) -> list[Product]:
    matches = (
        next((term.product for term in codes.product_terms if term.pattern.search(_normal(word))), None)
        for word in words(concept)
    )
    return [product for product in matches if product is not None]


def _normal(word: str) -> str:
    return re.sub(r"\s+", " ", unicodedata.normalize("NFKC", word[:_LONGEST_NAME])).casefold()


def _agree(drugs: Sequence[Drug]) -> Drug | None:
    """Several statements about one medication: the more specific kind counts, a contradiction is marked."""
    if not drugs:
        return None
    named = [drug for drug in drugs if drug.family is not None] or drugs
    kinds = {drug.kind for drug in named} - {None, ProductKind.SINGLE_INGREDIENT}
    return Drug(
        family=named[0].family,
        kind=next((drug.kind for drug in named if drug.kind in kinds), named[0].kind),
        by_text=all(drug.by_text for drug in named),
        conflicting=any(drug.conflicting for drug in drugs)
        or len({drug.family for drug in drugs}) > 1
        or len(kinds) > 1,
    )
