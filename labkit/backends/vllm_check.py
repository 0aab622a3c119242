"""Ask vLLM's own argument parser about command lines. Runs in vLLM's environment; imports nothing of labkit's.

stdin: a JSON list of lists of arguments of `vllm serve`. The last line on stdout: a JSON list with null for
each that the parser takes, else what it says.
"""
from __future__ import annotations

import contextlib
import io
import json
import sys


def complaint(arguments: list[str]) -> str | None:
    from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
    from vllm.utils.argparse_utils import FlexibleArgumentParser
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            parsed = make_arg_parser(FlexibleArgumentParser()).parse_args(arguments)
            validate_parsed_serve_args(parsed)
    except SystemExit:
        return said.getvalue().strip().splitlines()[-1].partition("error: ")[2] or said.getvalue().strip()
    except (TypeError, ValueError) as error:
        return str(error)
    return None


if __name__ == "__main__":
    print(json.dumps([complaint(arguments) for arguments in json.load(sys.stdin)]))
