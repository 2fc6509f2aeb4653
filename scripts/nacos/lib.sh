# Sourced by start, stop and wipe: where things are, and which process is ours.
# It must never touch a process that the home's pid file does not name.

default_home="${XDG_STATE_HOME:-$HOME/.local/state}/nacos-mcp-proxy/nacos"

say() { printf '%s\n' "nacos: $*" >&2; }
die() { say "$*"; exit 1; }

random_hex() { od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'; }

# command_line PID: the process's arguments in one line; empty if there is no such process.
command_line() {
  if [ -r "/proc/$1/cmdline" ]; then
    tr '\0' ' ' <"/proc/$1/cmdline"
  else
    ps -ww -p "$1" -o args= 2>/dev/null || true
  fi
}

# running_pid HOME: prints the pid of the Nacos of this home, or fails. A pid file left behind by a kill, or a
# pid that another program has by now, does not count: the command line must name the very home.
running_pid() {
  local pid
  [ -s "$1/nacos.pid" ] || return 1
  pid=$(cat "$1/nacos.pid")
  case "$pid" in '' | *[!0-9]*) return 1 ;; esac
  kill -0 "$pid" 2>/dev/null || return 1
  case "$(command_line "$pid")" in *"-Dnacos.home=$1 "*) printf '%s\n' "$pid" ;; *) return 1 ;; esac
}

# absolute DIR: the same directory, spelled one way, made if missing.
absolute() { mkdir -p "$1" && (cd "$1" && pwd -P); }

# end_nacos HOME: asks, waits up to 15 s, then insists.
end_nacos() {
  local pid i
  if pid=$(running_pid "$1"); then
    kill "$pid" 2>/dev/null || true
    for ((i = 0; i < 150; i++)); do
      running_pid "$1" >/dev/null || break
      [ $((i % 30)) -eq 29 ] && say "waiting for $pid to end"
      sleep 0.1
    done
    if running_pid "$1" >/dev/null; then
      say "$pid does not end, killing it"
      kill -9 "$pid" 2>/dev/null || true
    fi
    say "stopped ($pid)"
  else
    say "not running"
  fi
  rm -f "$1/nacos.pid"
}
