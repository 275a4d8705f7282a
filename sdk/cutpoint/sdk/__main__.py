"""`python -m cutpoint.sdk` is the `cutpoint` command."""

from cutpoint.sdk.cli import main

if __name__ == "__main__":
    main()
