"""HL7 v2 messages as FHIR: bytes in, resources and answers out. Pure, like everything in ``fhir``."""
