#!/usr/bin/env bats
# What arid does under dehydrated's name is what dehydrated does: the same calls
# of hooks, with the same arguments, environment and files in sight; the same
# streams, statuses and trees. Debian's dehydrated plays each scenario beside it.
# How that is done stands in transcript.bash; where arid is meant to differ, in
# transcript-repairs.txt.

# shellcheck disable=SC2030,SC2031  # a test, and a play, is in a subshell

load helper
load transcript

setup_file() {
  make_mutants
  setup_transcript
}
teardown_file() { stop_all; }

dns() { printf '%s\n' "$DNS_MGMT" >"$RECORD/txt"; config CHALLENGETYPE=dns-01 "$@"; }

# --- issued

scenario_http_one() { domains "a.$D"; invoke -c; }
@test "http-01, one name" { same http_one; }

scenario_http_two() { domains "a.$D b.$D"; invoke -c; }
@test "http-01, two names" { same http_two; }

scenario_dns() { dns; domains "a.$D *.a.$D b.$D"; invoke -c; }
@test "dns-01, apex and wildcard and another" { same dns; }

scenario_dns_chain() { dns HOOK_CHAIN=yes; domains "a.$D *.a.$D b.$D"; invoke -c; }
@test "dns-01 with HOOK_CHAIN" { same dns_chain; }

scenario_http_chain() { config HOOK_CHAIN=yes; domains "a.$D b.$D"; invoke -c; }
@test "http-01 with HOOK_CHAIN" { same http_chain; }

scenario_alpn() { config CHALLENGETYPE=tls-alpn-01; domains "a.$D b.$D"; invoke -c; }
@test "tls-alpn-01" { same alpn; }

scenario_no_hook() { config HOOK=; domains "a.$D b.$D"; invoke -c; invoke -c; }
@test "without a hook" { same no_hook; }

scenario_two_certificates() { domains "a.$D" "b.$D c.$D"; invoke -c; }
@test "two certificates" { same two_certificates; }

# used_again: a CA that asks nothing of a name whose authorization is valid still.
used_again() {
  config "CA=$DIRECTORY_REUSE"
  invoke --register --accept-terms
}

scenario_again() {
  used_again
  domains "a.$D"
  invoke -c
  invoke -c -x
}
@test "renewed" { same again; }

# --- not due, or due because of its names

scenario_unchanged() { certificate; domains "${OLD[*]}" "a.$D"; invoke -c; }
@test "two certificates of which one is unchanged" { same unchanged; }

scenario_unchanged_stale() { certificate; domains "a.$D" "${OLD[*]}"; invoke -c; }
@test "an unchanged certificate after one that was issued" { same unchanged_stale; }

scenario_nothing_due() { certificate; domains "${OLD[1]} ${OLD[0]} > ${OLD[0]}"; invoke -c; }
@test "nothing is due" { same nothing_due; }

scenario_changed_names() { certificate; domains "a.$D ${OLD[0]} > ${OLD[0]}"; config CHALLENGETYPE=dns-01; fails deploy_challenge; invoke -c; }
@test "the names have changed" { same changed_names; }

scenario_due() { certificate; config RENEW_DAYS=100 CHALLENGETYPE=dns-01; fails deploy_challenge; domains "${OLD[*]}"; invoke -c; }
@test "the certificate is due" { same due; }

scenario_forced() { certificate; config CHALLENGETYPE=dns-01; fails deploy_challenge; domains "${OLD[*]}"; invoke -c -x; }
@test "the certificate is not due, and forced" { same forced; }

# --- names, aliases, settings

scenario_alias() { dns; domains "*.a.$D a.$D > Wild" "b.$D >b"; invoke -c; }
@test "aliases" { same alias; }

scenario_wildcard_without_alias() { dns; domains "a.$D" "*.b.$D"; invoke -c; }
@test "a wildcard without an alias" { same wildcard_without_alias; }

scenario_per_certificate() {
  mkdir -p "$BASE/certs/a.$D" "$BASE/wellknown2"
  printf '%s\n' KEY_ALGO=secp384r1 HOOK_CHAIN=yes "CONTACT_EMAIL=nobody@$D" "WELLKNOWN=$BASE/wellknown" 'export CHILD=1' \
    PRIVATE_KEY_ROLLOVER=no >"$BASE/certs/a.$D/config"
  config "WELLKNOWN=$BASE/wellknown2" "PRIVATE_KEY_RENEW=no"
  domains "a.$D b.$D" "${OLD[*]}"
  certificate
  invoke -c -a rsa
}
@test "a certificate's own config" { same per_certificate; }

