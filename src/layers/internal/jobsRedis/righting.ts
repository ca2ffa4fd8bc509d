/**
 * Redis' clock was set: leases and delays that this has made senseless are put right. What one worker has put right, the
 * next leaves alone.
 */
export const right = `
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
`
