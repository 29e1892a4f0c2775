"""git by dulwich, in the repository of the working folder: with_dulwich.py VERB URL [ARGUMENT...]

The verbs print what dulwich has to say; a refusal ends the program with 1.
"""

import sys
from io import BytesIO

import dulwich
from dulwich import porcelain
from dulwich.errors import GitProtocolError, HangupException
from dulwich.repo import Repo


def push(url, *refspecs):
    # What the server says goes to errstream; what became of each ref comes back as a value.
    said = BytesIO()
    try:
        result = porcelain.push(".", url, list(refspecs), outstream=said, errstream=said)
    finally:
        sys.stdout.write(said.getvalue().decode())
    refused = {ref: why for ref, why in (result.ref_status or {}).items() if why}
    for ref, why in refused.items():
        print(f"refused {ref.decode()}: {why if isinstance(why, str) else why.decode()}")
    return 1 if refused else 0


def clone(url, folder, depth=None):
    porcelain.clone(url, folder, depth=depth and int(depth), errstream=BytesIO())
    return 0


def fetch(url):
    # Into refs/remotes/origin, as a clone has them.
    porcelain.fetch(".", "origin", errstream=BytesIO(), outstream=BytesIO())
    return 0


def delete(url, branch):
    return push(url, f":refs/heads/{branch}")


def ls_remote(url):
    for name, target in sorted(porcelain.ls_remote(url).refs.items()):
        print(f"{target.decode()}\t{name.decode()}")
    return 0


def version(_):
    print(".".join(str(part) for part in dulwich.__version__))
    return 0


verbs = {"push": push, "clone": clone, "fetch": fetch, "delete": delete, "ls-remote": ls_remote, "version": version}
verb, *arguments = sys.argv[1:]
try:
    sys.exit(verbs[verb](*arguments))
except (GitProtocolError, HangupException, porcelain.Error) as error:
    sys.exit(f"{type(error).__name__}: {error}")
