/** Claiming jobs: of each tenant in turn, and of each no more than may run at once. */
export const claim = `
  local without = {}
  for _, tenant in ipairs(a.without) do without[tenant] = true end
  local known, order = {}, {}
  for _, flow in ipairs(a.flows) do
    local some = call('ZRANGEBYLEX', tenantsKey(flow), a.after == '' and '-' or '(' .. a.after, '+', 'LIMIT', 0, a.limit + #a.without)
    for _, tenant in ipairs(some) do
      if not known[tenant] and not without[tenant] then
        known[tenant] = true
        order[#order + 1] = tenant
      end
    end
  end
  table.sort(order)
  local takers = {}
  -- Many jobs of many tenants: of each the fewer, or a claim would look at their product.
  local share = a.limit
  if #order > 10 then share = math.floor(a.limit * 10 / math.min(#order, a.limit)) + 1 end
  for i = 1, math.min(#order, a.limit) do
    local tenant = order[i]
    local left = a.limit
    if a.tenantLimit then left = a.tenantLimit - tonumber(call('HGET', runningKey, tenant) or 0) end
    local heads = {}
    for _, flow in ipairs(a.flows) do
      local members = call('ZRANGE', laneKey(flow, tenant), 0, share - 1)
      if #members > 0 then heads[#heads + 1] = { flow = flow, members = members, taken = 0 } end
    end
    takers[i] = { tenant = tenant, left = left, heads = heads }
  end
  local chosen, found = {}, true
  while found and #chosen < a.limit do
    found = false
    for _, taker in ipairs(takers) do
      if #chosen < a.limit and taker.left > 0 then
        local best = nil
        for _, head in ipairs(taker.heads) do
          local member = head.members[head.taken + 1]
          if member and (best == nil or member < best.members[best.taken + 1]) then best = head end
        end
        if best then
          best.taken = best.taken + 1
          -- After the priority and the place in the order.
          chosen[#chosen + 1] = { id = string.sub(best.members[best.taken], 25), flow = best.flow, tenant = taker.tenant }
          taker.left = taker.left - 1
          found = true
        end
      end
    end
  end
  if #chosen == 0 then return {} end

  local rows, ids, seqs, leases, running = {}, {}, {}, {}, {}
  for i, it in ipairs(chosen) do
    local f = fields(it.id, 'payload', 'topic', 'priority', 'meta', 'max_attempts', 'timeout_ms', 'failures', 'crashes',
      'token', 'run_at', 'seq')
    local most, crashes, token = tonumber(f[5]), tonumber(f[8]), tonumber(f[9]) + 1
    local alone = crashes >= math.max(1, math.min(2, most - 1))
    call('HSET', jobKey(it.id), 'state', 'running', 'token', token, 'worker_id', a.workerId, 'alone', alone and 1 or 0,
      'started', alone and 0 or 1, 'started_at', now)
    ids[i] = it.id
    seqs[#seqs + 1], seqs[#seqs + 2] = f[11], it.id
    leases[#leases + 1], leases[#leases + 2] = now + a.leaseMs + (crashes > 0 and a.secondMs or 0), it.id
    running[it.tenant] = (running[it.tenant] or 0) + 1
    rows[i] = { id = it.id, flow = it.flow, tenant = it.tenant, payload = f[1], topic = f[2] or nil, priority = f[3],
      meta = f[4], max_attempts = f[5], timeout_ms = f[6] or nil, failures = f[7], crashes = f[8], token = tostring(token),
      alone = alone and '1' or '0', waited_ms = string.format('%d', now - tonumber(f[10])) }
  end
  for _, taker in ipairs(takers) do
    for _, head in ipairs(taker.heads) do
      if head.taken > 0 then
        local lane = laneKey(head.flow, taker.tenant)
        call('ZREM', lane, unpack(head.members, 1, head.taken))
        local all = head.taken == #head.members
        if all and (#head.members < share or call('EXISTS', lane) == 0) then
          call('ZREM', tenantsKey(head.flow), taker.tenant)
        end
      end
    end
  end
  call('ZREM', stateKey('ready'), unpack(ids))
  call('ZADD', stateKey('running'), unpack(seqs))
  call('ZADD', leasesKey, unpack(leases))
  for tenant, count in pairs(running) do call('HINCRBY', runningKey, tenant, count) end
  return rows
`
