"""The command line: parse, one call of the pipeline, show. Nothing else prints or exits."""

from photocluster.cli.main import main

__all__ = ["main"]
