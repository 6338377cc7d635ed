"""The command line in a separate process."""

import sys
from typing import Final

HARKEN: Final = (sys.executable, "-c", "import sys; from harken_adapters.hosts.cli import main; sys.exit(main())")
