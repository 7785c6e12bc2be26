"""From FHIR as it comes, strict or careless, to values: tolerant, and never guessing."""
