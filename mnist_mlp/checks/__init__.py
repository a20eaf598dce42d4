"""Whether a result can be right: the gate and its references, the diagnosis and its evidence."""
