#!/bin/sh
# Key and chain to other hosts by ssh, and a reload there.
#
#   HOOK=/etc/arid/ssh-push.sh in the config, and there (with export) or here:
set -eu

# Where to, with blanks between: USER@HOST, ssh://USER@HOST:PORT, a name of ~/.ssh/config.
hosts=${SSH_PUSH_TO-}
# The files there; {name} in them is the certificate's folder. The directories must be there.
key=${SSH_PUSH_KEY-/etc/ssl/private/'{name}'.key}
chain=${SSH_PUSH_CHAIN-/etc/ssl/certs/'{name}'.pem}
owner=${SSH_PUSH_OWNER-}   # of the key, there: USER, or USER:GROUP
mode=${SSH_PUSH_MODE-0600} # of the key; the chain is 0644
reload=${SSH_PUSH_RELOAD-} # a shell line for the other host
ssh=${SSH_PUSH_SSH-ssh -T -o BatchMode=yes -o ConnectTimeout=30}

# deploy_cert NAME KEY CERT FULLCHAIN CHAIN TIMESTAMP: arid calls it again if it fails.
[ "${1-}" = deploy_cert ] || exit 0
[ -z "${ARID_HOOK_REHEARSAL-}" ] || exit 0 # with a certificate that nobody trusts
[ -n "$hosts" ] || {
	echo "ssh-push.sh: SSH_PUSH_TO names no host" >&2
	exit 1
}
name=${alias:-$2}

# pem FILE: it without a line that is none of PEM, which the shell there could take
# for one of its own.
pem() { grep -e '^-----[A-Z ]*-----$' -e '^[A-Za-z0-9+/=]*$' -- "$1"; }
key_text=$(pem "$3")
chain_text=$(pem "$5")

# named TEXT: with the certificate's folder in place of {name}, as a word for a shell.
named() {
	text=$1
	case $text in
	*'{name}'*) text=${text%%'{name}'*}$name${text#*'{name}'} ;;
	esac
	printf "'%s'\n" "$(printf '%s\n' "$text" | sed "s/'/'\\\\''/g")"
}

# program: what the other host is to do. It goes into the standard input of a shell
# there, and the key in its midst, so that no argument shows it. All of it stands in
# braces, to be read whole first: a connection that breaks off on the way has done
# nothing.
program() {
	cat <<EOT
{
	set -eu
	key=$(named "$key") chain=$(named "$chain") owner=$(named "$owner") mode=$(named "$mode") reload=$(named "$reload")
	umask 077
	PATH=\$PATH:/usr/local/sbin:/usr/sbin:/sbin
	k=\$(dirname -- "\$key")/.\$(basename -- "\$key").arid
	c=\$(dirname -- "\$chain")/.\$(basename -- "\$chain").arid
	rm -f "\$k-new" "\$c-new"
	trap 'rm -f "\$k-new" "\$c-new"' EXIT
	trap 'exit 1' HUP INT TERM
	cat >"\$k-new" <<'end of the key'
$key_text
end of the key
	cat >"\$c-new" <<'end of the chain'
$chain_text
end of the chain
EOT
	cat <<'EOT'
	if [ ! -e "$k-owed" ]; then
		if cmp -s "$k-new" "$key" && cmp -s "$c-new" "$chain"; then
			exit 0 # they are there already, and the server knows
		fi
		# What is there now is kept until the server has taken the new ones.
		rm -f "$k-old" "$c-old"
		[ ! -e "$key" ] || cp -p -- "$key" "$k-old"
		[ ! -e "$chain" ] || cp -p -- "$chain" "$c-old"
	fi
	[ -z "$owner" ] || chown -- "$owner" "$k-new"
	chmod -- "$mode" "$k-new"
	chmod 0644 "$c-new"
	sync "$k-new" "$c-new" 2>/dev/null || sync
	trap '' HUP INT TERM PIPE # a connection that breaks off now ends nothing
	: >"$k-owed"
	mv -f -- "$k-new" "$key"
	mv -f -- "$c-new" "$chain"
	if [ -n "$reload" ] && ! sh -c "$reload" </dev/null; then
		echo "the reload failed: what was there before comes back" >&2
		if [ -e "$k-old" ]; then mv -f -- "$k-old" "$key"; else rm -f -- "$key"; fi
		if [ -e "$c-old" ]; then mv -f -- "$c-old" "$chain"; else rm -f -- "$chain"; fi
		rm -f "$k-owed"
		sh -c "$reload" </dev/null || :
		exit 1
	fi
	rm -f "$k-owed" "$k-old" "$c-old"
	exit 0
}
EOT
}
program=$(program)

status=0
for host in $hosts; do
	# A host that does not answer, as ssh says then, does not keep the others from theirs.
	# shellcheck disable=SC2086  # options are words
	$ssh -- "$host" sh <<EOT || status=1
$program
EOT
done
exit "$status"
