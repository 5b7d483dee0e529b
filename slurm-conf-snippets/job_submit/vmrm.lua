-- vmrm's rules for slurmctld's job_submit/lua: gives jobs their default image, and refuses what can be seen to be wrong before
-- there is a job. They read one generated table and must never open a socket or wait: slurmctld holds its locks meanwhile.
--
-- In the site's own job_submit.lua:
--     local vmrm = dofile('/usr/lib/vmrm/job_submit/vmrm.lua')
--     function slurm_job_submit(job, partitions, uid)
--       local answer = vmrm.submit(job, partitions, uid)
--       if answer ~= slurm.SUCCESS then return answer end
--       ... the site's own rules; after them partition and account may not change any more ...
--     function slurm_job_modify(job, record, partitions, uid)
--       local answer = vmrm.modify(job, record, partitions, uid)
--       ...
--
-- Refusals of size are courtesies: vmrmd checks everything again when the job starts. So whatever is not known here passes.

-- The flag lies beside the table where there are default images (`vmrm job-submit-table` sees to that).
local vmrm = { table_path = '/etc/vmrm/job_submit_table.lua', flag_path = '/etc/vmrm/default-images' }

local folder = '/usr/lib/vmrm/job_submit/'
local job_fields = dofile(folder .. 'job.lua')
local choice = dofile(folder .. 'choice.lua')(job_fields)
local check_size = dofile(folder .. 'size.lua')(job_fields)

-- The table, freshly read, so that a new one counts at once; nil with a log line if there is none that can be used.
-- It is data: it runs with an empty environment and can call nothing.
local function read_table()
  local chunk, problem
  if setfenv then
    chunk, problem = loadfile(vmrm.table_path)
    if chunk then setfenv(chunk, {}) end
  else
    chunk, problem = loadfile(vmrm.table_path, 't', {})
  end
  if chunk then
    local ok, result = pcall(chunk)
    if ok and type(result) == 'table' and result.version == 1 then return result end
    problem = ok and 'it is not a table of version 1' or result
  end
  slurm.log_info('vmrm: job_submit checks nothing, %s cannot be used: %s', vmrm.table_path, tostring(problem))
  return nil
end

-- An image whose users and accounts are all known here; vmrmd knows the groups, too.
local function check_access(job, name, allowed)
  local user, account = job.user_name, job_fields.account(job)
  if not allowed or user == nil or user == 'root' or account == nil and next(allowed.accounts) then return nil end
  if allowed.users[user] or (account and allowed.accounts[account]) then return nil end
  return string.format('user %s may not use image %s: ask the administrators of this cluster, or see `vmrm image list`', user, name)
end

-- What a site asks of VM jobs beyond that, so that one whose node fails can start again with nothing of its output lost.
local function check_habits(job, rules)
  if job_fields.variable(job, 'VMRM_CHECKPOINT') then
    return 'VMRM_CHECKPOINT: checkpoints are not available in this version of vmrm'
  end
  -- The plug-in leaves it where the job named no image; where it named one, the plug-in has refused.
  if job_fields.spank_variable(job, 'VMRM_X11') then
    return '--x11 does not work in VMs, and this job would run in them by default: leave it out, or add --vm-image=none where that is allowed'
  end
  if job.script == nil then return nil end
  if rules.requeue == 'required' and job_fields.given(job, 'requeue') == 0 then
    return 'jobs in VMs must be ones that Slurm may requeue on this cluster: leave --no-requeue out'
  end
  -- Slurm (22.05) shows the open mode here only in the variable that sbatch and slurmrestd set.
  if rules.open_mode == 'append' and job_fields.variable(job, 'SLURM_OPEN_MODE') ~= 'a' then
    return 'jobs in VMs must append to their output on this cluster: add --open-mode=append'
  end
  return nil
end

-- The sentence that refuses a job with this VM, or nil.
local function check_vm(job, vm, rules)
  local name = string.match(vm.image, '^[^@]*')
  local limits = (rules.images or {})[name]
  local refusal = check_habits(job, rules)
  if refusal or limits == nil or vm.per_node == nil or vm.per_node < 1 then return refusal end
  return check_access(job, name, limits.allowed) or check_size(job, name, limits, vm.per_node, rules.threads_per_core or 1)
