#!/usr/bin/env bash
# The main job on a real model: what the rules do to SmolLM2 and to Qwen3-30B-A3B,
# an answer by the rewritten model, and the proof that its tokens are the same.
# `make run` calls it after the set-up and the build.
set -euo pipefail
cd "$(dirname "$0")/.."

model=.cache/models/SmolLM2-135M-Instruct/SmolLM2-135M-Instruct.Q4_1.gguf
run() {
	printf '\n$ zmlx-rewrite'
	for arg; do
		case $arg in
		*\ *) printf ' "%s"' "$arg" ;;
		*) printf ' %s' "$arg" ;;
		esac
	done
	echo
	bin/zmlx-rewrite "$@"
}

run apply --model "$model" --profile smollm2 --dims batch=1,seq_len=1
run apply --model Qwen3-30B-A3B-4bit --profile qwen3 --dims batch=1,seq_len=1
run generate --model "$model" --prompt "Why is the sky blue?" --max-tokens 48
run validate "$model" --prompt "What is the capital of France?" --prompt "Name three colours." --max-tokens 24
