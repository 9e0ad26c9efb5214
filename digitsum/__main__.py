"""The `digitsum` command, and `python -m digitsum`.

The signals are seen to before the command line is imported, which takes a part of a second.
"""

from __future__ import annotations

import sys

from digitsum import signals


def main() -> None:
    """Runs the command line; a signal ends it with its exit code and no traceback."""
    signals.exit_at_once()
    try:
        from digitsum.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)
    except signals.Terminated as ending:
        sys.exit(ending.exit_code)


if __name__ == "__main__":
    main()
