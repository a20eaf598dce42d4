"""The lecture's network learns, live: real training runs, started, watched and steered over HTTP."""
