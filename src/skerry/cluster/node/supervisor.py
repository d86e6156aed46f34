"""The process that stands over one container: `python -I -S -E supervisor.py SPEC_FILE`.

Only the way in. The work is in `supervise.py`, which is imported so that its byte code comes from the cache: compiling
it at every start would cost 4 ms and leave 1 MiB behind in a process that lives as long as its container.
"""

# Pathlib is not worth its memory here.
# ruff: noqa: PTH100, PTH120

import os
import sys

# Isolated mode (-I) leaves this directory out of the path; at the end of it no name here can hide a standard module.
sys.path.append(os.path.dirname(os.path.abspath(__file__)))

if __name__ == "__main__":
    __import__("supervise").main(sys.argv[1:])