end

-- What the job's tasks see, as they do of an option. It also makes the plug-in refuse a batch job's tasks outside a VM. All
-- components of a heterogeneous job get the first one's environment, and another one may have no VMs.
local function tell_tasks(job, vm)
  if job.script == nil or job_fields.given(job, 'het_job_offset') then return end
  job.environment['SLURM_SPANK_VMRM_IMAGE'] = vm.image
  job.environment['SLURM_SPANK_VMRM_PER_NODE'] = tostring(vm.per_node)
  job.environment['SLURM_SPANK_VMRM_SCRIPT'] = vm.script
  if vm.strategy then job.environment['SLURM_SPANK_VMRM_STRATEGY'] = vm.strategy end
end

-- Where nobody can say which image is a job's, one that has a default would run outside VMs: so none starts that names no
-- image. nil where there are no defaults.
local function check_undecided(job)
  local image = job_fields.spank_variable(job, 'VMRM_IMAGE')
  local flag = (image == nil or image == 'none') and io.open(vmrm.flag_path)
  if not flag then return nil end
  flag:close()
  return 'some jobs of this cluster run in VMs by default, and whether this one does cannot be told now: please tell the administrators'
end

-- The sentence that refuses the job, or nil; the decision is in the job then.
local function answer(job, partitions)
  local refusal = job_fields.check_spank_size(job)
  local rules = not refusal and read_table()
  if not rules then return refusal or check_undecided(job) end
  local vm
  vm, refusal = choice.decide(job, partitions, rules)
  if vm and not refusal then refusal = check_vm(job, vm, rules) end
  if refusal then return refusal end
  local before, rest = choice.split(job.admin_comment)
  local after = vm and vm.source == 'decided' and choice.tokens(vm) or nil
  if before ~= after then job.admin_comment = choice.join(after, rest) end
  if after then tell_tasks(job, vm) end
  return nil
end

-- slurm.SUCCESS, or slurm.ERROR after a sentence for the user. A fault in these rules is logged, and refuses a job only where
-- it could have had a default image.
function vmrm.submit(job, partitions, _)
  local ok, result = pcall(answer, job, partitions)
  if not ok then
    slurm.log_error('vmrm: job_submit rules failed: %s', tostring(result))
    result = check_undecided(job)
  end
  if result == nil then return slurm.SUCCESS end
  slurm.log_user('vmrm: %s', result)
  return slurm.ERROR
end

-- A job's image is decided once: it stays whatever partition or account the job is moved to, and an administrator's new
-- AdminComment keeps it. A job without VMs does not get into a partition that allows no others.
local function answer_modify(job, record, partitions)
  local decided = choice.split(record.admin_comment)
  if job.admin_comment then
    local given, rest = choice.split(job.admin_comment)
    decided = given or decided
    job.admin_comment = choice.join(decided, rest)
  end
  if decided or (job.partition == nil and job.account == nil) then return nil end
  local image = job_fields.spank_variable(record, 'VMRM_IMAGE')
  local rules = (image == nil or image == 'none') and read_table()
  if not rules then return nil end
  local names = job_fields.partitions({ partition = job.partition or record.partition }, partitions)
  local account = job_fields.account({ account = job.account or record.account })
  local entry, owner, refusal = choice.default(rules, record.user_name, account, names)
  if refusal then return refusal end
  if entry == nil or entry.opt_out or entry.default_image == 'none' then return nil end
  return owner .. ' runs its jobs in VMs only, and the job was submitted without: cancel it and submit it there'
end

-- slurm.SUCCESS, or an error whose cause is in slurmctld's log: Slurm (22.05) tells a user no sentence here.
function vmrm.modify(job, record, partitions, _)
  local ok, result = pcall(answer_modify, job, record, partitions)
  if not ok then slurm.log_error('vmrm: job_submit rules failed: %s', tostring(result)) end
  if not ok or result == nil then return slurm.SUCCESS end
  slurm.log_info('vmrm: job %s is not changed: %s', tostring(record.job_id), result)
  return slurm.ESLURM_ACCESS_DENIED or slurm.ERROR
end

return vmrm
