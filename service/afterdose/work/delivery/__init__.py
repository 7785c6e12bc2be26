"""Bringing what stands in the EHR to what is wanted, without writing over what people changed."""
