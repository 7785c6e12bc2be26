"""Whether a resource is valid FHIR R4 and keeps its profile: asked of everything that leaves."""