scenario_domains_d() {
  dns
  mkdir -p "$BASE/certs/a" "$BASE/d"
  printf 'CHALLENGETYPE=tls-alpn-01\n' >"$BASE/certs/a/config"
  # shellcheck disable=SC2016  # the config's
  printf 'if [ "$alias" = a ]; then HOOK_CHAIN=$(printf yes); fi\n' >"$BASE/d/a"
  # shellcheck disable=SC2016
  config 'DOMAINS_D="${BASEDIR}/d"'
  domains "a.$D b.$D > a"
  invoke -c
}
@test "DOMAINS_D" { same domains_d; }

scenario_command_line() {
  domains "unused.$D"
  invoke -c -d "a.$D" -d "B.$D" -x --alias both -a rsa -o "$BASE/elsewhere"
}
@test "-d with -x, --alias, -a and -o" { same command_line; }

scenario_one_domain() { certificate; domains "a.$D"; invoke -c -d "${OLD[*]}"; }
@test "-d with a certificate that is there" { same one_domain; }

scenario_relative() { domains "a.$D"; (cd "$R/cwd" && ln -s ../base here); invoke -c --config here/config; }
@test "a config with a relative path" { same relative; }

scenario_config_d() {
  mkdir "$BASE/conf.d"
  printf 'export FROM_CONF_D=yes\nHOOK_CHAIN=yes\n' >"$BASE/conf.d/b.sh"
  printf 'export FROM_CONF_D=no\n' >"$BASE/conf.d/a.sh"
  printf 'exit 3\n' >"$BASE/conf.d/ignored"
  # shellcheck disable=SC2016
  config 'CONFIG_D=${BASEDIR}/conf.d'
  domains "a.$D b.$D"
  invoke -c
}
@test "CONFIG_D" { same config_d; }

scenario_umask() { config 'umask 027'; domains "a.$D"; invoke -c; }
@test "a umask of the config's" { same umask; }

# --- failed challenges

scenario_invalid_http() { echo 0 >"$RECORD/spoil"; domains "a.$D"; invoke -c; }
@test "http-01 fails" { same invalid_http; }

scenario_invalid_first() { echo 0 >"$RECORD/spoil"; domains "a.$D b.$D" "c.$D"; invoke -c; }
@test "the first challenge of two fails, and the run ends" { same invalid_first; }

scenario_invalid_second() { echo 1 >"$RECORD/spoil"; domains "a.$D b.$D" "c.$D"; invoke -c; }
@test "the second challenge of two fails" { same invalid_second; }

scenario_invalid_keep_going() { dns; echo 0 >"$RECORD/spoil"; domains "a.$D b.$D"; invoke -c -g; }
@test "a challenge fails with -g" { same invalid_keep_going; }

scenario_invalid_keep_going_more() { echo 1 >"$RECORD/spoil"; domains "a.$D b.$D" "${OLD[*]}"; certificate; invoke -c --keep-going; }
@test "a challenge fails with -g, and the next certificate is unchanged" { same invalid_keep_going_more; }

scenario_invalid_chain() { dns HOOK_CHAIN=yes; echo 1 >"$RECORD/spoil"; domains "a.$D b.$D"; invoke -c; }
@test "a challenge fails with HOOK_CHAIN" { same invalid_chain; }

scenario_alpn_invalid() { config CHALLENGETYPE=tls-alpn-01; echo 1 >"$RECORD/spoil"; domains "a.$D b.$D"; invoke -c; }
@test "tls-alpn-01 fails" { same alpn_invalid; }

scenario_not_offered() { domains "*.a.$D > wild"; invoke -c; }
@test "http-01 for a wildcard" { same not_offered; }

# --- failed requests

scenario_refused() { domains "a.refused.test" "a.$D"; invoke -c; }
@test "an order is refused, and the run ends" { same refused; }

scenario_refused_keep_going() { domains "a.$D" "a.refused.test" "b.$D c.$D"; invoke -c -g; }
@test "an order is refused with -g" { same refused_keep_going; }

scenario_refused_one_domain() { invoke -c -d "a.refused.test"; }
@test "an order is refused with -d" { same refused_one_domain; }

scenario_no_directory() { config "CA=$DIRECTORY/nothing"; domains "a.$D"; invoke -c --accept-terms; }
@test "the directory is not there" { same no_directory; }

scenario_nobody_answers() { config "CA=https://127.0.0.1:$TLS_PORT/dir"; domains "a.$D"; invoke -c; }
@test "the CA cannot be trusted" { same nobody_answers; }

# --- failing hooks

PROBE=this_hookscript_is_broken__dehydrated_is_working_fine__please_ignore_unknown_hooks_in_your_script

