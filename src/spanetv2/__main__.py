"""``python -m spanetv2`` is the ``spanetv2`` command."""

from spanetv2.cli.main import main

if __name__ == "__main__":
    main()
