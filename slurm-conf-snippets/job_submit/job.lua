-- Reads what a job asks for out of slurmctld's job descriptor. It judges nothing.
-- Part of vmrm's rules at submission; see vmrm.lua.

local job = {}

-- Slurm's "not given" for fields of 16 and of 32 bits; memory has 64, of which Lua 5.1 keeps 53.
local NOT_GIVEN_16, NOT_GIVEN_32 = 65534, 4294967294
local NOT_GIVEN = {
  cpus_per_task = NOT_GIVEN_16, ntasks_per_node = NOT_GIVEN_16, pn_min_cpus = NOT_GIVEN_16, requeue = NOT_GIVEN_16,
  min_cpus = NOT_GIVEN_32, min_nodes = NOT_GIVEN_32, max_nodes = NOT_GIVEN_32, num_tasks = NOT_GIVEN_32,
  min_mem_per_node = NOT_GIVEN_32, min_mem_per_cpu = NOT_GIVEN_32, shared = NOT_GIVEN_16, het_job_offset = NOT_GIVEN_32,
}

function job.given(descriptor, field)
  local value = descriptor[field]
  if type(value) ~= 'number' or value >= NOT_GIVEN[field] then return nil end
  return value
end

-- What the plug-in vmrm.so left in the job's SPANK environment, a list from index 0 of NAME=VALUE; descriptors and records
-- have the same. The second answer is true if the name stands there twice, which no plug-in makes.
function job.spank_variable(descriptor, name)
  local entries, found, is_twice = descriptor.spank_job_env, nil, false
  if type(entries) ~= 'table' then return nil, false end
  for index = 0, (descriptor.spank_job_env_size or 0) - 1 do
    local key, value = string.match(entries[index] or '', '^([^=]*)=(.*)$')
    if key == name then
      is_twice = found ~= nil
      found = found or value
    end
  end
  return found, is_twice
end

-- Slurm hands these variables to every Prolog and Epilog, and Linux starts no program with one of 128 KiB or with more than
-- about 2 MiB in all: such a job would be requeued again and again, or drain its nodes.
local LONGEST_VARIABLE, ALL_VARIABLES = 100000, 500000

function job.check_spank_size(descriptor)
  local entries, total = descriptor.spank_job_env, 0
  if type(entries) ~= 'table' then return nil end
  for index = 0, (descriptor.spank_job_env_size or 0) - 1 do
    local size = #(entries[index] or '')
    total = total + size
    if size > LONGEST_VARIABLE or total > ALL_VARIABLES then
      return 'the SPANK environment of the job is too large: no Prolog could be started with it'
    end
  end
  return nil
end

-- A variable of a batch job's environment; nil where it is empty. Slurm (22.05) shows no other job's.
function job.variable(descriptor, name)
  local value = descriptor.script and descriptor.environment and descriptor.environment[name]
  if value == '' then return nil end
  return value
end

-- The names of the partitions the job may run in: its own list, or the cluster's default.
function job.partitions(descriptor, partitions)
  local names = {}
  if descriptor.partition then
    for name in string.gmatch(descriptor.partition, '[^,]+') do names[#names + 1] = name end
    return names
  end
  for name, partition in pairs(partitions) do
    if partition.flag_default == 1 then names[#names + 1] = name end
  end
  return names
end

-- Slurm writes accounts in lower case, but only after this.
function job.account(descriptor)
  local account = descriptor.account or descriptor.default_account
  return account and string.lower(account)
end

return job
