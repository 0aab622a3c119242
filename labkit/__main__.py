"""`python -m labkit` is `labkit`."""
from labkit.cli import app

if __name__ == "__main__":
    app(prog_name="labkit")
