"""`python -m pytest_kubernix`: the command line, for where scripts are not on PATH."""

import sys

from .cli import main

sys.exit(main())
