#!/bin/sh
# dns-01 by lexicon (https://github.com/dns-lexicon/dns-lexicon), which knows the APIs
# of many DNS providers.
#
#   LEXICON_PROVIDER=gandi \
#       arid sign -t dns-01 -k /etc/arid/dns-lexicon.sh example.org '*.example.org'
#
# What lexicon has to know about the account is in lexicon_gandi.yml in a folder (such as
# "auth_token: …"), or in the environment (LEXICON_GANDI_AUTH_TOKEN). Where a zone is not
# the domain as registered, LEXICON_DELEGATED names it.
set -eu

provider=${LEXICON_PROVIDER-}
config=${LEXICON_CONFIG_DIR-/etc/arid} # the folder with lexicon_….yml

event=${1-}
[ "$#" -eq 0 ] || shift

case $event in
deploy_challenge) action=create ;;
clean_challenge) action=delete ;;
*) exit 0 ;; # other events, and those to come: nothing to do is no failure
esac
[ "${CHALLENGETYPE-dns-01}" = dns-01 ] || exit 0

fail() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

[ -n "$provider" ] || fail "which provider? Set LEXICON_PROVIDER"

# dns ACTION RECORD ARGUMENT...: sets answer, what lexicon says.
dns() {
	word=$1 name=$2
	shift 2
	answer=$(lexicon --config-dir "$config" "$provider" "$word" "$name" TXT --name="$name." "$@" 2>&1) ||
		fail "lexicon $provider $word $name: $(printf '%s\n' "$answer" | tail -n 1)"
}

# NAME TOKEN VALUE, several times over with HOOK_CHAIN. arid says where the record
# belongs once CNAMEs have been followed; dehydrated does not.
records=${ARID_HOOK_RECORD-}
while [ "$#" -ge 3 ]; do
	record=${records%% *}
	records=${records#"$record"}
	records=${records# }
	record=${record:-_acme-challenge.$1}
	# Only this value: NAME and *.NAME have a record each, under the same name.
	case $action in
	create) dns create "$record" --content="$3" ;;
	delete)
		# Not every provider can be asked to delete what has gone already.
		dns list "$record" --output=TABLE-NO-HEADER
		case $answer in *"$3"*) dns delete "$record" --content="$3" ;; esac
		;;
	esac
	shift 3
done
