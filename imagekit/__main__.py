"""`python -m imagekit` is `imagekit`."""

from imagekit.cli.main import run

if __name__ == "__main__":
    run()
