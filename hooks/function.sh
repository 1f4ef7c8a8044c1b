# Calls a function that the user's config defines, as dehydrated would: the
# config is sourced inside a function, under errexit, pipefail, noglob and
# nullglob; the hook function itself runs as the left side of "||", where
# errexit does nothing. Not nounset: dehydrated has defaults for names that are
# unset here.
#
# $0 is the config; arguments: files to source, "--", the function, its arguments.
set -ef -o pipefail
shopt -s nullglob

# The values in force (flags, this certificate's) win over the config's. Their
# names only, and no argument: what is in the environment may be secret.
declare -A arid_env
for arid_name in $(compgen -e); do
	arid_env[$arid_name]=${!arid_name}
done

# Whatever the config prints, it has printed already when arid read it.
# shellcheck disable=SC1090
arid_source() { . "$1" >/dev/null; }
arid_source "$0"
while [[ $1 != -- ]]; do
	set +f # as dehydrated has it for CONFIG_D
	arid_source "$1"
	set -f
	shift
done
shift

for arid_name in "${!arid_env[@]}"; do
	[[ ${!arid_name-} == "${arid_env[$arid_name]}" || $arid_name == *OPTS ]] ||
		declare -gx "$arid_name=${arid_env[$arid_name]}" 2>/dev/null || : # readonly
done
unset arid_env arid_name
unset -f arid_source

declare -F -- "$1" >/dev/null || {
	printf '%s: no function named %s\n' "$0" "$1" >&2
	exit 127
}
"$@" || exit
