# Sourced by the scripts beside it.

# free_ports prints two ports P and C such that P-1000, P, P+1000, P+1001 (Nacos) and C (its console) are free now.
free_ports() {
  local p c
  while :; do
    p=$((20000 + RANDOM % 8000))
    c=$((p + 2000))
    port_free $((p - 1000)) && port_free "$p" && port_free $((p + 1000)) && port_free $((p + 1001)) && port_free "$c" && break
  done
  echo "$p" "$c"
}

# port_free tells whether nobody listens on a port of this machine.
port_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# c_compiler sees that there is one, which the race detector needs (Go then says CGO_ENABLED=1 by itself).
c_compiler() {
  [ "$(go env CGO_ENABLED)" != 1 ] || return 0
  command -v gcc >/dev/null || scripts/packages gcc libc6-dev || return 1
  [ "$(go env CGO_ENABLED)" = 1 ] || {
    echo "the race detector needs a C compiler, and CGO_ENABLED not to be 0" >&2
    return 1
  }
}
