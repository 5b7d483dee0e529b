-- Example of /etc/vmrm/job_submit_table.lua. `vmrm job-submit-table` writes it from the catalogue; do not edit the real one.
-- Every field but version may be left out: what is not stated is not checked.
return {
  version = 1,
  -- Slurm gives whole cores, so a job may get more CPUs than it asks for; as ThreadsPerCore of the nodes. Default 1.
  threads_per_core = 1,
  -- Whether VMRM_IMAGE in the environment of a job counts that came without vmrm's options, as through slurmrestd.
  from_environment = true,
  requeue = 'any',     -- required: no VM job may have --no-requeue
  open_mode = 'any',   -- append: every batch job in VMs must have --open-mode=append
  images = {
    debian12 = {
      max_cpus = 16,          -- of one VM
      min_memory_mib = 256,   -- of one VM, as the guest sees it
      max_memory_mib = 65536,
      overhead_mib = 160,     -- of the job's memory, what each VM needs on the host besides
      -- Who may use it, where that depends on no group; else left out.
      allowed = { users = { ['alice'] = true }, accounts = { ['physics'] = true } },
    },
  },
  -- The image of a job that names none: the user's entry counts, else the account's, else the partition's.
  users = {
    operator = { default_image = 'none' }, -- without VMs, whatever account and partition say
  },
  accounts = {},
  partitions = {
    vms = {
      default_image = 'debian12',
      opt_out = false,          -- true: --vm-image=none is allowed
      per_node = 1,
      script = 'guest',
    },
  },
}
