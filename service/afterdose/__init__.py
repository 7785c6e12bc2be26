"""afterdose: plans integration care inside the plasticity window after a dose, in the EHR the staff already use."""
