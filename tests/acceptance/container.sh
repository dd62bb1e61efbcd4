#!/bin/bash
# A container without Docker: all that there is can be read only, but for one folder, and the user
# has a number and nothing else. container.sh STAGE CODE VENV PYTHON COMMAND...
# STAGE is an empty folder that everybody may enter: STAGE/work will be the writable one, STAGE/code
# and STAGE/venv the project and its environment, whose base installation is PYTHON.
# To be run as root in a mount namespace of its own (unshare --mount).
set -e
stage=$1 code=$2 venv=$3 python=$4
shift 4
mount --make-rprivate /
mkdir "$stage"/{code,venv,python,work}
chown 4242:4242 "$stage/work"
mount --bind "$code" "$stage/code"
mount --bind "$venv" "$stage/venv"
mount --bind "$python" "$stage/python"
mount --bind "$stage/work" "$stage/work"
user=(setpriv --reuid=4242 --regid=4242 --clear-groups --bounding-set=-all)
if ! "${user[@]}" test -x "$python/bin/python3"; then # in root's own folder
  hides=/$(cut -d/ -f2 <<<"$python")
  mount -t tmpfs -o mode=755 tmpfs "$hides"
  mkdir -p "$python"
  mount --bind "$stage/python" "$python"
  mount -o remount,bind,ro "$hides"
fi
for folder in code venv python; do mount -o remount,bind,ro "$stage/$folder"; done
mount -o remount,bind,ro /
cd /
exec "${user[@]}" --no-new-privs env --ignore-environment PATH=/usr/bin:/bin \
  PYTHONPATH="$stage/code" RAY_USAGE_STATS_ENABLED=0 "$@"
