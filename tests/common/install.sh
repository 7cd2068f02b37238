#!/bin/bash
# install.sh WHAT:PACKAGE…   installs those of Debian's packages whose WHAT, a command or a file's whole path, is not here.
# An empty WHAT never is. A machine that has everything asks no package server.
set -eu
missing() {
  local entry
  for entry; do
    case $entry in
      :*) echo "${entry#:}" ;;
      /*) [ -e "${entry%%:*}" ] || echo "${entry#*:}" ;;
      *) command -v "${entry%%:*}" >/dev/null || echo "${entry#*:}" ;;
    esac
  done
}
[ -n "$(missing "$@")" ] || exit 0

# Of two scripts at once, the second may find that the first has brought what it needs.
exec 9>"${TMPDIR:-/tmp}/allcores-install.lock"
flock 9
mapfile -t packages < <(missing "$@" | sort -u)
[ ${#packages[@]} -gt 0 ] || exit 0
echo "installing ${packages[*]}" >&2
apt-get update -qq >&2
DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "${packages[@]}" >/dev/null
