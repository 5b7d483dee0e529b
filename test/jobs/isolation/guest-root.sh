# What the root of a guest may try against the host, the network and others' files. One line `DONE name` for each try that succeeds.
# Usage: guest-root.sh FOREIGN-ADDRESS FOREIGN-RUN HOST-ADDRESS...; it must not lie on NFS, which it cuts off now and then.
foreign=$1 foreign_run=$2
shift 2
gateway=$(sed -n 's#^\([0-9.]*\):/.* /home nfs4 .*#\1#p' /proc/mounts | head -n1)
own_address=$(sed -n 's#.* /home nfs4 .*clientaddr=\([0-9.]*\).*#\1#p' /proc/mounts | head -n1)
own_mac=$(cat /sys/class/net/eth0/address)
try() {
  name=$1
  shift
  if "$@" >/dev/null 2>&1; then echo "DONE $name"; fi
}
reach() { nc -w 1 "$1" "$2" </dev/null; }
mount_export() {
  mount -t nfs4 -o "vers=4.1,soft,timeo=10,retrans=1,addr=$gateway,clientaddr=$own_address" "$gateway:$1" /mnt/x || return 1
  ls /mnt/x; local found=$?
  umount /mnt/x
  return $found
}

echo "I am $(id -un) at $own_address"
mkdir -p /mnt/x

# Ports: of the gateway, of hosts, of another run.
for port in 22 111 2049 4789 6817 6818 6829 6830 20048; do try "port $port of the gateway" reach "$gateway" "$port"; done
for address in "$@" "$foreign"; do
  ip route replace "$address/32" dev eth0
  for port in 22 2049 6817 6818 6829 6830; do try "port $port of $address" reach "$address" "$port"; done
  try "ping $address" ping -c1 -W1 "$address"
  ip route replace "$address/32" via "$gateway"
  try "ping $address through the gateway" ping -c1 -W1 "$address"
  ip route del "$address/32"
done

# Files: other exports, other users, what only root may.
for path in "/$foreign_run-0" /etc /home /../../etc "/$foreign_run-0/bob"; do try "mount $path" mount_export "$path"; done
try 'see an export of another run' sh -c "mount -t nfs4 -o vers=4.1,soft,addr=$gateway,clientaddr=$own_address $gateway:/ /mnt/x && ls /mnt/x | grep -F '$foreign_run'"
umount /mnt/x 2>/dev/null
cd /home/alice || exit 1
try 'list the home of bob' ls /home/bob
try 'read a file of bob' head -c1 /home/bob/for-all
try 'write into the home of bob' touch /home/bob/from-alice
try 'write beside the homes' touch /home/from-alice
try 'make a device' mknod device c 1 1
try 'give the host a program of root' sh -c 'cp /bin/true of-root && chown 0:0 of-root; chmod 4755 of-root; [ "$(stat -c %u of-root)" = 0 ]'
try 'write own files' touch own
cd /

# Slurm's commands: root is nobody there, nor is who he makes himself; as the job's user he says what that user may.
foreign_job=${foreign_run#j} foreign_job=${foreign_job%r*}
user=$(id -u alice) bob=$(($(id -u alice) + 1))
for who in 0 "$bob"; do
  try "squeue as $who" setpriv --reuid="$who" --clear-groups squeue
  try "scancel as $who" setpriv --reuid="$who" --clear-groups scancel "$foreign_job"
  echo "SAID to $who: $(setpriv --reuid="$who" --clear-groups squeue 2>&1)"
done
as_user() { setpriv --reuid="$user" --regid="$user" --clear-groups "$@"; }
echo "SAID to the user: $(as_user squeue --noheader --me --format=%u 2>&1 | sort -u)"
try "scancel of bob's job" as_user scancel "$foreign_job"
try "a step of bob's job" as_user srun --overlap --jobid="$foreign_job" true
try "bob's job as bob" as_user env SLURM_JOB_USER=bob SLURM_JOB_UID="$bob" srun --overlap --jobid="$foreign_job" --uid="$bob" true
try 'drain a node' as_user scontrol update nodename=n1 state=drain reason=guest

# Pretending to be others; each try cuts off the own mount for its time.
pretend() { ip neigh flush dev eth0; ip route flush cache; reach "$gateway" 2049; }
try 'own address and MAC' pretend
for address in "$foreign" 10.77.250.250; do
  ip addr add "$address/32" dev eth0
  ip route replace "$gateway/32" dev eth0 src "$address"
  try "address $address" pretend
  ip route del "$gateway/32" dev eth0
  ip addr del "$address/32" dev eth0
done
for mac in 02:76:6d:00:00:01 52:54:76:00:00:7f; do
  ip link set eth0 address "$mac"
  try "MAC $mac" pretend
done
ip link set eth0 address "$own_mac"
try 'own address and MAC again' pretend
echo end
