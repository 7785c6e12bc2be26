"""From what is wanted to FHIR R4 as it leaves, in words that people read."""
