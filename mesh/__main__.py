"""`python -m mesh` is `zwerm`."""

import sys

from .entry import main

sys.exit(main())
