#!/bin/sh
# setup.sh run|dev PYTHON VENV: everything `make run` or `make test` needs, on a fresh machine.
# As root it installs missing Debian packages; otherwise it says which are missing.
set -eu
what=$1 python=$2 venv=$3

# command or file -> Debian package
need='cc:gcc dbus-daemon:dbus-daemon'
[ "$what" = dev ] && need="$need xmllint:libxml2-utils mandoc:mandoc busctl:systemd
  systemd-analyze:systemd pkg-config:pkgconf udevadm:udev setpriv:util-linux"
missing=
for pair in $need; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair##*:}"
done
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
    echo "jepad needs Python 3.11 or newer as '$python'" >&2; exit 1; }
"$python" -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"
"$python" -c 'import os, sysconfig, sys
sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' || missing="$missing python3-dev"
[ -e /usr/include/stdio.h ] || missing="$missing libc6-dev"

if [ -n "$missing" ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "installing:$missing" >&2
        apt-get update -qq
        # shellcheck disable=SC2086 # a list of words
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
    else
        echo "missing packages; install them and try again:  sudo apt install$missing" >&2
        exit 1
    fi
fi

echo "setting up $venv (a minute or so)" >&2
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$venv/bin/python" -m pip install -qq --upgrade pip
if [ "$what" = dev ]; then
    # torch first and alone: with it in place nothing else pulls in another build of it
    "$venv/bin/python" -m pip install -qq torch==2.13.0
    "$venv/bin/python" -m pip install -qq -e '.[train,video,dev,bench]'
else
    "$venv/bin/python" -m pip install -qq -e .
fi
