/** Recording outcomes: each once, by whoever holds the lease. */
export const settle = `
  local answers = {}
  for i, it in ipairs(a.settlements) do
    local key = jobKey(it.id)
    local job = find(it.id)
    if not holds(job, it.token) then
      -- Nobody else has the token: an earlier call did it, whose answer got lost.
      answers[i] = job.token == it.token
    else
      answers[i] = true
      if it._tag == 'Done' then
        finish(job, 'done', 'results', it.results)
      elseif it._tag == 'Dead' then
        call('HINCRBY', key, 'failures', 1)
        finish(job, 'dead', 'failure', it.failure)
      elseif it._tag == 'Cancelled' then
        finish(job, 'cancelled', 'failure', it.failure)
      else
        if it._tag == 'Retry' then
          call('HINCRBY', key, 'failures', 1)
          call('HSET', key, 'failure', it.failure)
        end
        if call('HGET', key, 'cancelling') == '1' then finish(job, 'cancelled') else wait(job, it.delayMs) end
      end
    end
  end
  return answers
`
