"""``python -m foretell`` and ``torchrun -m foretell``."""

from foretell.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
