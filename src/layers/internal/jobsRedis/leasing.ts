/** Leases: prolonged by who has them, lost to who is late, and given up by who does not know of them. */
export const start = `
  local job = find(a.id)
  if not holds(job, a.token) then return false end
  call('HSET', jobKey(a.id), 'started', 1, 'started_at', now)
  return true
`

export const renew = `
  local function prolong(id, untilMs)
    if tonumber(call('ZSCORE', leasesKey, id)) < untilMs then call('ZADD', leasesKey, untilMs, id) end
  end
  local lost, cancelled = {}, {}
  for _, lease in ipairs(a.leases) do
    local f = fields(lease.id, 'state', 'token', 'started_at', 'cancelling', 'cancel_reason')
    local running = f[1] == 'running'
    if running and tonumber(f[2]) == lease.token then
      prolong(lease.id, now + a.leaseMs)
      if f[4] == '1' then
        cancelled[#cancelled + 1] = { id = lease.id, token = lease.token, reason = f[5] or nil }
      end
    else
      lost[#lost + 1] = lease
      if a.stalledMs > 0 and running then prolong(lease.id, tonumber(f[3]) + a.stalledMs + a.leaseMs) end
    end
  end
  return { lost = lost, cancelled = cancelled }
`

export const disown = `
  local known, count = {}, 0
  for _, id in ipairs(a.known) do known[id] = true end
  for _, id in ipairs(call('ZRANGE', leasesKey, 0, -1)) do
    if not known[id] and call('HGET', jobKey(id), 'worker_id') == a.workerId then
      call('HINCRBY', jobKey(id), 'token', 1)
      wait(find(id), 0)
      count = count + 1
    end
  end
  return count
`
