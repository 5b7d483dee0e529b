# What somebody on a host may try against a VM that is not his. One line `DONE name` for each try that succeeds.
# It follows lines that set run, pid (of its QEMU) and address (of the guest): as arguments they would be seen in the list of processes.
folder=/var/lib/vmrm/runs/$run
try() {
  name=$1
  shift
  if "$@" >/dev/null 2>&1; then echo "DONE $name"; fi
}
shows() { # a command whose output must not have the address
  name=$1
  shift
  # Not by grep, whose own argument would be in the list of processes. Whole: 10.77.0.2 is not in 10.77.0.21.
  case " $("$@" 2>/dev/null | tr -d '\0') " in *[!0-9]"$address"[!0-9]*) echo "DONE $name" ;; esac
}
try 'list the run' ls "$folder"
try 'list the VM' ls "$folder/v0"
try 'read the journal' head -c1 "$folder/journal.json"
try 'read the console' head -c1 "$folder/v0/console.log"
try 'write the console' test -w "$folder/v0/console.log"
try 'read the disk' head -c1 "$folder/v0/overlay.qcow2"
try 'reach the agent' test -w "$folder/v0/agent.sock"
try 'see the domain' virsh --connect qemu:///system dominfo "${run}v0"
try 'see the domain, read-only' virsh --readonly --connect qemu:///system dominfo "${run}v0"
try 'signal QEMU' kill -0 "$pid"
try 'read the environment of QEMU' head -c1 "/proc/$pid/environ"
try 'read the memory map of QEMU' head -c1 "/proc/$pid/maps"
try 'see the files of QEMU' ls "/proc/$pid/fd/0"
try 'enter the services namespace' nsenter --net=/run/netns/vmrm true
try 'enter it from a user namespace' unshare --user --map-root-user nsenter --net=/run/netns/vmrm true
shows 'address in vmrm ps' vmrm ps --all
shows 'address in addresses and routes' sh -c 'ip addr; ip route show table all; ip neigh'
shows 'address in /proc/net' sh -c 'cat /proc/net/arp /proc/net/fib_trie /proc/net/nf_conntrack'
shows 'address in filters' /usr/sbin/nft list ruleset
shows 'address in sockets' ss --all --numeric --processes
shows 'address in commands' ps -ef --cols 100000
shows 'address in files' find /run /etc/vmrm /var/lib/vmrm /var/lib/libvirt /var/log/ganesha /var/log/libvirt -type f -exec cat {} +
