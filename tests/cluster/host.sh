#!/bin/bash
# PID 1 of a machine that does not exist: its own network, processes, users, home, /tmp and /run.
# host.sh FOLDER NAME ADDRESS USER VENV PYTHON CONF SHARED
# FOLDER is its disk, which outlives it; VENV and PYTHON are what its image has; CONF sshd's files;
# SHARED is mounted at /mnt/shared on every machine.
set -e
disk=$1 name=$2 address=$3 user=$4 venv=$5 python=$6 conf=$7 shared=$8
hostname "$name"
mount --make-rprivate /
mkdir -p "$disk"/{etc,home,mnt/shared,root,run/sshd,tmp}
chmod 1777 "$disk/tmp"
printf '127.0.0.1 localhost\n%s %s\n' "$address" "$name" >"$disk/etc/hosts"
(grep -v "^$user:" /etc/passwd; echo "$user:*:4242:4242::/home/$user:/bin/bash") >"$disk/etc/passwd"
if [ ! -d "$disk/home/$user" ]; then # a new disk: the image is copied onto it
  mkdir -p "$disk/home/$user/.local/bin"
  cp "$conf/bashrc" "$disk/home/$user/.bashrc"
  cp "$(dirname "$0")/uv" "$disk/home/$user/.local/bin/uv"
  chown -R 4242:4242 "$disk/home/$user"
fi
# What lies where the machine has folders of its own is mounted into these, and cannot be written.
for path in "$venv" "$python" "$conf"; do
  mkdir -p "$disk$path"
  mount --bind "$path" "$disk$path"
  mount -o remount,bind,ro "$disk$path"
done
mount --bind "$shared" "$disk/mnt/shared"
mount --bind "$disk/etc/hosts" /etc/hosts
mount --bind "$disk/etc/passwd" /etc/passwd
mount -t tmpfs -o size=4g tmpfs /dev/shm
for folder in home mnt root run tmp; do mount --rbind "$disk/$folder" "/$folder"; done
cd /
/usr/sbin/sshd -D -e -f "$conf/sshd_config" 2>/run/sshd/log &
while :; do wait || :; sleep 1; done # adopts and buries what Ray leaves behind
