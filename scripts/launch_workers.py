#!/usr/bin/env python3
"""`python -m mnist_mlp.devices.launch_workers` under the name that it had in version 0.1."""

import sys

from mnist_mlp.devices.launch_workers import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
