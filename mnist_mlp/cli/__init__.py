"""What every program shares: flags, signals, the terminal, child processes, and how a framework is loaded."""
