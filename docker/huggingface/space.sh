#!/bin/sh
# Puts what a Hugging Face Space needs into FOLDER, a clone of the Space's repository:
#
#   git clone https://huggingface.co/spaces/OWNER/SPACE space
#   sh docker/huggingface/space.sh space
#   cd space && git add -A && git commit -m forkmark && git push
#
# That is this repository as it is committed, with the Dockerfile at its top, where the
# platform looks for it, the README whose first lines the platform reads, and a
# configuration for its proxies. What else was in FOLDER stays.
set -eu
[ $# = 1 ] && [ -d "$1" ] || { echo "usage: sh docker/huggingface/space.sh FOLDER" >&2; exit 2; }
folder=$(cd "$1" && pwd)
cd "$(dirname "$0")/../.."
git archive HEAD | tar -x -C "$folder"
cp docker/Dockerfile "$folder/Dockerfile"
cp docker/huggingface/README.md "$folder/README.md"
cp docker/huggingface/forkmark.conf "$folder/docker/forkmark.conf"
