# make        ./arid
# make demo   whole issuances on this machine, offline, by all three challenges; leaves nothing behind
# make test   everything; on Debian, as root, it installs what it needs
# make servers certificates into every server that examples/hooks has a hook for; `make test` has two of them
# make stress killed, and the disk failing, at every call; a hundred at once; a year of outages: figures
# make bench  what certificates cost, beside other clients; QUICK=1 for a first look
# make clean

VERSION != git describe --tags --always --dirty 2>/dev/null || echo unknown
RELEASED != git log -1 --format=%ct 2>/dev/null || echo 0
GOBUILD = CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w -X arid/cmd.version=$(VERSION) -X arid/cmd.released=$(RELEASED)'

all:
	$(GOBUILD) -o arid .

# What tests/bats needs: arid, Pebble and the DNS server of its test tools (tool
# lines of go.mod), and programs of our own.
test-tools:
	@mkdir -p build
	$(GOBUILD) -o build/ . ./tests/tools/...
	@tests/tools/build-pebble build

demo:
	@tmp=$$(mktemp -d) && trap 'rm -rf "$$tmp"' EXIT && trap 'exit 1' HUP INT TERM && \
	echo "building arid" && $(GOBUILD) -o "$$tmp/arid" . && \
	env -i PATH="$$tmp:$$PATH" TERM="$$TERM" TMPDIR="$$tmp" tests/demo.sh "$$tmp"

test:
	@tests/run.sh

STRESS = Kill|BadDisk|FullFileSystem|Hundred|Idle|ThirtyDays|Outlive|Instant
stress: test-tools
	@tests/setup.sh
	ARID_TEST_ALL=1 go test -count=1 -timeout 60m -v -run '$(STRESS)' ./certs ./cmd ./renew | grep -E '^ *(---|ok|FAIL|[a-z_]+_test.go:)' | grep -v 'disturbed at'

servers: test-tools
	@tests/setup.sh
	@tests/setup.sh $$(cat tests/servers/packages)
	bats --print-output-on-failure tests/servers

# BENCH takes flags, such as BENCH="--case one,five --client arid,lego".
bench: test-tools
	@tests/bench/setup.sh
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -o build/ ./tests/bench/...
	@build/bench $${QUICK:+--quick} $(BENCH)

clean:
	rm -rf arid build

.PHONY: all test-tools demo test servers stress bench clean
