# make run     set up, build, and show the main job on a real model
# make test    everything that CI checks; needs no GPU
# make soak    the long forms of the tests
# make certify check all kernels that changed, without a GPU, and write their certificates
# make bench   Go benchmarks, and decode speed against mlx-lm (docs/BENCHMARKS.md)
# make build   bin/zmlx-rewrite, with the MLX engine
# make wheel   wheels of the Python package, with the program in them, into dist/
# make moe     SmolLM2 as a mixture of experts, into .cache/models
# make setup   MLX and the model, into .cache/ (MLX_BACKEND=cuda for NVIDIA GPUs)
# make fuzz    every fuzz target for FUZZTIME each
# make fmt     gofmt
# make clean   remove what make build wrote; `rm -rf .cache` undoes the set-up

SHELL    := bash
FUZZTIME ?= 5s
GOFILES   = $(shell git ls-files -co --exclude-standard '*.go')

# Written by scripts/setup-mlx.sh: CGO_CFLAGS, CGO_CXXFLAGS, CGO_LDFLAGS with an rpath,
# and ZMLX_KERNELS.
-include .cache/mlx/env.mk

.PHONY: moe help setup setup-mlx setup-model setup-oracle setup-tools setup-test build run test soak certify bench fuzz fmt clean
help:
	@sed -n 's/^# //p' Makefile | sed '/^Written/,$$d'

setup: setup-mlx setup-model

SMOLLM2 = .cache/models/SmolLM2-135M-Instruct/SmolLM2-135M-Instruct.Q4_1.gguf
moe:
	@scripts/setup-model.sh
	@go run ./scripts/upcycle $(SMOLLM2) .cache/models/SmolLM2-135M-MoE

# The variables of env.mk are read when make starts, so what needs them runs in a
# make of its own, after the set-up ($(MAKE) with-…).
setup-mlx:
	@scripts/setup-mlx.sh

# Downloads wait for the network, and the build for the processor.
setup-test:
	@$(MAKE) --no-print-directory -j4 setup-mlx setup-model setup-oracle setup-tools
setup-model setup-oracle setup-tools:
	@scripts/$@.sh

build: setup-mlx
	@$(MAKE) --no-print-directory with-build
with-build:
	@mkdir -p bin
	go build -tags mlx -o bin/zmlx-rewrite ./cmd/zmlx-rewrite
	@scripts/build-kernels.sh

run: setup
	@$(MAKE) --no-print-directory with-build
	@if [ -x scripts/demo.sh ]; then scripts/demo.sh; else bin/zmlx-rewrite version; fi

test: setup-test
	@$(MAKE) --no-print-directory with-test

soak: setup-test
	@$(MAKE) --no-print-directory with-soak

# Each step is one line of the closing summary; all steps run even if one fails.
.PHONY: with-build with-test with-soak
with-test:
	@scripts/build-kernels.sh
	@scripts/check.sh test
with-soak:
	@scripts/build-kernels.sh
	@scripts/check.sh soak

certify: setup-test
	go run ./cmd/zmlx-rewrite kernels check --cases 200 --cuda-types 2 --certify kernels/certificates.json

.PHONY: wheel
wheel: setup-mlx
	@$(MAKE) --no-print-directory with-wheel
.PHONY: with-wheel
with-wheel:
	@mkdir -p bin
	@scripts/build-kernels.sh
	scripts/make_wheel.py

bench: setup-test
	@$(MAKE) --no-print-directory with-bench
.PHONY: with-bench
with-bench: with-build
	go test -run '^$$' -bench 'Qwen3MoE|Scale' ./rewrite
	go test -run '^$$' -bench Graph ./graph
	go test -run '^$$' -bench SmolLM2 -tags mlx ./engine/mlx ./models
	.cache/oracle/venv/bin/python scripts/bench/decode_vs_mlxlm.py

fuzz:
	@scripts/fuzz.sh $(FUZZTIME)

fmt:
	gofmt -w $(GOFILES)

clean:
	rm -rf bin dist
