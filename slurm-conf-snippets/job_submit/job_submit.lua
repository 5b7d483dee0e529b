-- A whole /etc/slurm/job_submit.lua for a site that has none of its own. A site that has one adds the lines marked vmrm.
local vmrm = dofile('/usr/lib/vmrm/job_submit/vmrm.lua') -- vmrm

function slurm_job_submit(job, partitions, uid)
  return vmrm.submit(job, partitions, uid) -- vmrm: a site with rules of its own returns this only if it is not slurm.SUCCESS
end

function slurm_job_modify(job, record, partitions, uid)
  return vmrm.modify(job, record, partitions, uid) -- vmrm: the same
end
