/** What people and programs ask of jobs beside running them. */

const states = `local states = { 'ready', 'delayed', 'running', 'done', 'dead', 'cancelled' }`

/** Ids that a filter means, in the order in which they came. */
const chosen = `
  ${states}
  local function matches(f, id)
    local v = fields(id, 'state', 'flow', 'tenant', 'finished_at', 'seq')
    if not v[1] then return nil end
    if f.states then
      local among = false
      for _, s in ipairs(f.states) do if s == v[1] then among = true end end
      if not among then return nil end
    end
    if f.flow and f.flow ~= v[2] then return nil end
    if f.tenant and f.tenant ~= v[3] then return nil end
    if f.finishedBefore and not (v[4] and tonumber(v[4]) < f.finishedBefore) then return nil end
    if f.afterSeq and tonumber(v[5]) <= f.afterSeq then return nil end
    return tonumber(v[5])
  end
  local function chosen(f)
    local found = {}
    if f.ids then
      local seen = {}
      for _, id in ipairs(f.ids) do
        local seq = not seen[id] and matches(f, id)
        seen[id] = true
        if seq then found[#found + 1] = { seq, id } end
      end
    else
      for _, state in ipairs(f.states or states) do
        local offset, count = 0, 0
        while count < f.limit do
          local ids = call('ZRANGEBYSCORE', stateKey(state), f.afterSeq and '(' .. string.format('%d', f.afterSeq) or '-inf', '+inf', 'LIMIT', offset, 500)
          if #ids == 0 then break end
          for _, id in ipairs(ids) do
            local seq = matches(f, id)
            if seq and count < f.limit then
              found[#found + 1] = { seq, id }
              count = count + 1
            end
          end
          offset = offset + #ids
        end
      end
    end
    table.sort(found, function(x, y) return x[1] < y[1] end)
    local ids = {}
    for i = 1, math.min(#found, f.limit) do ids[i] = found[i][2] end
    return ids
  end
`

export const list: string = `${chosen}
  local rows = {}
  for i, id in ipairs(chosen(a)) do
    local flat = call('HGETALL', jobKey(id))
    local row = { id = id }
    for n = 1, #flat, 2 do row[flat[n]] = flat[n + 1] end
    rows[i] = row
  end
  return rows
`

export const ended: string = `
  local ids = {}
  for _, id in ipairs(a.ids) do
    local state = call('HGET', jobKey(id), 'state')
    if state ~= 'ready' and state ~= 'delayed' and state ~= 'running' then ids[#ids + 1] = id end
  end
  return ids
`

export const cancel: string = `
  local job = find(a.id)
  if job.state ~= 'ready' and job.state ~= 'delayed' and job.state ~= 'running' then return false end
  if call('HGET', jobKey(a.id), 'cancelling') == '1' then return true end
  if a.reason then call('HSET', jobKey(a.id), 'cancel_reason', a.reason) end
  if job.state == 'running' then
    call('HSET', jobKey(a.id), 'cancelling', 1)
    tell('cancel')
  else
    finish(job, 'cancelled')
  end
  return true
`

export const requeue: string = `${chosen}
  local ids = chosen(a)
  for _, id in ipairs(ids) do
    call('HDEL', jobKey(id), 'cancel_reason', 'finished_at', 'started_at')
    wait(find(id), 0, 'failures', 0, 'crashes', 0, 'alone', 0, 'started', 0, 'cancelling', 0)
  end
  return #ids
`

export const purge: string = `${chosen}
  local ids = chosen(a)
  for _, id in ipairs(ids) do
    leave(find(id))
    call('DEL', jobKey(id))
  end
  return #ids
`

export const counts: string = `
  ${states}
  local counts = {}
  for _, state in ipairs(states) do counts[state] = call('ZCARD', stateKey(state)) end
  return counts
`
