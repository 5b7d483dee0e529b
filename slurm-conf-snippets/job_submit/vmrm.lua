-- vmrm's rules for slurmctld's job_submit/lua: refuses what can be seen to be wrong before there is a job.
-- It reads one generated table and must never open a socket or wait: slurmctld holds its locks while this runs.
--
-- In the site's own job_submit.lua:
--     local vmrm = dofile('/usr/lib/vmrm/job_submit/vmrm.lua')
--     function slurm_job_submit(job, partitions, uid)
--       local answer = vmrm.submit(job, partitions, uid)
--       if answer ~= slurm.SUCCESS then return answer end
--       ... the site's own rules ...
--
-- These are courtesies: vmrmd checks everything again when the job starts. So whatever is not known here passes.

local vmrm = { table_path = '/etc/vmrm/job_submit_table.lua' }

-- Slurm's "not given" for fields of 16 and of 32 bits; memory has 64, of which Lua 5.1 keeps 53.
local NOT_GIVEN_16, NOT_GIVEN_32 = 65534, 4294967294
local NOT_GIVEN = {
  cpus_per_task = NOT_GIVEN_16, ntasks_per_node = NOT_GIVEN_16, pn_min_cpus = NOT_GIVEN_16,
  min_cpus = NOT_GIVEN_32, min_nodes = NOT_GIVEN_32, max_nodes = NOT_GIVEN_32, num_tasks = NOT_GIVEN_32,
  min_mem_per_node = NOT_GIVEN_32, min_mem_per_cpu = NOT_GIVEN_32, shared = NOT_GIVEN_16,
}

local function given(job, field)
  local value = job[field]
  if type(value) ~= 'number' or value >= NOT_GIVEN[field] then return nil end
  return value
end

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

-- What the plug-in vmrm.so left in the job's SPANK environment, a list from index 0 of NAME=VALUE.
local function spank_variable(job, name)
  local entries = job.spank_job_env
  if type(entries) ~= 'table' then return nil end
  for index = 0, (job.spank_job_env_size or 0) - 1 do
    local key, value = string.match(entries[index] or '', '^([^=]*)=(.*)$')
    if key == name then return value end
  end
  return nil
end

-- Slurm hands these variables to every Prolog and Epilog, and Linux starts no program with one of 128 KiB or with more than
-- about 2 MiB in all: such a job would be requeued again and again, or drain its nodes.
local LONGEST_VARIABLE, ALL_VARIABLES = 100000, 500000

local function check_spank_size(job)
  local entries, total = job.spank_job_env, 0
  if type(entries) ~= 'table' then return nil end
  for index = 0, (job.spank_job_env_size or 0) - 1 do
    local size = #(entries[index] or '')
    total = total + size
    if size > LONGEST_VARIABLE or total > ALL_VARIABLES then
      return 'the SPANK environment of the job is too large: no Prolog could be started with it'
    end
  end
  return nil
end

