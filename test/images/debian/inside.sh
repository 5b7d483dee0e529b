# Runs in each VM of a job as its user, and prints `fact value` lines for debian.test.ts. Each command has its own bound.
fact() { printf '%s %s\n' "$1" "$(timeout 120 sh -c "$2" 2>&1 | tr '\n' ' ' | sed 's/ $//')"; }
fact hostname 'hostname'
fact static-hostname 'cat /etc/hostname'
fact os '. /etc/os-release; echo $ID $VERSION_ID'
fact kernel 'uname -r'
fact id 'id'
fact home 'cd && pwd && stat -f -c %T .'
fact mount-flags 'findmnt -n -o FSTYPE,SOURCE /home'
fact machine-id 'cat /etc/machine-id'
fact cpus 'nproc'
fact clock 'date +%s'
fact cgroup 'cat /proc/self/cgroup'
fact mpi 'mpirun.openmpi --version | head -1; mpiexec.hydra --version | grep -o "HYDRA build"; readlink -f /usr/bin/mpirun'
fact seed 'cloud-init schema --config-file user-data'
# The other stages of the boot run beside the job; 180 s for a busy machine.
printf 'cloud-init %s\n' "$(timeout 180 cloud-init status --wait --long 2>&1 | tr '\n' ' ')"
printf 'system %s\n' "$(timeout 180 systemctl is-system-running --wait)"
fact failed-units 'systemctl --failed --plain --no-legend'
fact agent-unit 'systemctl show -p ActiveState,Delegate,KillMode,NRestarts vmrm-agent'
fact hosts 'grep -c vmrm /etc/hosts'
for peer in $PEERS; do
  fact "ping-$peer" "ping -c 1 -W 10 $peer | grep -c 'bytes from'"
  fact "ssh-$peer" "ssh -o BatchMode=yes $peer hostname"
done
fact host-keys 'ls /etc/ssh | grep ssh_host'
fact end-hostname 'hostname'
