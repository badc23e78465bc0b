"""`python -m mesh` is `zwerm`."""

import sys

from .cli import main

sys.exit(main())
