/**
 * What Redis does for a job queue, as one script: each operation is atomic, and takes time from the server.
 *
 * Keys begin with the queue's prefix, which has a hash tag, so that all of them lie in one slot of a cluster:
 *
 * | key | holds |
 * |---|---|
 * | `job:ID` | a job's fields |
 * | `state:STATE` | the ids of the jobs in that state, by `seq` |
 * | `ready:FLOW:TENANT` | the jobs of a tenant that may start, in their order |
 * | `tenants:FLOW` | the tenants that have such jobs |
 * | `delayed`, `leases` | ids by when they fall due |
 * | `running` | how many jobs of each tenant run |
 */
export const script = `
local P = KEYS[1]
local op = ARGV[1]
local a = cjson.decode(ARGV[2])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local call = redis.call

local function jobKey(id) return P .. ':job:' .. id end
local function laneKey(flow, tenant) return P .. ':ready:' .. #flow .. ':' .. flow .. ':' .. tenant end
local function tenantsKey(flow) return P .. ':tenants:' .. flow end
local function stateKey(state) return P .. ':state:' .. state end
local delayedKey, leasesKey, runningKey, changesKey = P .. ':delayed', P .. ':leases', P .. ':running', P .. ':changes'
local states = { 'ready', 'delayed', 'running', 'done', 'dead', 'cancelled' }

local function tell(change) call('PUBLISH', changesKey, change) end
local function fields(id, ...) return call('HMGET', jobKey(id), ...) end
-- Higher priority first, then who came first: in the order of the alphabet.
local function memberOf(priority, seq, id) return string.format('%07d:%015d:', 1000000 - priority, seq) .. id end
local prefixLength = 24

-- Takes a job out of wherever its state has put it, and puts it where the new one says; nil: nowhere.
local function move(id, to, at)
  local f = fields(id, 'state', 'flow', 'tenant', 'priority', 'seq')
  local from, flow, tenant, seq = f[1], f[2], f[3], tonumber(f[5])
  if from == 'ready' then
    local lane = laneKey(flow, tenant)
    call('ZREM', lane, memberOf(tonumber(f[4]), seq, id))
    if call('EXISTS', lane) == 0 then call('ZREM', tenantsKey(flow), tenant) end
  elseif from == 'delayed' then
    call('ZREM', delayedKey, id)
  elseif from == 'running' then
    call('ZREM', leasesKey, id)
    if call('HINCRBY', runningKey, tenant, -1) <= 0 then call('HDEL', runningKey, tenant) end
  end
  if from then call('ZREM', stateKey(from), id) end
  if to == nil then return end
  if to == 'ready' then
    call('ZADD', laneKey(flow, tenant), 0, memberOf(tonumber(f[4]), seq, id))
    call('ZADD', tenantsKey(flow), 0, tenant)
  elseif to == 'delayed' then
    call('ZADD', delayedKey, at, id)
  elseif to == 'running' then
    call('ZADD', leasesKey, at, id)
    call('HINCRBY', runningKey, tenant, 1)
  end
  call('ZADD', stateKey(to), seq, id)
  call('HSET', jobKey(id), 'state', to)
end

local function wait(id, delay)
  call('HSET', jobKey(id), 'run_at', now + delay)
  call('HDEL', jobKey(id), 'worker_id')
  if delay > 0 then move(id, 'delayed', now + delay) else move(id, 'ready') end
  tell('ready')
end

local function finish(id, state, failure)
  call('HSET', jobKey(id), 'finished_at', now)
  if failure then call('HSET', jobKey(id), 'failure', failure) end
  move(id, state)
end

local function holds(id, token)
  local f = fields(id, 'state', 'token')
  return f[1] == 'running' and tonumber(f[2]) == token
end

local function record(id)
  local flat = call('HGETALL', jobKey(id))
  if #flat == 0 then return nil end
  local row = { id = id }
  for i = 1, #flat, 2 do row[flat[i]] = flat[i + 1] end
  return row
end

-- Ids that a filter means, in the order in which they came.
local function find(f)
  local found = {}
  local function matches(id)
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
  if f.ids then
    local seen = {}
    for _, id in ipairs(f.ids) do
      local seq = not seen[id] and matches(id)
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
          local seq = matches(id)
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

local function suspect(crashes, most) return crashes >= math.max(1, math.min(2, most - 1)) end

local ops = {}

function ops.enqueue()
  local answers, fresh, bad = {}, 0, false
  for i, job in ipairs(a.jobs) do
    local f = fields(job.id, 'flow', 'payload')
    if not f[1] then
      answers[i] = 'created'
      fresh = fresh + 1
    elseif f[1] == job.flow and f[2] == job.payload then
      answers[i] = 'same'
    else
      answers[i] = 'conflict'
      bad = true
    end
  end
  if bad or fresh == 0 then return answers end
  if call('ZCARD', stateKey('ready')) + call('ZCARD', stateKey('delayed')) + fresh > a.maxLength then
    for i, answer in ipairs(answers) do if answer == 'created' then answers[i] = 'full' end end
    return answers
  end
  for i, job in ipairs(a.jobs) do
    if answers[i] == 'created' then
      local key = jobKey(job.id)
      local seq = call('INCR', P .. ':seq')
      call('HSET', key, 'seq', seq, 'flow', job.flow, 'payload', job.payload, 'tenant', job.tenant,
        'priority', job.priority, 'meta', job.meta, 'max_attempts', job.maxAttempts, 'failures', 0, 'crashes', 0,
        'token', 0, 'alone', 0, 'started', 0, 'cancelling', 0, 'enqueued_at', now, 'run_at', now + job.delayMs)
      if job.topic then call('HSET', key, 'topic', job.topic) end
      if job.timeoutMs then call('HSET', key, 'timeout_ms', job.timeoutMs) end
      if a.taker then
        call('HSET', key, 'token', 1, 'started', 1, 'started_at', now, 'worker_id', a.taker.workerId)
        move(job.id, 'running', now + a.taker.leaseMs)
        answers[i] = 'taken'
      elseif job.delayMs > 0 then
        move(job.id, 'delayed', now + job.delayMs)
      else
        move(job.id, 'ready')
      end
    end
  end
  if not a.taker then tell('ready') end
  return answers
end

function ops.claim()
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
      heads[#heads + 1] = { members = call('ZRANGE', laneKey(flow, tenant), 0, share - 1), next = 1 }
    end
    takers[i] = { left = left, heads = heads }
  end
  local claims, found = {}, true
  while found and #claims < a.limit do
    found = false
    for _, taker in ipairs(takers) do
      if #claims < a.limit and taker.left > 0 then
        local best = nil
        for _, head in ipairs(taker.heads) do
          local member = head.members[head.next]
          if member and (best == nil or member < best.members[best.next]) then best = head end
        end
        if best then
          claims[#claims + 1] = string.sub(best.members[best.next], prefixLength + 1)
          best.next = best.next + 1
          taker.left = taker.left - 1
          found = true
        end
      end
    end
  end
  local rows = {}
  for i, id in ipairs(claims) do
    local f = fields(id, 'crashes', 'max_attempts')
    local crashes = tonumber(f[1])
    local alone = suspect(crashes, tonumber(f[2]))
    local lease = now + a.leaseMs
    if crashes > 0 then lease = lease + a.secondMs end
    call('HINCRBY', jobKey(id), 'token', 1)
    call('HSET', jobKey(id), 'worker_id', a.workerId, 'alone', alone and 1 or 0, 'started', alone and 0 or 1,
      'started_at', now)
    move(id, 'running', lease)
    rows[i] = record(id)
  end
  return rows
end

function ops.start()
  if not holds(a.id, a.token) then return false end
  call('HSET', jobKey(a.id), 'started', 1, 'started_at', now)
  return true
end

local function prolong(id, untilMs)
  if tonumber(call('ZSCORE', leasesKey, id)) < untilMs then call('ZADD', leasesKey, untilMs, id) end
end

function ops.renew()
  local lost, cancelled = {}, {}
  for _, lease in ipairs(a.leases) do
    local f = fields(lease.id, 'state', 'started_at', 'cancelling', 'cancel_reason')
    if holds(lease.id, lease.token) then
      prolong(lease.id, now + a.leaseMs)
      if f[3] == '1' then
        cancelled[#cancelled + 1] = { id = lease.id, token = lease.token, reason = f[4] or nil }
      end
    else
      lost[#lost + 1] = lease
      if a.stalledMs > 0 and f[1] == 'running' then prolong(lease.id, tonumber(f[2]) + a.stalledMs + a.leaseMs) end
    end
  end
  return { lost = lost, cancelled = cancelled }
end

function ops.settle()
  local answers = {}
  for i, it in ipairs(a.settlements) do
    local key = jobKey(it.id)
    if not holds(it.id, it.token) then
      -- Nobody else has the token: an earlier call did it, whose answer got lost.
      local f = fields(it.id, 'token')
      answers[i] = tonumber(f[1] or -1) == it.token
    else
      answers[i] = true
      local cancelling = call('HGET', key, 'cancelling') == '1'
      if it._tag == 'Done' then
        call('HSET', key, 'results', it.results)
        finish(it.id, 'done')
      elseif it._tag == 'Dead' then
        call('HINCRBY', key, 'failures', 1)
        finish(it.id, 'dead', it.failure)
      elseif it._tag == 'Cancelled' then
        finish(it.id, 'cancelled', it.failure)
      else
        if it._tag == 'Retry' then
          call('HINCRBY', key, 'failures', 1)
          call('HSET', key, 'failure', it.failure)
        end
        if cancelling then finish(it.id, 'cancelled') else wait(it.id, it.delayMs) end
      end
    end
  end
  return answers
end

function ops.disown()
  local known, count = {}, 0
  for _, id in ipairs(a.known) do known[id] = true end
  for _, id in ipairs(call('ZRANGE', leasesKey, 0, -1)) do
    if not known[id] and call('HGET', jobKey(id), 'worker_id') == a.workerId then
      call('HINCRBY', jobKey(id), 'token', 1)
      wait(id, 0)
      count = count + 1
    end
  end
  return count
end

-- Redis' clock was set: leases and delays that this has made senseless. What one has put right the next leaves alone.
function ops.right()
  local back = -a.step
  local function notLater(id, field)
    if tonumber(call('HGET', jobKey(id), field) or 0) > now then call('HSET', jobKey(id), field, now) end
  end
  local function anew(from, to)
    for _, id in ipairs(call('ZRANGEBYSCORE', leasesKey, from, to)) do
      call('ZADD', leasesKey, now + a.graceMs, id)
      notLater(id, 'started_at')
    end
  end
  -- Whoever is alive renews these before they end.
  if back <= 0 then anew('-inf', now) elseif back > a.graceMs then anew('(' .. string.format('%d', now + math.floor(back / 2)), '+inf') end
  if back <= 0 then return true end
  -- A delay was made before, where it, or the try before it, began in what is the future now. Redis does nothing else
  -- meanwhile: of very many, only the first are looked at.
  for _, id in ipairs(call('ZRANGE', delayedKey, 0, 50000)) do
    local f = fields(id, 'enqueued_at', 'started_at', 'run_at')
    if tonumber(f[1]) > now or tonumber(f[2] or 0) > now then
      call('HSET', jobKey(id), 'run_at', tonumber(f[3]) - back)
      call('ZADD', delayedKey, tonumber(f[3]) - back, id)
      notLater(id, 'enqueued_at')
      notLater(id, 'started_at')
    end
  end
  return true
end

function ops.sweep()
  if a.most and (now < a.least or now > a.most) then return { at = now, doubted = true } end
  for _, id in ipairs(call('ZRANGEBYSCORE', delayedKey, '-inf', now, 'LIMIT', 0, 500)) do move(id, 'ready') end
  local recovered, dead = {}, {}
  for _, id in ipairs(call('ZRANGEBYSCORE', leasesKey, '-inf', now, 'LIMIT', 0, 500)) do
    local key = jobKey(id)
    local f = fields(id, 'started', 'crashes', 'max_attempts', 'alone', 'cancelling', 'failures')
    local started, crashes, most = f[1] == '1', tonumber(f[2]), tonumber(f[3])
    call('HINCRBY', key, 'token', 1)
    if started then crashes = call('HINCRBY', key, 'crashes', 1) end
    if f[5] == '1' then
      finish(id, 'cancelled')
    elseif started and (most <= 1 or f[4] == '1' and crashes >= most) then
      local text = string.gsub(string.gsub(a.died, a.diedCrashes, crashes), a.diedAttempt, crashes + tonumber(f[6]))
      finish(id, 'dead', text)
      dead[#dead + 1] = id
    else
      wait(id, 0)
      recovered[#recovered + 1] = id
    end
  end
  local next
  for _, key in ipairs({ delayedKey, leasesKey }) do
    local first = call('ZRANGE', key, 0, 0, 'WITHSCORES')
    if first[2] and (next == nil or tonumber(first[2]) < next) then next = tonumber(first[2]) end
  end
  local ready = false
  for _, flow in ipairs(a.flows) do if call('EXISTS', tenantsKey(flow)) == 1 then ready = true end end
  return { at = now, recovered = recovered, dead = dead, ready = ready, nextMs = next and math.max(0, next - now) or nil }
end

function ops.list()
  local rows = {}
  for i, id in ipairs(find(a)) do rows[i] = record(id) end
  return rows
end

function ops.ended()
  local ids = {}
  for _, id in ipairs(a.ids) do
    local state = call('HGET', jobKey(id), 'state')
    if state ~= 'ready' and state ~= 'delayed' and state ~= 'running' then ids[#ids + 1] = id end
  end
  return ids
end

function ops.cancel()
  local f = fields(a.id, 'state', 'cancelling')
  if f[1] ~= 'ready' and f[1] ~= 'delayed' and f[1] ~= 'running' then return false end
  if f[2] == '1' then return true end
  if a.reason then call('HSET', jobKey(a.id), 'cancel_reason', a.reason) end
  if f[1] == 'running' then
    call('HSET', jobKey(a.id), 'cancelling', 1)
    tell('cancel')
  else
    finish(a.id, 'cancelled')
  end
  return true
end

function ops.requeue()
  local ids = find(a)
  for _, id in ipairs(ids) do
    call('HSET', jobKey(id), 'failures', 0, 'crashes', 0, 'alone', 0, 'started', 0, 'cancelling', 0)
    call('HDEL', jobKey(id), 'cancel_reason', 'finished_at', 'started_at')
    wait(id, 0)
  end
  return #ids
end

function ops.purge()
  local ids = find(a)
  for _, id in ipairs(ids) do
    move(id, nil)
    call('DEL', jobKey(id))
  end
  return #ids
end

function ops.counts()
  local counts = {}
  for _, state in ipairs(states) do counts[state] = call('ZCARD', stateKey(state)) end
  return counts
end

return cjson.encode(ops[op]())
`
