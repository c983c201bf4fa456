-- Replaces a session's text and memories by redacted ones, and ends the lease.
-- KEYS: record, lease, journal, pieces, the uploaded journal and pieces, the keys of each new memory, the keys to remove.
-- ARGV: old record, new record, how many pieces were uploaded, for each new memory the number of its lengths and these.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
local pieces = tonumber(ARGV[3])
if redis.call('HLEN', KEYS[5]) ~= pieces or redis.call('ZCARD', KEYS[6]) ~= pieces then
  return 'parts'
end
local function each_memory(work)
  local key, count = 7, 4
  while count <= #ARGV do
    local last = count + tonumber(ARGV[count])
    if not work(key, count + 1, last) then
      return nil
    end
    key = key + last - count - tonumber(ARGV[count + 1])
    count = last + 1
  end
  return key
end
if not each_memory(is_here) then
  return 'parts'
end
remove_from(each_memory(keep))
redis.call('HDEL', KEYS[2], 'holder', 'until', 'wanted')
redis.call('UNLINK', KEYS[3], KEYS[4])
if pieces > 0 then
  redis.call('RENAME', KEYS[5], KEYS[3])
  redis.call('RENAME', KEYS[6], KEYS[4])
  redis.call('PERSIST', KEYS[3])
  redis.call('PERSIST', KEYS[4])
end
redis.call('SET', KEYS[1], ARGV[2])
return 1