-- The names of the partitions the job may run in: its own list, or the cluster's default.
local function partitions_of(job, partitions)
  local names = {}
  if job.partition then
    for name in string.gmatch(job.partition, '[^,]+') do names[#names + 1] = name end
    return names
  end
  for name, partition in pairs(partitions) do
    if partition.flag_default == 1 then names[#names + 1] = name end
  end
  return names
end

-- job_submit/lua can read a job's SPANK environment but not set it (22.05, and newer as far as known): the user must add the option.
local function check_default(image, names, settings)
  for _, name in ipairs(names) do
    local partition = settings[name]
    if partition and partition.default_image then
      if image == nil then
        local way_out = partition.opt_out and ', or --vm-image=none to run outside VMs' or ''
        return string.format('partition %s runs its jobs in VMs: add --vm-image=%s%s', name, partition.default_image, way_out)
      end
      if image == 'none' and not partition.opt_out then
        return string.format('partition %s runs its jobs in VMs only: --vm-image=none is not allowed there', name)
      end
    end
  end
  return nil
end

-- The least and the most CPUs the job can get on a node; the most is nil where it cannot be told.
local function cpus_on_node(job, threads_per_core)
  local per_task = given(job, 'cpus_per_task') or 1
  local nodes = given(job, 'min_nodes') or 1
  local total = given(job, 'min_cpus') or 1
  local least = math.max(given(job, 'pn_min_cpus') or 1, per_task * math.max(given(job, 'ntasks_per_node') or 1, 1))
  local most_nodes = given(job, 'max_nodes')
  if most_nodes and most_nodes > 0 then least = math.max(least, math.ceil(total / most_nodes)) end
  -- --exclusive gives the whole node.
  if given(job, 'shared') == 0 then return least, nil end
  local most = math.max(total - (nodes - 1), least)
  return least, math.ceil(most / threads_per_core) * threads_per_core
end

-- The same for memory in MiB; both nil where the job leaves it to a default or takes all (0).
local function memory_on_node(job, least_cpus, most_cpus)
  local per_node, per_cpu = given(job, 'min_mem_per_node'), given(job, 'min_mem_per_cpu')
  if per_node and per_node > 0 then return per_node, per_node end
  if per_cpu and per_cpu > 0 then return per_cpu * least_cpus, most_cpus and per_cpu * most_cpus end
  return nil, nil
end

local function check_size(job, name, image, per_node, threads_per_core)
  local least_cpus, most_cpus = cpus_on_node(job, threads_per_core)
  if most_cpus and per_node > most_cpus then
    return string.format('--vm-per-node=%d needs at least %d CPUs on each node, and the job asks for %d: '
      .. 'ask for more with --cpus-per-task or --ntasks-per-node', per_node, per_node, most_cpus)
  end
  local cpus = math.floor(least_cpus / per_node)
  if image.max_cpus and cpus > image.max_cpus then
    return string.format('a VM of the job would have %d CPUs, and image %s allows %d: ask for fewer, or for more VMs with --vm-per-node',
      cpus, name, image.max_cpus)
  end
  local least_memory, most_memory = memory_on_node(job, least_cpus, most_cpus)
  local overhead = image.overhead_mib or 0
  local least_mib = least_memory and math.floor(least_memory / per_node) - overhead
  local most_mib = most_memory and math.floor(most_memory / per_node) - overhead
  if least_mib and image.max_memory_mib and least_mib > image.max_memory_mib then
    return string.format('a VM of the job would have %d MiB, and image %s allows %d: ask for less, or for more VMs with --vm-per-node',
      least_mib, name, image.max_memory_mib)
  end
  if most_mib and image.min_memory_mib and most_mib < image.min_memory_mib then
    return string.format('a VM of the job would have %d MiB, and image %s needs %d: ask for at least %d MiB on each node',
      math.max(most_mib, 0), name, image.min_memory_mib, (image.min_memory_mib + overhead) * per_node)
  end
  return nil
end

-- The sentence that refuses the job, or nil.
local function why_refused(job, partitions, rules)
  local image = spank_variable(job, 'VMRM_IMAGE')
  local refusal = check_default(image, partitions_of(job, partitions), rules.partitions or {})
  if refusal or image == nil or image == 'none' then return refusal end
  local name = string.match(image, '^[^@]*')
  local limits = (rules.images or {})[name]
  local per_node = tonumber(spank_variable(job, 'VMRM_PER_NODE') or '1')
  if limits == nil or per_node == nil or per_node < 1 then return nil end
  return check_size(job, name, limits, per_node, rules.threads_per_core or 1)
end

local function answer(job, partitions)
  local refusal = check_spank_size(job)
  if refusal then return refusal end
  local rules = read_table()
  return rules and why_refused(job, partitions, rules)
end

-- slurm.SUCCESS, or slurm.ERROR after a sentence for the user. A fault in these rules is logged and refuses nobody.
function vmrm.submit(job, partitions, _)
  local ok, result = pcall(answer, job, partitions)
  if not ok then slurm.log_error('vmrm: job_submit rules failed: %s', tostring(result)) end
  if not ok or result == nil then return slurm.SUCCESS end
  slurm.log_user('vmrm: %s', result)
  return slurm.ERROR
end

return vmrm
