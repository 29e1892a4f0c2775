"""git by libgit2, in the repository of the working folder: with_libgit2.py VERB URL [ARGUMENT...]

The verbs print what the server has to say; a refusal ends the program with 1.
"""

import sys
from urllib.parse import urlsplit

import pygit2


class Callbacks(pygit2.RemoteCallbacks):
    """Gives the credentials of the URL when the server asks for them, and gathers what it says."""

    def __init__(self, user, password):
        super().__init__(credentials=pygit2.UserPass(user, password))
        self.refused = False

    def sideband_progress(self, string):
        sys.stdout.write(string)

    def push_update_reference(self, refname, message):
        if message is not None:
            self.refused = True
            print(f"refused {refname}: {message}")


def remote(url):
    """The remote without its credentials, and the callbacks that have them."""
    parts = urlsplit(url)
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return bare, Callbacks(parts.username, parts.password)


def push(url, *refspecs):
    bare, callbacks = remote(url)
    pygit2.Repository(".").remotes.create_anonymous(bare).push(list(refspecs), callbacks=callbacks)
    return 1 if callbacks.refused else 0


def clone(url, folder, depth="0"):
    bare, callbacks = remote(url)
    pygit2.clone_repository(bare, folder, callbacks=callbacks, depth=int(depth))
    return 0


def fetch(url):
    # Into refs/remotes/origin, as a clone has them.
    _, callbacks = remote(url)
    pygit2.Repository(".").remotes["origin"].fetch(callbacks=callbacks)
    return 0


def delete(url, branch):
    return push(url, f":refs/heads/{branch}")


def ls_remote(url):
    bare, callbacks = remote(url)
    for head in pygit2.Repository(".").remotes.create_anonymous(bare).list_heads(callbacks=callbacks):
        print(f"{head.oid}\t{head.name}")
    return 0


def version(_):
    print(pygit2.LIBGIT2_VERSION)
    return 0


verbs = {"push": push, "clone": clone, "fetch": fetch, "delete": delete, "ls-remote": ls_remote, "version": version}
verb, *arguments = sys.argv[1:]
try:
    sys.exit(verbs[verb](*arguments))
except pygit2.GitError as error:
    sys.exit(f"GitError: {error}")
