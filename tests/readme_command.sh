#!/usr/bin/env bash
# Runs one of the README's commands word for word: `readme_command.sh fly` or `tests`. What is printed there is what runs here.
set -euo pipefail
cd "$(dirname "$0")/.."
command=$(sed -n "/<!-- command: $1 -->/,/^\`\`\`\$/p" README.md | sed '1,/^```/d; /^```$/d')
[ -n "$command" ] || { echo "README.md has no command marked '$1'" >&2; exit 2; }
bash -euo pipefail -c "$command"
