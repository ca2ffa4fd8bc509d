/**
 * What every operation begins with, in Lua: the keys, and how a job gets from one state to another.
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
 *
 * An operation takes its arguments as JSON, in `a`. While it runs Redis does nothing else, so that it is short in calls.
 */
export const common = `
local P = KEYS[1]
local a = cjson.decode(ARGV[1])
local call = redis.call
local time = call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local delayedKey, leasesKey, runningKey = P .. ':delayed', P .. ':leases', P .. ':running'
local function jobKey(id) return P .. ':job:' .. id end
local function laneKey(flow, tenant) return P .. ':ready:' .. #flow .. ':' .. flow .. ':' .. tenant end
local function tenantsKey(flow) return P .. ':tenants:' .. flow end
local function stateKey(state) return P .. ':state:' .. state end

local function tell(change) call('PUBLISH', P .. ':changes', change) end
local function fields(id, ...) return call('HMGET', jobKey(id), ...) end
-- Higher priority first, then who came first: in the order of the alphabet.
local function memberOf(priority, seq, id) return string.format('%07d:%015d:', 1000000 - priority, seq) .. id end

-- A job, as far as its places go.
local function find(id)
  local f = fields(id, 'state', 'flow', 'tenant', 'priority', 'seq', 'token')
  return { id = id, state = f[1], flow = f[2], tenant = f[3], priority = tonumber(f[4] or 0), seq = tonumber(f[5] or 0),
    token = tonumber(f[6] or -1) }
end

-- Takes a job out of where its state has put it.
local function leave(job)
  if job.state == 'ready' then
    local lane = laneKey(job.flow, job.tenant)
    call('ZREM', lane, memberOf(job.priority, job.seq, job.id))
    if call('EXISTS', lane) == 0 then call('ZREM', tenantsKey(job.flow), job.tenant) end
  elseif job.state == 'delayed' then
    call('ZREM', delayedKey, job.id)
  elseif job.state == 'running' then
    call('ZREM', leasesKey, job.id)
    if call('HINCRBY', runningKey, job.tenant, -1) <= 0 then call('HDEL', runningKey, job.tenant) end
  end
  if job.state then call('ZREM', stateKey(job.state), job.id) end
end

-- Puts a job where a state has its place; 'at': when it falls due, or its lease ends.
local function put(job, state, at)
  if state == 'ready' then
    call('ZADD', laneKey(job.flow, job.tenant), 0, memberOf(job.priority, job.seq, job.id))
    call('ZADD', tenantsKey(job.flow), 0, job.tenant)
  elseif state == 'delayed' then
    call('ZADD', delayedKey, at, job.id)
  elseif state == 'running' then
    call('ZADD', leasesKey, at, job.id)
    call('HINCRBY', runningKey, job.tenant, 1)
  end
  call('ZADD', stateKey(state), job.seq, job.id)
end

-- From one state to another, with what else of its fields changes.
local function move(job, state, at, ...)
  leave(job)
  put(job, state, at)
  call('HSET', jobKey(job.id), 'state', state, ...)
end

local function wait(job, delay, ...)
  call('HDEL', jobKey(job.id), 'worker_id')
  move(job, delay > 0 and 'delayed' or 'ready', now + delay, 'run_at', now + delay, ...)
  tell('ready')
end

local function finish(job, state, ...) move(job, state, nil, 'finished_at', now, ...) end

local function holds(job, token) return job.state == 'running' and job.token == token end
`
