"""The durable store: what was received, who is due when, and what we have written in the EHR.

One schema (:mod:`~afterdose.store.schema`, SQLAlchemy Core) on two databases: SQLite for one host, PostgreSQL for
several. Open it with :func:`afterdose.store.store.open_store`, once in each process and after any fork; threads share
it. Three rules hold everywhere in this package:

* a transaction is opened and ended inside one call, so none is ever open while the caller talks HTTP;
* every write under a claim checks the claim's fence in its own transaction and raises
  :class:`~afterdose.core.errors.LeaseLost` when another worker has taken the patient over;
* errors of the drivers end here as :class:`~afterdose.core.errors.StoreBusy` (time heals it),
  :class:`~afterdose.core.errors.StoreUnusable` (a person has to act) or plain
  :class:`~afterdose.core.errors.StoreError` (a defect of ours); their texts name codes, never stored values.
"""
