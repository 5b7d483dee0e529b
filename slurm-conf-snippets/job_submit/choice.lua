-- Which image a job gets: what the user named, else the cluster's default for the user, the account or the partition.
-- Part of vmrm's rules at submission; see vmrm.lua.

return function(job)
  local choice = {}

  local LEADING = { '^vmrm%-image=%S+', '^%s+vmrm%-per%-node=%S+', '^%s+vmrm%-script=%S+', '^%s+vmrm%-strategy=%S+' }

  -- Takes the decision off the front of an AdminComment: the decision (nil without one), and the rest.
  function choice.split(comment)
    local rest, tokens = comment or '', ''
    for index, pattern in ipairs(LEADING) do
      local token = string.match(rest, pattern)
      if index == 1 and not token then return nil, rest end
      if token then
        tokens = tokens .. token
        rest = string.sub(rest, #token + 1)
      end
    end
    return tokens, (string.gsub(rest, '^%s+', ''))
  end

  function choice.join(tokens, rest)
    if tokens == nil or rest == '' then return tokens or rest end
    return tokens .. ' ' .. rest
  end

  -- The decision as it stands in AdminComment.
  function choice.tokens(vm)
    local text = 'vmrm-image=' .. vm.image
    if vm.per_node ~= 1 then text = text .. ' vmrm-per-node=' .. vm.per_node end
    if vm.script ~= 'guest' then text = text .. ' vmrm-script=' .. vm.script end
    if vm.strategy then text = text .. ' vmrm-strategy=' .. vm.strategy end
    return text
  end

  local function same(left, right)
    return left.default_image == right.default_image and (left.per_node or 1) == (right.per_node or 1)
      and (left.script or 'guest') == (right.script or 'guest')
  end

  -- The entry that decides, most special first, and whose it is; or nil, nil and a refusal.
  function choice.default(rules, user, account, names)
    local entry = user and (rules.users or {})[user]
    if entry then return entry, 'user ' .. user end
    entry = account and (rules.accounts or {})[account]
    if entry then return entry, 'account ' .. account end
    local first, owner
    for _, name in ipairs(names) do
      entry = (rules.partitions or {})[name]
      if entry and first and not same(entry, first) then
        return nil, nil, string.format('%s and partition %s run their jobs in different VMs: name one partition, or an image with --vm-image',
          owner, name)
      end
      -- Of several the strictest counts.
      if entry and (not first or not entry.opt_out) then first, owner = entry, 'partition ' .. name end
    end
    return first, owner
  end

  local function is_image(text)
    local name, revision = string.match(text, '^([^@]*)@?(.*)$')
    if not string.match(name, '^[a-z0-9][a-z0-9._-]*$') or #name > 63 then return false end
    if not string.find(text, '@', 1, true) then return true end
    return name ~= 'none' and #revision <= 63 and string.match(revision, '^[A-Za-z0-9._-]+$') ~= nil
  end

  -- What the job's environment asks for, where no plug-in has read it (slurmrestd, other clients): a VM, or nil and a refusal.
  local function from_environment(descriptor, image, rules)
    if not rules.from_environment then
      return nil, 'VMRM_IMAGE counts on this cluster only where sbatch, srun or salloc has read it: submit the job with one of them'
    end
    if not is_image(image) then return nil, "VMRM_IMAGE is not the name of an image: '" .. string.gsub(string.sub(image, 1, 80), '[^ -~]', '?') .. "'" end
    local per_node = job.variable(descriptor, 'VMRM_PER_NODE') or '1'
    if not string.match(per_node, '^[1-9]%d?%d?$') or tonumber(per_node) > 256 then
      return nil, 'VMRM_PER_NODE is not a number of VMs from 1 to 256'
    end
    local script = job.variable(descriptor, 'VMRM_SCRIPT') or 'guest'
    if script ~= 'guest' and script ~= 'host' then return nil, 'VMRM_SCRIPT is neither guest nor host' end
    local strategy = job.variable(descriptor, 'VMRM_STRATEGY')
    if strategy and strategy ~= 'all-or-nothing' and strategy ~= 'best-effort' then
      return nil, 'VMRM_STRATEGY is neither all-or-nothing nor best-effort'
    end
    if not (rules.images or {})[string.match(image, '^[^@]*')] then
      return nil, string.format('there is no image %s on this cluster: see `vmrm image list`', image)
    end
    return { image = image, per_node = tonumber(per_node), script = script, strategy = strategy, source = 'decided' }
  end

  local function from_spank(descriptor, image)
    local per_node = tonumber(job.spank_variable(descriptor, 'VMRM_PER_NODE') or '1')
    return { image = image, per_node = per_node, script = job.spank_variable(descriptor, 'VMRM_SCRIPT') or 'guest', source = 'spank' }
  end

  -- The job's VM: { image, per_node, script, source = 'spank' or 'decided' }; nil for none; or nil and a refusal.
  function choice.decide(descriptor, partitions, rules)
    local image, is_twice = job.spank_variable(descriptor, 'VMRM_IMAGE')
    -- Slurm's hooks might see the other one.
    if is_twice then return nil, 'VMRM_IMAGE stands twice in the SPANK environment of the job' end
    if image and image ~= 'none' then return from_spank(descriptor, image) end
    local asked = image or job.variable(descriptor, 'VMRM_IMAGE')
    if asked and asked ~= 'none' then return from_environment(descriptor, asked, rules) end
    local entry, owner, refusal = choice.default(rules, descriptor.user_name, job.account(descriptor), job.partitions(descriptor, partitions))
    if refusal or not entry or entry.default_image == 'none' then return nil, refusal end
    if asked == 'none' then
      if entry.opt_out then return nil end
      return nil, string.format('%s runs its jobs in VMs only: --vm-image=none is not allowed there', owner)
    end
    return { image = entry.default_image, per_node = entry.per_node or 1, script = entry.script or 'guest', source = 'decided' }
  end

  return choice
end