scenario_hook_probe() { fails "$PROBE"; domains "a.$D"; invoke -c; }
@test "a hook that fails unknown operations" { same hook_probe; }

scenario_hook_startup() { fails startup_hook; domains "a.$D"; invoke -c; }
@test "startup_hook fails" { same hook_startup; }

scenario_hook_generate_csr() { fails generate_csr; domains "a.$D" "b.$D"; invoke -c -g; }
@test "generate_csr fails, with -g" { same hook_generate_csr; }

scenario_hook_deploy_challenge() { fails deploy_challenge; domains "a.$D" "b.$D"; invoke -c; }
@test "deploy_challenge fails" { same hook_deploy_challenge; }

scenario_hook_deploy_challenge_two() { fails deploy_challenge; domains "a.$D b.$D"; invoke -c; }
@test "deploy_challenge fails on the first of two" { same hook_deploy_challenge_two; }

scenario_hook_deploy_challenge_chain() { config HOOK_CHAIN=yes CHALLENGETYPE=tls-alpn-01; fails deploy_challenge; domains "a.$D b.$D"; invoke -c; }
@test "deploy_challenge fails with HOOK_CHAIN" { same hook_deploy_challenge_chain; }

scenario_hook_clean_challenge() { fails clean_challenge; domains "a.$D b.$D"; invoke -c; }
@test "clean_challenge fails" { same hook_clean_challenge; }

scenario_hook_invalid_challenge() { fails invalid_challenge; echo 0 >"$RECORD/spoil"; domains "a.$D b.$D"; invoke -c; }
@test "invalid_challenge fails" { same hook_invalid_challenge; }

scenario_hook_request_failure() { fails request_failure; domains "a.refused.test"; invoke -c; }
@test "request_failure fails" { same hook_request_failure; }

scenario_hook_sync_cert() { fails sync_cert; domains "a.$D"; invoke -c; }
@test "sync_cert fails" { same hook_sync_cert; }

scenario_hook_deploy_cert() { fails deploy_cert; domains "a.$D" "b.$D"; invoke -c; fails none; invoke -c -d "a.$D"; }
@test "deploy_cert fails, and then again nothing does" { same hook_deploy_cert; }

scenario_hook_deploy_cert_keep_going() { fails deploy_cert; domains "a.$D" "${OLD[*]}"; certificate; invoke -c -g; }
@test "deploy_cert fails with -g" { same hook_deploy_cert_keep_going; }

scenario_hook_unchanged_cert() { fails unchanged_cert; certificate; domains "${OLD[*]}" "a.$D"; invoke -c -g; }
@test "unchanged_cert fails, with -g" { same hook_unchanged_cert; }

scenario_hook_exit() { fails exit_hook; certificate; domains "${OLD[*]}"; invoke -c; }
@test "exit_hook fails" { same hook_exit; }

scenario_hook_exit_after_failure() { fails exit_hook; domains "a.refused.test"; invoke -c; }
@test "exit_hook fails after a failure" { same hook_exit_after_failure; }

scenario_hook_on_terminal() { touch "$RECORD/ask"; certificate; domains "${OLD[*]}"; printf 'one\ntwo\n%.0s' 1 2 3 4 5 6 7 8 >"$RECORD/typed"; TERMINAL=yes invoke -c; }
@test "a hook that asks on the terminal" { same hook_on_terminal; }

scenario_hook_in_path() {
  mkdir "$R/bin"
  cp "$BATS_TEST_DIRNAME/recorder" "$R/bin/our-hook"
  certificate
  domains "${OLD[*]}"
  PATH=$R/bin:$PATH invoke -c -k our-hook
}
@test "a hook that is found by PATH" { same hook_in_path; }

scenario_hook_megabyte() { echo 1000000 >"$RECORD/big"; domains "a.$D"; invoke -c; }
@test "a hook that prints a megabyte" { same hook_megabyte; }

# --- CSRs

