"""Files: checks of output paths, atomic writes, locks, archives, figures."""
