# Everything that people and CI do here. `make` or `make help` lists it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
BIN := bin/nacos-mcp-proxy
# Releases are compiled by a profile of the proxy at work. Everything is compiled for it alone, which takes minutes the first
# time: PGO=off where that matters more than speed.
PGO ?= cmd/nacos-mcp-proxy/proxy.pgo
# Without the request traces of gRPC, which nobody reads here and which bring in an HTML template engine: 3 MB less.
TAGS ?= grpcnotrace
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
GOFILES := $(shell git ls-files -co --exclude-standard '*.go' 2>/dev/null)

.PHONY: help
help: ## list these targets
	@awk -F':.*## ' '/^[a-zA-Z0-9_-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/nacos-mcp-proxy, which needs no C library
	CGO_ENABLED=0 go build -tags '$(TAGS)' -pgo=$(PGO) -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/nacos-mcp-proxy

.PHONY: run
run: ## start the proxy with its example and a demo backend; prints a curl line that works
	@scripts/run

.PHONY: test
test: ## run all tests, with the race detector and on a real Nacos that it starts and ends
	@scripts/test

.PHONY: quick
quick: ## run the tests that need no Nacos
	NMP_TEST_NACOS=off go test -count=1 ./...

.PHONY: full
full: lint bench-allocs test conformance e2e ## everything CI runs

.PHONY: lint
lint: ## gofmt, go vet (also for Windows and macOS), staticcheck, advisories, licenses, shell syntax
	@scripts/lint

.PHONY: notice
notice: ## collect the licenses of what is linked in NOTICE
	@go run ./scripts/licenses --write

.PHONY: advisories
advisories: ## hold go.mod to known advisories (ARGS="--keep DIR": renew the list from a clone of golang/vulndb)
	@go run ./scripts/advisories $(ARGS)

.PHONY: fmt
fmt: ## format the code
	gofmt -w $(GOFILES)

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (default 20s) each; CI takes 1s
	@scripts/fuzz

.PHONY: nacos
nacos: ## start a real Nacos and print its console's URL and login
	@scripts/nacos/start --auth

.PHONY: bench
bench: ## measure against a baseline in the same run
	@scripts/bench $(ARGS)

.PHONY: bench-peers
bench-peers: ## measure against other MCP proxies, which it installs from their registries
	@scripts/bench-peers $(ARGS)

.PHONY: bench-allocs
bench-allocs: ## run the micro-benchmarks and fail where one allocates more than it did
	@scripts/bench-allocs $(ARGS)

.PHONY: bench-scale
bench-scale: ## ready times, memory and the cost of an edit with 10,000 services (SCALE)
	@scripts/bench-scale

.PHONY: soak
soak: ## hurt Nacos, the connection and the proxy at random for SOAK_TIME (default 10m)
	@scripts/soak

.PHONY: robust
robust: ## random schedules against a model: ROBUST_SCHEDULES (10000) in virtual time, ROBUST_REAL (30) on a real Nacos
	@scripts/robust $(ARGS)

.PHONY: conformance
conformance: ## the official MCP conformance suite, direct and through the proxy
	@scripts/conformance

.PHONY: e2e
e2e: ## end-to-end tests with real clients against a real Nacos (ARGS for go test)
	@scripts/e2e $(ARGS)

.PHONY: more
more: ## what takes minutes: a cluster of three Nacos whose members are killed, Nacos 2.x, TLS of Nacos itself
	NMP_TEST_MORE=1 go test -count=1 -timeout 30m -v -run 'TestA04_MembersOfAClusterDie|TestNacos2|TestTLSOfNacosItself' ./nacos ./internal/e2e
