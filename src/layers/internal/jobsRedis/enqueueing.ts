/** Storing jobs: all or none, each id once, and no more than the queue may hold. */
export const enqueue = `
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
  if call('ZCARD', stateKey('ready')) + call('ZCARD', delayedKey) + fresh > a.maxLength then
    for i, answer in ipairs(answers) do if answer == 'created' then answers[i] = 'full' end end
    return answers
  end
  local seq = call('INCRBY', P .. ':seq', fresh) - fresh
  for i, job in ipairs(a.jobs) do
    if answers[i] == 'created' then
      local key = jobKey(job.id)
      local state = a.taker and 'running' or job.delayMs > 0 and 'delayed' or 'ready'
      seq = seq + 1
      job.seq = seq
      call('HSET', key, 'state', state, 'seq', seq, 'flow', job.flow, 'payload', job.payload, 'tenant', job.tenant,
        'priority', job.priority, 'meta', job.meta, 'max_attempts', job.maxAttempts, 'failures', 0, 'crashes', 0,
        'token', a.taker and 1 or 0, 'alone', 0, 'started', a.taker and 1 or 0, 'cancelling', 0,
        'enqueued_at', now, 'run_at', now + job.delayMs)
      if job.topic then call('HSET', key, 'topic', job.topic) end
      if job.timeoutMs then call('HSET', key, 'timeout_ms', job.timeoutMs) end
      if a.taker then
        call('HSET', key, 'started_at', now, 'worker_id', a.taker.workerId)
        put(job, state, now + a.taker.leaseMs)
        answers[i] = 'taken'
      else
        put(job, state, now + job.delayMs)
      end
    end
  end
  return answers
`
