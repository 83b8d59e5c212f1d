"""`python -m ram_ray` is the `ram-ray` command."""

from ram_ray.cli.app import main

if __name__ == "__main__":
    main()
