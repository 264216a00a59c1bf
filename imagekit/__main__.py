"""`python -m imagekit` is `imagekit`."""

from imagekit.cli.start import run

if __name__ == "__main__":
    run()
