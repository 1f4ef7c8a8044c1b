#!/bin/sh
# Writes what arid knows of its certificates for Prometheus, by way of the textfile
# collector of its node exporter. Needs jq. Called now and then, as by cron:
#
#   */5 * * * *  root  prometheus-textfile.sh /var/lib/prometheus/node-exporter/arid.prom
#
# The file is replaced whole. If arid fails it stays as it was, and
# arid_status_timestamp_seconds tells how old it is. Alerts to begin with:
#
#   arid_certificate_spent_ratio > 0.8
#   arid_certificate_state{state!~"ok|due|held"} == 1
#   time() - arid_status_timestamp_seconds > 3600
set -eu

file=${1:?the file to write, such as arid.prom}

# Not *.prom, which the collector would read half-written.
new=$(mktemp "$(dirname -- "$file")/.arid.XXXXXX")
trap 'rm -f -- "$new"' EXIT
trap 'exit 1' HUP INT TERM

status=$(arid status --json)
printf '%s\n' "$status" | jq -rs '
	# Names and issuers come from elsewhere: these three characters have a meaning.
	def quoted: gsub("\\\\"; "\\\\") | gsub("\""; "\\\"") | gsub("\n"; "\\n") | "\"\(.)\"";
	def labels: to_entries | map("\(.key)=\(.value | quoted)") | join(",") | "{\(.)}";
	def gauge($name; $help): "# HELP arid_\($name) \($help)", "# TYPE arid_\($name) gauge";
	# One gauge: a line for each certificate where value has one.
	def each($name; $help; value; more): gauge("certificate_" + $name; $help),
		(.[] | (value | values) as $v | "arid_certificate_\($name)\({name} + more | labels) \($v)");
	def each($name; $help; value): each($name; $help; value; {});
	def epoch: values | fromdate;

	if any(.[]; .schema != 1) then error("a schema that this does not know") else . end
	| each("not_before_seconds"; "Begin of its life, in seconds since 1970."; .not_before | epoch),
	each("not_after_seconds"; "End of its life, in seconds since 1970."; .not_after | epoch),
	each("spent_ratio"; "Share of its lifetime that is over."; .spent),
	each("next_seconds"; "When arid can do something for it, in seconds since 1970."; .next | epoch),
	each("failures"; "Failed attempts since the last success."; .failures),
	each("state"; "1 for the state that it is in."; 1; {state}),
	each("info"; "1, with its issuer."; 1; {issuer: (.issuer // ""), ca: (.ca // "")}),
	gauge("status_timestamp_seconds"; "When this was written, in seconds since 1970."),
	"arid_status_timestamp_seconds \(now | floor)"' >"$new"

chmod 644 "$new"
mv -f -- "$new" "$file"
