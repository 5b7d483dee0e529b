-- Whether the VMs of a job can have the size that follows from what the job asks of Slurm.
-- Part of vmrm's rules at submission; see vmrm.lua. Only what is certain before the job has its nodes is refused.

return function(job)
  local given = job.given

  -- The least and the most CPUs the job can get on a node; the most is nil where it cannot be told.
  local function cpus_on_node(descriptor, threads_per_core)
    local per_task = given(descriptor, 'cpus_per_task') or 1
    local nodes = given(descriptor, 'min_nodes') or 1
    local total = given(descriptor, 'min_cpus') or 1
    local least = math.max(given(descriptor, 'pn_min_cpus') or 1,
      per_task * math.max(given(descriptor, 'ntasks_per_node') or 1, 1))
    local most_nodes = given(descriptor, 'max_nodes')
    if most_nodes and most_nodes > 0 then least = math.max(least, math.ceil(total / most_nodes)) end
    -- --exclusive gives the whole node.
    if given(descriptor, 'shared') == 0 then return least, nil end
    local most = math.max(total - (nodes - 1), least)
    return least, math.ceil(most / threads_per_core) * threads_per_core
  end

  -- The same for memory in MiB; both nil where the job leaves it to a default or takes all (0).
  local function memory_on_node(descriptor, least_cpus, most_cpus)
    local per_node, per_cpu = given(descriptor, 'min_mem_per_node'), given(descriptor, 'min_mem_per_cpu')
    if per_node and per_node > 0 then return per_node, per_node end
    if per_cpu and per_cpu > 0 then return per_cpu * least_cpus, most_cpus and per_cpu * most_cpus end
    return nil, nil
  end

  -- The sentence that refuses the job, or nil.
  return function(descriptor, name, image, per_node, threads_per_core)
    local least_cpus, most_cpus = cpus_on_node(descriptor, threads_per_core)
    if most_cpus and per_node > most_cpus then
      return string.format('--vm-per-node=%d needs at least %d CPUs on each node, and the job asks for %d: '
        .. 'ask for more with --cpus-per-task or --ntasks-per-node', per_node, per_node, most_cpus)
    end
    local cpus = math.floor(least_cpus / per_node)
    if image.max_cpus and cpus > image.max_cpus then
      return string.format('a VM of the job would have %d CPUs, and image %s allows %d: ask for fewer, or for more VMs with --vm-per-node',
        cpus, name, image.max_cpus)
    end
    local least_memory, most_memory = memory_on_node(descriptor, least_cpus, most_cpus)
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
end
