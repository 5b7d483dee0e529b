// The job that lines are played in: two tasks on each of two nodes, with counted resources, small enough that the bare one and
// the one with VMs fit side by side.
export const twoNodes = [
  '--nodes=2',
  '--nodelist=n1,n2',
  '--ntasks-per-node=2',
  '--cpus-per-task=1',
  '--mem=1200',
  '--gres=gpu:2,fake:2',
]
