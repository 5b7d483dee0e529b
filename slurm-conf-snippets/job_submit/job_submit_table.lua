-- Example of /etc/vmrm/job_submit_table.lua. `vmrm job-submit-table` writes it from the catalogue; do not edit the real one.
-- Every field but version may be left out: what is not stated is not checked.
return {
  version = 1,
  -- Slurm gives whole cores, so a job may get more CPUs than it asks for; as ThreadsPerCore of the nodes. Default 1.
  threads_per_core = 1,
  images = {
    debian12 = {
      max_cpus = 16,          -- of one VM
      min_memory_mib = 256,   -- of one VM, as the guest sees it
      max_memory_mib = 65536,
      overhead_mib = 160,     -- of the job's memory, what each VM needs on the host besides
    },
  },
  partitions = {
    vms = {
      default_image = 'debian12', -- a job without --vm-image is refused and told to add it
      opt_out = false,            -- true: --vm-image=none is allowed
    },
  },
}
