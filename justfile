# What maintainers run; CONTRIBUTING.md says when. `just` alone lists the recipes.

set shell := ["bash", "-euo", "pipefail", "-c"]

# Tools on the PATH come before those that `just tools` has fetched.
export PATH := env("PATH") + ":" + justfile_directory() + "/target/tools/bin"

[private]
default:
    @"{{ just_executable() }}" --justfile "{{ justfile() }}" --list --unsorted

# Everything that a change has to pass, except the tests
check: format lint doc deny unused spelling msrv

# All tests, with a real mongod and with SQLite; takes minutes
test:
    cargo test --workspace --locked

# The unit tests of the library, without a database; takes seconds
test-fast:
    cargo test --lib --locked

# Eight hosts, killed and stopped at random, for so many minutes
soak minutes="30":
    SOAK_MINUTES={{ minutes }} cargo test --locked --test it soak -- --ignored --nocapture

# Measures by name, or all: idle, backlog, throughput, upload, queries, hosts, indexes; docs/performance.md has the sizes
bench *names="idle backlog throughput upload queries hosts indexes":
    for name in {{ names }}; do cargo bench --locked --bench "$name"; done

# Fuzzes a target, or all of them, until so many inputs have run; an input that fails stays in fuzz/artifacts
[no-exit-message]
fuzz target="all" runs="10000000":
    fuzz/run {{ target }} {{ runs }}

# The platforms' own clients publish to the simulated platforms; needs pip and npm
[no-exit-message]
clients:
    cargo build --locked --quiet -p postretry-sandbox
    tests/clients/run target/debug/postretry-sandbox

# A Mongoose application writes posts and reads them again; takes the MongoDB at `uri`, or starts one; needs npm
[no-exit-message]
mongoose uri="":
    #!/usr/bin/env bash
    set -euo pipefail
    cargo build --locked --quiet -p postretry -p postretry-sandbox
    uri="{{ uri }}"
    if [[ -z $uri ]]; then
        # The tests have fetched a server if there was none.
        mongod=${MONGOD:-$(command -v mongod || echo target/mongod/mongod)}
        data=$(mktemp -d)
        port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
        "$mongod" --bind_ip 127.0.0.1 --port "$port" --dbpath "$data" --nounixsocket > "$data/log" 2>&1 &
        trap 'kill $!; wait $! || true; rm -rf "$data"' EXIT
        uri=mongodb://127.0.0.1:$port
    fi
    tests/mongoose/run target/debug/postretry target/debug/postretry-sandbox "$uri"

# A whole retry pass with an embedded store and simulated platforms
quickstart:
    cargo run --locked --example quickstart

# Generates man/, completions/ and .env.example, and checks the usage text in README.md
man:
    UPDATE_GENERATED=1 cargo test --locked --test it generated

# Draws the picture in README.md from the quickstart's output
picture:
    UPDATE_GENERATED=1 cargo test --locked --test it picture

# Lists what the program is made of (CycloneDX): target/sbom/postretry.cdx.json; `.ci/tools cargo-cyclonedx` fetches the tool
sbom: (need "cargo-cyclonedx")
    #!/usr/bin/env bash
    set -euo pipefail
    cargo metadata --locked --format-version 1 > /dev/null
    # It has no option for another folder, and describes the crates of the tests too.
    cargo cyclonedx --quiet --format json --spec-version 1.5 --target x86_64-unknown-linux-gnu
    rm -f tests/*/*.cdx.json benches/*/*.cdx.json
    mkdir -p target/sbom
    mv ./*.cdx.json target/sbom/postretry.cdx.json
    echo "wrote target/sbom/postretry.cdx.json"

# Builds the Debian package and tries it in a clean root; needs root on Debian 12 and a Debian mirror
[no-exit-message]
package:
    packaging/check.sh

# Fetches the tools of `check` into target/tools, unless they are on the PATH
tools:
    .ci/tools

# Checks the formatting
format:
    cargo fmt --all --check

# Runs clippy on everything, with warnings denied, and checks that the lock file of the fuzz targets is current
lint:
    cargo clippy --workspace --all-targets --locked -- -D warnings
    cargo metadata --locked --format-version 1 --manifest-path fuzz/Cargo.toml > /dev/null

# Builds the documentation of the library, with warnings denied
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked --quiet

# Checks licences, banned crates, sources and, if their database can be downloaded, security advisories
deny: (need "cargo-deny")
    cargo deny --locked --workspace check licenses bans sources
    @if GIT_TERMINAL_PROMPT=0 cargo deny fetch db > /dev/null 2>&1; then \
        echo "cargo deny --locked --workspace check advisories" >&2; \
        cargo deny --locked --workspace check advisories; \
    else \
        echo "advisories NOT CHECKED: cannot download their database from github.com/RustSec/advisory-db" >&2; \
    fi

# Finds dependencies that nothing uses
unused: (need "cargo-machete")
    cargo machete

# Checks the spelling, in British English
spelling: (need "typos")
    typos

# Checks that the oldest Rust that Cargo.toml names is enough
msrv:
    .ci/msrv

# Says what to do where a tool is missing
[no-exit-message]
[private]
need tool:
    @command -v "{{ tool }}" > /dev/null || { \
        echo "\`{{ tool }}\` is not installed: \`just tools\` fetches it into target/tools" >&2; \
        exit 1; \
    }
