// What the one-node test cluster is made of: the namespaces' set-up, slurm.conf and the daemons' command lines.

/**
 * Read by the shell that becomes PID 1 inside; $1 is the scratch folder. Writable places become overlays in a tmpfs.
 * The veth is there because getaddrinfo (AI_ADDRCONFIG) resolves nothing on a host that has loopback addresses only.
 */
export const holderScript = `
set -eu
mount --make-rprivate /
hostname mini
ip link set lo up
ip link add mini0 type veth peer name mini1
ip addr add 10.177.0.1/24 dev mini0
ip link set mini0 up
ip link set mini1 up
private="$1/private"
mkdir -p "$private" "$1/shared"
chmod 0755 "$1"; chmod 1777 "$1/shared"
mount -t tmpfs tmpfs "$private"
for folder in /etc /usr/lib /var; do
  mkdir -p "$private$folder/upper" "$private$folder/work"
  mount -t overlay overlay -o "lowerdir=$folder,upperdir=$private$folder/upper,workdir=$private$folder/work" "$folder"
done
mount -t tmpfs -o mode=0755 tmpfs /run
mkdir -p /run/munge /var/log/munge /var/lib/munge /var/log/slurm /var/spool/slurmd /var/lib/slurm/state /run/vmrm/jobs
chown munge: /run/munge /var/log/munge /var/lib/munge
chown slurm: /var/log/slurm /var/lib/slurm/state
printf 'alice:x:2001:2001::/tmp:/bin/bash\\nbob:x:2002:2002::/tmp:/bin/bash\\n' >> /etc/passwd
printf 'alice:x:2001:\\nbob:x:2002:\\n' >> /etc/group
printf '127.0.0.1 localhost\\n10.177.0.1 mini\\n' > /etc/hosts
rm -f /etc/slurm/plugstack.conf
echo ready
while read -r _; do :; done
`

/** proctrack/linuxproc and no task plug-in: the test touches no cgroup of the machine. */
export const slurmConf = `
ClusterName=mini
SlurmctldHost=mini(10.177.0.1)
SlurmUser=slurm
AuthType=auth/munge
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
StateSaveLocation=/var/lib/slurm/state
SlurmdSpoolDir=/var/spool/slurmd
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
SlurmctldLogFile=/var/log/slurm/slurmctld.log
SlurmdLogFile=/var/log/slurm/slurmd.log
ReturnToService=2
KillWait=2
DefMemPerCPU=100
MinJobAge=300
SchedulerParameters=sched_min_interval=100000,batch_sched_delay=0
NodeName=mini NodeAddr=10.177.0.1 CPUs=4 RealMemory=4000
PartitionName=main Nodes=mini Default=YES MaxTime=10 State=UP
PartitionName=vms Nodes=mini MaxTime=10 State=UP
PartitionName=low Nodes=mini MaxTime=10 State=UP
`

/** The daemons, in the order of their start; each goes into the background by itself. */
export const daemons: readonly (readonly string[])[] = [
  ['setpriv', '--reuid', 'munge', '--regid', 'munge', '--clear-groups', 'munged'],
  ['sh', '-c', 'slurmctld -c 2>&1'],
  ['sh', '-c', 'slurmd -N mini 2>&1'],
]
