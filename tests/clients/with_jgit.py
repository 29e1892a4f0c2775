"""git by JGit, in the repository of the working folder: with_jgit.py VERB URL [ARGUMENT...]

The verbs print what the server has to say; a refusal ends the program with 1. JGit's own command line is started with the packages
that it needs: the one that Debian starts lacks some of them.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

PACKAGES = (
    "org.eclipse.jgit.pgm org.eclipse.jgit org.eclipse.jgit.lfs org.eclipse.jgit.archive org.eclipse.jgit.http.apache "
    "args4j slf4j-api slf4j-nop javaewah jsch httpclient httpcore commons-logging commons-codec"
).split()


def jgit(url, *arguments):
    """Runs JGit, which takes no credentials from a URL, and returns what it says without its progress."""
    parts = urlsplit(url)
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    with tempfile.TemporaryDirectory() as home:
        login = f"machine {parts.hostname} login {parts.username} password {parts.password}\n"
        Path(home, ".netrc").write_text(login)
        program = ["java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true", f"-Duser.home={home}"]
        program += ["-cp", ":".join(f"/usr/share/java/{name}.jar" for name in PACKAGES), "org.eclipse.jgit.pgm.Main"]
        program += [bare if argument == "URL" else argument for argument in arguments]
        ran = subprocess.run(program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    # Its progress overwrites itself.
    lines = [line.rpartition("\r")[2] for line in ran.stdout.decode().split("\n")]
    return ran.returncode, "\n".join(line.removeprefix("remote: ") for line in lines)


def tell(url, *arguments):
    code, said = jgit(url, *arguments)
    print(said)
    return 1 if code or re.search(r"\[(remote )?rejected\]|! \[", said) else 0


def push(url, *refspecs):
    return tell(url, "push", "URL", *refspecs)


def clone(url, folder):
    return tell(url, "clone", "URL", folder)


def fetch(url):
    return tell(url, "fetch", "origin")


def delete(url, branch):
    return push(url, f":refs/heads/{branch}")


def ls_remote(url):
    return tell(url, "ls-remote", "URL")


def version(_):
    print(jgit("", "version")[1].strip().removeprefix("jgit version "))
    return 0


verbs = {"push": push, "clone": clone, "fetch": fetch, "delete": delete, "ls-remote": ls_remote, "version": version}
verb, *arguments = sys.argv[1:]
sys.exit(verbs[verb](*arguments))
