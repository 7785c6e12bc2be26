"""Everything known about one patient, gathered from the store and from the EHRs before anything is decided."""
