# Set by the administrator.
CONTACT_EMAIL=hostmaster@example.org
export DNS_TOKEN="$(printf '%s' abc)"
HOOK=${BASEDIR}/hook.sh