request() {
  local name sans=
  for name; do sans+=,DNS:$name; done
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$R/own.key" -subj "/CN=$1" \
    -addext "subjectAltName=${sans#,}" 2>/dev/null
}

scenario_csr_from_hook() {
  request "csr.$D" "other.$D" >"$RECORD/csr"
  domains "a.$D b.$D"
  invoke -c
  invoke -c
}
@test "generate_csr prints a CSR" { same csr_from_hook; }

scenario_signcsr() { request "a.$D" "b.$D" >"$R/a.csr"; invoke --signcsr "$R/a.csr"; }
@test "--signcsr" { same signcsr; }

scenario_signcsr_dns() { dns HOOK_CHAIN=yes; request "a.$D" "*.a.$D" >"$R/a.csr"; invoke -s "$R/a.csr" -d "ignored.$D"; }
@test "--signcsr with dns-01 and HOOK_CHAIN" { same signcsr_dns; }

scenario_signcsr_refused() { request "a.refused.test" >"$R/a.csr"; invoke -s "$R/a.csr"; }
@test "--signcsr of what is refused" { same signcsr_refused; }

scenario_signcsr_invalid() { echo 0 >"$RECORD/spoil"; request "a.$D" >"$R/a.csr"; invoke -s "$R/a.csr"; }
@test "--signcsr with a challenge that fails" { same signcsr_invalid; }

scenario_signcsr_missing() { invoke -s "$R/a.csr"; }
@test "--signcsr of a file that is not there" { same signcsr_missing; }

# --- what asks no CA

# older: a set of files more, that nothing leads to.
older() {
  local file
  certificate
  for file in "$BASE/certs/${OLD[0]}"/*-[0-9]*; do
    cp -a "$file" "${file%-*}-1500000000.${file##*.}"
  done
  cp -a "$BASE/certs/${OLD[0]}/cert-1500000000.pem" "$BASE/certs/${OLD[0]}/cert-1400000000.pem-revoked"
  printf '%s\n' "1500000000 T-old" "1400000000 T-older" >>"$R/times"
}

scenario_cleanup() { older; invoke --cleanup; invoke -gc; }
@test "--cleanup" { same cleanup; }

scenario_cleanup_delete() { older; invoke -gcd; }
@test "--cleanup-delete" { same cleanup_delete; }

scenario_cleanup_broken() { older; rm "$BASE/certs/${OLD[0]}"/cert-1[67]*.pem; invoke -gc; }
@test "--cleanup where a link leads nowhere" { same cleanup_broken; }

scenario_auto_cleanup() { older; config AUTO_CLEANUP=yes; domains "${OLD[*]}"; invoke -c; }
@test "AUTO_CLEANUP" { same auto_cleanup; }

scenario_env() { config "CONTACT_EMAIL=somebody@$D" 'export DOMAINS_D="/a b/\"$"'; invoke --env; }
@test "--env" { same env; }

# --- before there is anything to do

scenario_register() {
  rm -rf "$BASE/accounts"
  invoke --register
  invoke --register --accept-terms
  invoke --register
}
@test "--register" { same register; }

scenario_no_account() { rm -rf "$BASE/accounts"; domains "a.$D"; invoke -c; }
@test "no account yet" { same no_account; }

scenario_first_run() { rm -rf "$BASE/accounts"; domains "a.$D"; invoke -c --accept-terms; }
@test "account and certificate at once" { same first_run; }

scenario_preferred_chain() { config 'PREFERRED_CHAIN="No Such Root"'; domains "a.$D" "b.$D"; invoke -c; }
@test "a preferred chain that the CA does not have" { same preferred_chain; }

scenario_half_eab() { config EAB_KID=kid; domains "a.$D"; invoke -c; config EAB_KID= EAB_HMAC_KEY=c2VjcmV0; invoke -c -x; }
@test "half of an external account binding" { same half_eab; }

scenario_half_eab_first() { rm -rf "$BASE/accounts"; config EAB_KID=kid; domains "a.$D"; invoke -c --accept-terms; }
@test "half of an external account binding, and no account yet" { same half_eab_first; }

scenario_locked() { date >"$BASE/lock"; domains "a.$D"; invoke -c; }
@test "a lock is there" { same locked; }

scenario_lock_suffix() { date >"$BASE/lock"; certificate; domains "${OLD[*]}"; invoke -c --lock-suffix x; invoke -c -n; }
@test "another lock, or none" { same lock_suffix; }

scenario_no_domains() { invoke -c; }
@test "no domains.txt" { same no_domains; }

scenario_no_config() { invoke -c --config "$BASE/nothing"; }
@test "the config is not there" { same no_config; }

scenario_config_exits() { config 'exit 3'; invoke -c; }
@test "the config ends the program" { same config_exits; }

scenario_bad_setting() { config 'CHALLENGETYPE=http-02'; invoke -c; }
@test "a setting that is not possible" { same bad_setting; }

scenario_no_wellknown() { domains "a.$D"; config 'WELLKNOWN=/nonexistent'; invoke -c; }
@test "no WELLKNOWN" { same no_wellknown; }

scenario_force_validation() { invoke -c --force-validation; }
@test "--force-validation alone" { same force_validation; }

scenario_two_commands() { invoke -c --env; }
@test "two commands" { same two_commands; }

# --- authorizations that are valid already

scenario_reuse() {
  used_again
  domains "a.$D" "a.$D b.$D > both" "b.$D a.$D > none"
  invoke -c
}
@test "an authorization is valid still, then all of them" { same reuse; }

# --- revoked

scenario_revoke() {
  used_again
  domains "a.$D"
  invoke -c
  invoke --revoke "$BASE/certs/a.$D/cert.pem"
  invoke -c
}
@test "--revoke, and again a certificate" { same revoke; }

# --- the harness itself

# mutant NAME SED: a dehydrated that differs, for the scenario of that name.
mutant() {
  mkdir -p "$T/mutants"
  sed -E "$2" "$(command -v dehydrated)" >"$T/mutants/$1"
  chmod +x "$T/mutants/$1"
  ! cmp -s "$T/mutants/$1" "$(command -v dehydrated)" || fail "the mutant $1 is none"
}

make_mutants() {
  mutant mutant_order '/^command_sign_domains/,/^}/{/^  hookscript_bricker_hook/d;/"startup_hook"/a hookscript_bricker_hook
}'
  mutant mutant_stream 's/echo "Processing .*/& >\&2/'
  mutant mutant_environment 's/export WELLKNOWN CHALLENGETYPE KEY_ALGO /export WELLKNOWN KEY_ALGO /'
  mutant mutant_argument 's/("unchanged_cert" .*) "\$\{certdir\}\/chain.pem"/\1/'
  # shellcheck disable=SC2016
  mutant mutant_value 's/(keyauth_hook="\$\{keyauth\})"/\1x"/'
  mutant mutant_files 's/^umask 077/umask 027/'
}

quick() { certificate; domains "${OLD[*]}"; invoke -c; }
scenario_mutant_order() { quick; }
scenario_mutant_stream() { quick; }
scenario_mutant_environment() { quick; }
scenario_mutant_argument() { quick; }
scenario_mutant_value() { domains "a.$D"; invoke -c; }
scenario_mutant_files() { quick; }

# tells NAME LINE...: the harness shows such differences.
tells() {
  local name=$1 line
  shift
  await_play "$name"
  repaired "$name" <"$FILE_T/plays/$name/theirs/transcript" >"$FILE_T/plays/$name/expected"
  run -0 differences "$FILE_T/plays/$name/expected" "$FILE_T/plays/$name/ours/transcript"
  for line; do
    [[ $'\n'$output$'\n' == *$'\n'"$line"$'\n'* ]]
  done
}

@test "of a program that is not the same, it is seen" {
  tells mutant_order "-call startup_hook" "+call startup_hook"
  tells mutant_stream "-  Processing ${OLD[0]} with alternative names: ${OLD[1]}" "+  Processing ${OLD[0]} with alternative names: ${OLD[1]}"
  tells mutant_environment "-  env CHALLENGETYPE=http-01" "+  env CHALLENGETYPE is not there"
  tells mutant_argument "-  argc 5" "+  argc 4" "-  arg 5| <base>/certs/${OLD[0]}/chain.pem"
  tells mutant_files "-  umask 0077" "+  umask 0027"
  tells mutant_value "-  arg 3| <key authorization 1>" "+  arg 3| <key authorization 1>x"
}

@test "every repair has its reason, and its scenario" {
  local line reason=yes pattern patterns name found
  while IFS= read -r line; do
    case $line in
      "["*"]")
        [ "$reason" = yes ] || fail "no reason before $line"
        reason=no
        read -ra patterns <<<"${line//[\[\]]/}"
        for pattern in "${patterns[@]}"; do
          found=no
          for name in $(scenarios); do
            # shellcheck disable=SC2053  # a pattern
            [[ $name != $pattern ]] || found=yes
          done
          [ "$found" = yes ] || fail "no scenario $pattern"
        done
        ;;
      "# "*) reason=yes ;;
      "sed "* | "both "* | "@@ "* | [-+]* | "" | "#") ;;
      *) fail "what is this? $line" ;;
    esac
  done <"$REPAIRS"
  [ "$reason" = yes ]
}

@test "every general repair is seen somewhere" {
  local line transcript found
  [ -z "${TRANSCRIPT_ONLY:-}" ] || skip "not everything was played"
  while IFS= read -r line; do
    [[ $line == "sed "* || $line == "both "* ]] || continue
    found=no
    for transcript in "$FILE_T"/plays/*/theirs/transcript; do
      if ! blanks <"$transcript" | sed -E "${line#* }" | cmp -s - <(blanks <"$transcript"); then
        found=yes
        break
      fi
    done
    [ "$found" = yes ] || fail "nothing for: $line"
  done <"$REPAIRS"
}
