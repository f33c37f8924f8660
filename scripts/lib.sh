# Shared by the scripts: packages, build, and a place where the database user can work.
# Sourced, not run. Sets: root (the checkout), bindir, work (scratch), dist (staged installation).

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

packages=(build-essential cmake ninja-build pkg-config postgresql-15 postgresql-server-dev-15
	libkrb5-dev libssl-dev libeigen3-dev libboost-graph-dev libpq-dev nlohmann-json3-dev
	libgtest-dev libgmock-dev libbenchmark-dev libipc-run-perl)

say() { printf '%s\n' "$*" >&2; }

missing_packages() {
	local p
	for p in "${packages[@]}"; do
		dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || printf '%s\n' "$p"
	done
}

# Install what is missing; an ordinary user is told what to ask for.
install_packages() {
	local missing
	mapfile -t missing < <(missing_packages)
	[ ${#missing[@]} -eq 0 ] && return 0
	if [ "$(id -u)" -ne 0 ]; then
		say "pg_heal: these packages are missing, ask an administrator to install them:"
		say "  apt-get install ${missing[*]}"
		exit 1
	fi
	say "pg_heal: installing ${#missing[@]} packages"
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -qq
	# Without this, postgresql-15 would create and start a cluster of its own.
	apt-get install -y -qq --no-install-recommends postgresql-common >/dev/null
	if ! ls /etc/postgresql/*/* >/dev/null 2>&1; then
		printf 'create_main_cluster = false\n' >>/etc/postgresql-common/createcluster.conf
	fi
	apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# Run a command as the user that may start a server: initdb refuses root.
as_db_user() {
	if [ "$(id -u)" -eq 0 ]; then
		(cd / && exec runuser -u postgres -- "$@")
	else
		"$@"
	fi
}

make_work() {
	work=$(mktemp -d "${TMPDIR:-/tmp}/pg_heal.XXXXXX")
	chmod 755 "$work"
	[ "$(id -u)" -eq 0 ] && chown postgres "$work"
	return 0
}

# Build, and stage an installation that a private cluster can load without
# touching the system's.
build_and_stage() {
	bindir=$(pg_config --bindir)
	make -C "$root" -s -j"$(nproc)" >"$work/build.log" 2>&1 || {
		cat "$work/build.log" >&2
		say "pg_heal: the build failed"
		exit 1
	}
	dist=$work/dist
	make -C "$root" -s install DESTDIR="$dist" >>"$work/build.log" 2>&1 || {
		cat "$work/build.log" >&2
		exit 1
	}
	chmod -R a+rX "$dist"
}

# Settings that make a cluster load the staged installation.
staged_settings() {
	printf "extension_destdir = '%s'\n" "$dist"
	printf "dynamic_library_path = '%s%s:\$libdir'\n" "$dist" "$(pg_config --pkglibdir)"
	printf "shared_preload_libraries = 'pg_heal'\n"
}
