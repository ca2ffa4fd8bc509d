/** Sweeping: delayed jobs fall due, and those whose worker is silent are taken back, or dead. */
export const sweep = `
  if a.most and (now < a.least or now > a.most) then return { at = now, doubted = true } end
  for _, id in ipairs(call('ZRANGEBYSCORE', delayedKey, '-inf', now, 'LIMIT', 0, 500)) do move(find(id), 'ready') end
  local recovered, dead = {}, {}
  for _, id in ipairs(call('ZRANGEBYSCORE', leasesKey, '-inf', now, 'LIMIT', 0, 500)) do
    local key = jobKey(id)
    local job = find(id)
    local f = fields(id, 'started', 'crashes', 'max_attempts', 'alone', 'cancelling', 'failures')
    local started, crashes, most = f[1] == '1', tonumber(f[2]), tonumber(f[3])
    call('HINCRBY', key, 'token', 1)
    if started then crashes = call('HINCRBY', key, 'crashes', 1) end
    if f[5] == '1' then
      finish(job, 'cancelled')
    elseif started and (most <= 1 or f[4] == '1' and crashes >= most) then
      local text = string.gsub(string.gsub(a.died, a.diedCrashes, crashes), a.diedAttempt, crashes + tonumber(f[6]))
      finish(job, 'dead', 'failure', text)
      dead[#dead + 1] = id
    else
      wait(job, 0)
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
`
