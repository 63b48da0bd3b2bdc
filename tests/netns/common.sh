# Two hosts made of network namespaces that a pair of virtual Ethernet devices joins: a, 10.77.0.1, and b, 10.77.0.2.
# Sourced, with the path of the program as $1; needs root and iproute2, and skips the test without them.
source "$(dirname "$0")/../cli/common.sh" "$1"
skip() { echo "skipped: $*"; exit 77; }

[ "$(id -u)" -eq 0 ] || skip "network namespaces need root"
command -v ip >/dev/null || skip "ip (iproute2) is not installed"
a=tessera-a-$$
b=tessera-b-$$
clean() {
  # Children first: a namespace lives as long as a process is in it.
  kill -9 $(jobs -p) 2>/dev/null || true
  ip netns del "$a" 2>/dev/null || true
  ip netns del "$b" 2>/dev/null || true
  rm -rf "$work"
}
trap clean EXIT
ip netns add "$a" 2>netns.log || skip "no network namespaces here: $(cat netns.log)"
ip netns add "$b"
# In a chroot or a container without mounts a namespace can be made but not entered.
ip netns exec "$a" true 2>netns.log || skip "programs cannot enter network namespaces here: $(cat netns.log)"
ip link add ta$$ netns "$a" type veth peer name tb$$ netns "$b" 2>netns.log || skip "no veth devices here: $(cat netns.log)"
ip -n "$a" addr add 10.77.0.1/24 dev ta$$
ip -n "$b" addr add 10.77.0.2/24 dev tb$$
for host in "$a" "$b"; do ip -n "$host" link set lo up; done
ip -n "$a" link set ta$$ up
ip -n "$b" link set tb$$ up

# start NAME ARGUMENT...: tessera train on both hosts, two ranks on each, that meet at the address of host a. Rank r writes
# NAME.r.log; pids[r] is its process.
start() {
  local name=$1 rank host
  shift
  pids=()
  for rank in 0 1 2 3; do
    host=$a; [ $rank -lt 2 ] || host=$b
    RANK=$rank WORLD_SIZE=4 LOCAL_RANK=$((rank % 2)) LOCAL_WORLD_SIZE=2 MASTER_ADDR=10.77.0.1 MASTER_PORT=29400 \
      ip netns exec "$host" "$tessera" train "${common[@]}" "$@" output.metrics="$name.jsonl" >"$name.$rank.log" 2>&1 &
    pids[rank]=$!
  done
}
