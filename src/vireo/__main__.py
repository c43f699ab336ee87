"""`python -m vireo` is the command line."""

from vireo.cli import main

main(prog_name="vireo")
