# Names for what scripts do; the scripts are the truth.
.PHONY: run test check lint bench fuzz faults

# The demo: a server on http://127.0.0.1:8000 with live feeds and a page.
run:
	go run ./cmd/myelin demo

# Every test. One step of it: tools/test.sh unit|race|e2e|js|dist
test:
	@tools/test.sh

# What must hold before a change lands, the tests included.
check:
	@.ci/run

lint:
	@tools/lint.sh

# The benchmarks of the parts. bench/compare.sh measures the whole against a peer.
bench:
	@tools/bench.sh

# Every fuzzer for 10 seconds, or FUZZTIME=1m make fuzz.
fuzz:
	@tools/fuzz.sh

# Faults under load for a minute each, about half an hour, and docs/faults.md from
# what they measure. MYELIN_FAULT_SECONDS=10 make faults is shorter.
faults:
	cd e2e && MYELIN_FAULT_SECONDS=$${MYELIN_FAULT_SECONDS:-60} go test -count=1 -timeout 2h -v ./faults -update
